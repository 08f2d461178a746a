"""The votes for this node in one term."""

from kraft.raft.membership.quorum import Outcome, Quorum


class Ballot:
    """Who has voted, and how. It counts as long as the term lasts, however late a vote arrives.

    `clocks` are the wall clocks, in Unix ms, that came with the votes that were granted.
    """

    __slots__ = ("_quorum", "_votes", "clocks")

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self._votes: dict[str, bool] = {}
        self.clocks: dict[str, int] = {}

    def has(self, voter: str) -> bool:
        """Whether the vote of `voter` is here."""
        return voter in self._votes

    def cast(self, voter: str, granted: bool, wall_ms: int | None) -> Outcome:
        """Count a vote; only the first answer of a voter counts. Returns the outcome so far."""
        if voter not in self._votes:
            self._votes[voter] = granted
            if granted and wall_ms is not None:
                self.clocks[voter] = wall_ms
        return self._quorum.tally(self._votes)
