"""The steps of `tests.kv.move_scope` by name, and those that leaders send without being asked to."""

from typing import Any

from kraft.kv import commands as kv
from kraft.kv.move_reply import MoveOutcome
from kraft.kv.transaction_reply import StepOutcome
from tests.kv.group_states import NOW, work
from tests.kv.move_groups import ELSEWHERE, GROUPS, SHARES, SLOT, THIRD, WORK, MoveGroups
from tests.kv.transaction_scope import Names

Routes = tuple[tuple[int, int], ...]  # of each move: from, to


class Steps:
    """Every step that was sent, and what was heard of it. Sets of them are bits (`Names`)."""

    def __init__(self, routes: Routes, transaction: str) -> None:
        self.transaction = transaction
        self._routes = routes
        self._commands: dict[str, tuple[int, Any]] = {}
        self._names = Names()
        self._lists: dict[int, list[str]] = {}

    def sent(self, *steps: tuple[str, int, Any]) -> int:
        """Steps, each with its name, its group and its command."""
        for name, group, command in steps:
            self._commands[name] = (group, command)
        return self._names.bits(*[name for name, _, _ in steps])

    def of(self, name: str) -> tuple[int, Any]:
        """The group and the command of a step."""
        return self._commands[name]

    def names(self, bits: int) -> list[str]:
        """The names in a set."""
        found = self._lists.get(bits)
        if found is None:
            found = self._lists[bits] = self._names.of(bits)
        return found

    def heard(self, step: str, outcome: Any) -> int:
        """That a step had this outcome."""
        return self._names.bits(f"heard {step} {outcome}")

    def heard_by_coordinator(self) -> int:
        """All that anyone but the mover hears."""
        prepared = (StepOutcome.PREPARED, StepOutcome.NOT_OWNER, StepOutcome.LOCKED)
        decided = (StepOutcome.COMMITTED, StepOutcome.ABORTED)
        steps = [("prepare", outcome) for outcome in prepared] + [("commit", outcome) for outcome in decided]
        return sum([self.heard(f"{step} {n}", outcome) for n in (1, 2) for step, outcome in steps])

    # -- of a move

    def cancels(self, number: int, receiver: int) -> int:
        command = kv.Cancel(number, SLOT, SLOT, SHARES[receiver])
        return self.sent((f"cancel {number} {receiver}", receiver, command))

    def unfreezes(self, number: int, source: int) -> int:
        return self.sent((f"unfreeze {number} {source}", source, kv.Unfreeze(number, SLOT, SLOT)))

    def releases(self, number: int, source: int, keys: int) -> int:
        return self.sent((f"release {number} {source}", source, kv.Release(number, SLOT, SLOT, keys)))

    # -- of the transaction

    def parts(self, n: int) -> tuple[int, int, kv.Exec, kv.Exec]:
        """Of an attempt: the participant, the home group, and what they do. The owner is a guess."""
        owner = self._routes[0][n - 1]
        here, there = work(kv.Increment(WORK, 1)), work(kv.Increment(ELSEWHERE, 1))
        return (
            (owner, THIRD, here, there) if self.transaction == "participant" else (THIRD, owner, there, here)
        )

    def prepares(self, n: int) -> int:
        participant, home, part, _ = self.parts(n)
        return self.sent((f"prepare {n}", participant, kv.Prepare(_id(n), 0, home, part)))

    def commits(self, n: int) -> int:
        participant, home, _, part = self.parts(n)
        return self.sent((f"commit {n}", home, kv.Commit(_id(n), 0, (participant,), part)))

    def asks(self, n: int) -> int:
        return self.sent((f"ask {n}", self.parts(n)[1], kv.Decide(_id(n), True)))

    def resolves(self, n: int, commit: bool) -> int:
        return self.sent((f"resolve {n} {commit}", self.parts(n)[0], kv.Resolve(_id(n), commit)))

    def forgets(self, n: int) -> int:
        participant, home, _, _ = self.parts(n)
        return self.sent((f"forget {n}", home, kv.Forget(_id(n), participant)))


class Leaders:
    """What the leaders of the groups send by themselves. `mistake`: they thaw without asking."""

    def __init__(self, groups: MoveGroups, steps: Steps, routes: Routes, mistake: str) -> None:
        self._groups = groups
        self._steps = steps
        self._routes = routes
        self._thaw = mistake == "thaws by itself"
        self._driven: dict[tuple[int, ...], int] = {}

    def driven(self, groups: tuple[int, ...]) -> int:
        """What leaders send because of the states of their groups."""
        sent = self._driven.get(groups)
        if sent is None:
            steps, sent = self._steps, 0
            for group, facts in zip(GROUPS, map(self._groups.facts, groups), strict=True):
                if facts.frozen is not None:
                    number, receiver = facts.frozen
                    sent |= steps.unfreezes(number, group) if self._thaw else steps.cancels(number, receiver)
                if steps.transaction:
                    sent |= sum([steps.asks(n) for n in facts.prepared])
                    sent |= sum([steps.resolves(n, True) for n in facts.decided])
            self._driven[groups] = sent
        return sent

    def told(self, step: str, outcome: Any) -> int:
        """What leaders send because of an outcome."""
        words = step.split()
        if words[0] == "cancel":
            number, receiver = int(words[1]), int(words[2])
            source = next(here for here, there in self._routes if there == receiver)
            if outcome == MoveOutcome.CANCELLED:
                return self._steps.unfreezes(number, source)
            return self._steps.releases(number, source, int(outcome.split()[1]))
        if words[0] == "ask" and outcome in (StepOutcome.COMMITTED, StepOutcome.ABORTED):
            return self._steps.resolves(int(words[1]), outcome == StepOutcome.COMMITTED)
        if words[0] == "resolve" and words[2] == "True":
            return self._steps.forgets(int(words[1]))
        return 0


def _id(n: int) -> kv.TransactionId:
    return kv.TransactionId(b"session", n, NOW)
