"""How old a replica's state may be: what a reader who does not wait for the leader has to know.

Heartbeats carry the leader's commit index. A state that has applied it is as new as the heartbeat; one that
has not is as old as the last heartbeat whose index it has reached.
"""


class Staleness:
    """Times are monotonic seconds."""

    __slots__ = ("_index", "_since", "_told")

    def __init__(self) -> None:
        self._since = float("-inf")  # the state was up to date then
        self._index = 0  # still to be reached, so as to be as new as `_told`
        self._told = float("-inf")

    def heard(self, now: float, newest: int, applied: int) -> None:
        """The leader's commit index is `newest` now, this replica has applied `applied`."""
        self._settle(applied)
        if newest <= applied:
            self._since = max(self._since, now)
        elif self._index <= applied:
            self._index, self._told = newest, now

    def age(self, now: float, applied: int) -> float:
        """Seconds since the state was certainly up to date; infinite when it never was."""
        self._settle(applied)
        return now - self._since

    def _settle(self, applied: int) -> None:
        if self._index <= applied:
            self._since = max(self._since, self._told)
