"""How long a leader may answer readers without asking anybody.

A majority that answers a round has heard the leader after the round began, and refuses elections for an
election timeout from then on: nobody else can have been elected before that is over (RD 6.4.1).
"""

# Of the election timeout. What is left covers one tick of the voters (a twelfth of the timeout at most) and
# clocks that differ in pace by a tenth.
LEASE_SHARE = 0.75


class Lease:
    """One replica's. `seconds` is how long a confirmed round serves readers, 0 when leases are off.

    It holds in the term in which it was granted, and is counted by the monotonic clock of whoever leads.
    """

    __slots__ = ("_dropped", "_seconds", "_term", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._term = 0  # in which the last one was granted
        self._until = 0.0
        self._dropped = 0  # the term that has none any more

    def grant(self, term: int, begun: float) -> None:
        """A majority answered a round of `term` that began at `begun`, from when its promise holds."""
        if self._seconds and self._dropped != term:
            self._term, self._until = term, begun + self._seconds

    def drop(self, term: int) -> None:
        """Leadership may end at any time from now on: no reader relies on a lease any more in `term`.

        Also when the transfer fails: the word that tells the successor to begin may be late.
        """
        self._until = 0.0
        self._dropped = term

    def holds(self, term: int, now: float) -> bool:
        """Nobody else can have been elected yet."""
        return term == self._term and now < self._until
