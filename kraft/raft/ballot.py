"""The votes for this node in one term."""

from kraft.raft.membership.quorum import Outcome, Quorum
from kraft.raft.ports import WallClock


class Ballot:
    """Who has voted, and how. It counts as long as the term lasts, however late a vote arrives.

    The last vote may come long after the first one, so a clock is kept as what it was ahead of `wall_clock`.
    """

    __slots__ = ("_ahead_ms", "_quorum", "_votes", "_wall_clock")

    def __init__(self, quorum: Quorum, wall_clock: WallClock) -> None:
        self._quorum = quorum
        self._wall_clock = wall_clock
        self._votes: dict[str, bool] = {}
        self._ahead_ms: dict[str, int] = {}

    @property
    def clocks(self) -> dict[str, int]:
        """What the wall clocks of those whose votes were granted show now, in Unix ms."""
        now = self._wall_clock()
        return {voter: now + ahead for voter, ahead in self._ahead_ms.items()}

    def has(self, voter: str) -> bool:
        """Whether the vote of `voter` is here."""
        return voter in self._votes

    def cast(self, voter: str, granted: bool, wall_ms: int | None) -> Outcome:
        """Count a vote; only the first answer of a voter counts. Returns the outcome so far."""
        if voter not in self._votes:
            self._votes[voter] = granted
            if granted and wall_ms is not None:
                self._ahead_ms[voter] = wall_ms - self._wall_clock()
        return self._quorum.tally(self._votes)
