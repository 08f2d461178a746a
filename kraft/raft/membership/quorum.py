"""Majorities as values: pure functions of the voters and of what each of them has reached.

The same question, "how far has a majority come?", decides the commit index (RP 5.4.2), which read rounds are
confirmed (RD 6.4), and whether a leader still hears a quorum (RD 6.2). A joint quorum (RD 4.3) is a second
value with the same methods: it decides what both of its majorities have decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import repeat

from kraft.raft.membership.configuration import Configuration


class Outcome(Enum):
    """The state of an election."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Majority:
    """More than half of `voters`. Without voters it never decides anything."""

    voters: tuple[str, ...]

    def attained(self, numbers: Mapping[str, int]) -> int:
        """The highest number that a majority has reached; a voter missing in `numbers` counts as 0."""
        if not self.voters:
            return 0
        ordered = sorted(map(numbers.get, self.voters, repeat(0)))
        return ordered[(len(ordered) - 1) // 2]

    def tally(self, votes: Mapping[str, bool]) -> Outcome:
        """WON with a majority of grants, LOST when the voters that are still silent cannot give one."""
        needed = len(self.voters) // 2 + 1
        cast = [votes[voter] for voter in self.voters if voter in votes]
        granted = sum(cast)
        if granted >= needed:
            return Outcome.WON
        silent = len(self.voters) - len(cast)
        return Outcome.PENDING if granted + silent >= needed and self.voters else Outcome.LOST


@dataclass(frozen=True, slots=True)
class Joint:
    """A majority of the old voters and one of the new; a voter of both counts in each."""

    old: Majority
    new: Majority

    def attained(self, numbers: Mapping[str, int]) -> int:
        """The highest number that both majorities have reached."""
        return min(self.old.attained(numbers), self.new.attained(numbers))

    def tally(self, votes: Mapping[str, bool]) -> Outcome:
        """WON when both majorities are, LOST when one of them is."""
        outcomes = (self.old.tally(votes), self.new.tally(votes))
        if Outcome.LOST in outcomes:
            return Outcome.LOST
        return Outcome.PENDING if Outcome.PENDING in outcomes else Outcome.WON


Quorum = Majority | Joint


def quorum_of(configuration: Configuration) -> Quorum:
    """The quorum that decides while `configuration` is in force.

    If the target gives the id of a member to another incarnation, the newcomer counts as silent: an answer
    under that id comes from the old member, whose log the newcomer does not have.
    """
    old, target = Majority(configuration.voters), configuration.target
    if target is None:
        return old
    present = {m.id: m.incarnation for m in configuration.members}
    coming = {m.id: m.incarnation for m in target.members}
    return Joint(old, Majority(tuple(_speaker(v, present, coming) for v in target.voters)))


def _speaker(voter: str, present: Mapping[str, str], coming: Mapping[str, str]) -> str:
    """The name under which `voter` counts: one that no peer has, if its id is still another member's."""
    if present.get(voter, coming[voter]) == coming[voter]:
        return voter
    return f"{voter} {coming[voter]}"  # no id has a space
