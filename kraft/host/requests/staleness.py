"""How old the state of a replica may be: what a read that does not wait for the leader has to know.

Heartbeats carry the leader's commit index. A state that has applied that index is as new as the heartbeat.
Any other state is as old as the last heartbeat whose index it has reached.
"""


class Staleness:
    """The bound for one replica. Times are monotonic seconds."""

    __slots__ = ("_goal", "_goal_at", "_since")

    def __init__(self) -> None:
        self._since = float("-inf")  # the state was up to date at this time
        self._goal = 0  # once this index is applied, the state was up to date at `_goal_at`
        self._goal_at = float("-inf")

    def heard(self, now: float, newest: int, applied: int) -> None:
        """At `now` the leader's commit index was `newest`, and this replica has applied `applied`."""
        self._settle(applied)
        if newest <= applied:
            self._since = max(self._since, now)
        elif self._goal <= applied:
            self._goal, self._goal_at = newest, now

    def age(self, now: float, applied: int) -> float:
        """Seconds since the state was certainly up to date; infinite if it never was."""
        self._settle(applied)
        return now - self._since

    def _settle(self, applied: int) -> None:
        if self._goal <= applied:
            self._since = max(self._since, self._goal_at)
