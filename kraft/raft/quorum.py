"""Majorities as values: pure functions of who votes and what each voter has reached.

The same question, "how far has a majority come?", decides the commit index (RP 5.4.2), confirmed read
rounds (RD 6.4) and whether a leader still hears a quorum (RD 6.2). A joint quorum is a second value with the
same methods.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec


class Outcome(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


class Majority(msgspec.Struct, frozen=True):
    """More than half of `voters`; without voters nothing is ever decided."""

    voters: tuple[str, ...]

    def attained(self, numbers: Mapping[str, int]) -> int:
        """The highest number that a majority has reached; a voter missing in `numbers` counts as 0."""
        if not self.voters:
            return 0
        get = numbers.get
        ordered = sorted([get(voter, 0) for voter in self.voters])
        return ordered[(len(ordered) - 1) // 2]

    def tally(self, votes: Mapping[str, bool]) -> Outcome:
        """WON with a majority of grants, LOST when the voters still silent could not make one."""
        needed = len(self.voters) // 2 + 1
        cast = [votes[voter] for voter in self.voters if voter in votes]
        granted = sum(cast)
        if granted >= needed:
            return Outcome.WON
        silent = len(self.voters) - len(cast)
        return Outcome.PENDING if granted + silent >= needed and self.voters else Outcome.LOST
