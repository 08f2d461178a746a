"""How everything ends in `tests.kv.move_scope`: leaders finish it without the mover and the coordinator."""

from typing import Any

from kraft.kv import commands as kv
from kraft.kv.move_reply import MoveOutcome
from kraft.kv.slots import MoveState, SlotState
from kraft.kv.transaction_reply import StepOutcome
from tests.kv.move_groups import GROUPS, THIRD, MoveGroups, with_group
from tests.kv.move_steps import Steps

ROUNDS = 4  # of all leaders, after which nothing may be left


class End:
    """Lets leaders finish all moves and transactions, and checks what is left."""

    def __init__(self, groups: MoveGroups, steps: Steps) -> None:
        self._groups = groups
        self._steps = steps

    def check(self, groups: tuple[int, ...], executed: bool) -> None:
        """Raises an AssertionError unless these states of the groups end well."""
        for _ in range(ROUNDS):
            groups = self._moves(self._transaction(groups))
        all_facts = [self._groups.facts(at) for at in groups]
        owners = [facts for facts in all_facts if facts.slot == SlotState.OWN]
        assert len(owners) == 1, "in the end the slot has no owner"
        assert owners[0].counted == executed, "in the end the owner does not show what was done"
        left = [facts.moves or facts.prepared or facts.decided for facts in all_facts]
        assert not any(left), "it does not end"
        assert not any(facts.hidden for facts in all_facts), "hidden keys are left"
        if self._steps.transaction:
            other = self._groups.facts(groups[THIRD - 1]).worked
            assert owners[0].worked == other <= 1, "one half of the transaction"

    def _moves(self, groups: tuple[int, ...]) -> tuple[int, ...]:
        for group in GROUPS:
            frozen_for = self._groups.facts(groups[group - 1]).frozen
            if frozen_for is not None:
                groups = self._frozen(groups, group, *frozen_for)
            for number, how in self._groups.facts(groups[group - 1]).moves:
                groups = self._move(groups, group, number, how)
        return groups

    def _frozen(self, groups: tuple[int, ...], group: int, number: int, receiver: int) -> tuple[int, ...]:
        self._steps.cancels(number, receiver)
        groups, outcome = self._arrive(groups, f"cancel {number} {receiver}")
        if outcome == MoveOutcome.CANCELLED:
            self._steps.unfreezes(number, group)
            return self._arrive(groups, f"unfreeze {number} {group}")[0]
        self._steps.releases(number, group, int(outcome.split()[1]))
        return self._arrive(groups, f"release {number} {group}")[0]

    def _move(self, groups: tuple[int, ...], group: int, number: int, how: int) -> tuple[int, ...]:
        at = groups[group - 1]
        if how == MoveState.OPEN:
            self._steps.cancels(number, group)
            name = f"cancel {number} {group}"
        elif how == MoveState.SWEEP:
            left = tuple(row.key for row in self._groups.rows(at))
            name = f"sweep {number} {group} {at}"
            self._steps.sent((name, group, kv.Sweep(number, left)))
        elif any(self._groups.facts(each).frozen for each in groups):
            return groups
        else:
            name = f"close {number} {group}"
            self._steps.sent((name, group, kv.Close(number)))
        return self._arrive(groups, name)[0]

    def _transaction(self, groups: tuple[int, ...]) -> tuple[int, ...]:
        for n in (1, 2) if self._steps.transaction else ():
            participant, home, _, _ = self._steps.parts(n)
            if n in self._groups.facts(groups[participant - 1]).prepared:
                self._steps.asks(n)
                groups, outcome = self._arrive(groups, f"ask {n}")
                commit = outcome == StepOutcome.COMMITTED
                self._steps.resolves(n, commit)
                groups, _ = self._arrive(groups, f"resolve {n} {commit}")
            if n in self._groups.facts(groups[home - 1]).decided:
                self._steps.resolves(n, True)
                self._steps.forgets(n)
                groups, _ = self._arrive(groups, f"resolve {n} True")
                groups, _ = self._arrive(groups, f"forget {n}")
        return groups

    def _arrive(self, groups: tuple[int, ...], step: str) -> tuple[tuple[int, ...], Any]:
        group, command = self._steps.of(step)
        at, outcome, _ = self._groups.arrival(groups[group - 1], step, command)
        return with_group(groups, group, at), outcome
