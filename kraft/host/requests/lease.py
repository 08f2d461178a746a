"""How long a leader may answer reads without asking its followers.

A majority that answers a heartbeat round has heard the leader after the round began, and refuses elections
for an election timeout from then on. Until that time has passed no other leader can have been elected (RD
6.4.1).
"""

# Of the election timeout. The rest covers one tick of the voters (at most a twelfth of the timeout) and
# clocks whose rates differ by up to a tenth.
LEASE_SHARE = 0.75


class Lease:
    """The lease of one replica. A confirmed round serves reads for `seconds`; 0 turns leases off.

    A lease holds only in the term in which it was granted. The leader's monotonic clock measures it.
    """

    __slots__ = ("_dropped", "_seconds", "_term", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._term = 0  # in which the last one was granted
        self._until = 0.0
        self._dropped = 0  # the term that may not have a lease again

    def grant(self, term: int, begun: float) -> None:
        """A majority answered a round of `term` that began at `begun`; its promise holds from then on."""
        if self._seconds and self._dropped != term:
            self._term, self._until = term, begun + self._seconds

    def drop(self, term: int) -> None:
        """Rely on no further lease in `term`: leadership is being transferred and may end at any time.

        This holds even if the transfer fails, because the message that makes the successor campaign may
        arrive late.
        """
        self._until = 0.0
        self._dropped = term

    def holds(self, term: int, now: float) -> bool:
        """Whether no other leader can have been elected by `now`."""
        return term == self._term and now < self._until
