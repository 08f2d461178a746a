"""Logs of both groups of a move that end anywhere: each slot has one owner, and its keys are whole."""

from itertools import product
from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv import transaction_order
from kraft.kv.machine import STEPS, Machine
from kraft.kv.slots import SLOTS, SlotState
from kraft.kv.transaction_order import conclude, may_apply
from tests.kv.group_states import NOW
from tests.kv.test_moves import ALL, KEY, NOTHING, OTHER, SLOT, STAYS, activate

Log = list[kv.Command]
SOURCE, RECEIVER = 1, 2


class Recorder:
    """A group that keeps its log."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.log: Log = []

    def do(self, *commands: kv.Command) -> None:
        for command in commands:
            self.log.append(command)
            self.machine.apply(NOW, [command])


def moved() -> tuple[Log, Log]:
    """The logs of a move, with a client that writes in the group that has the slot."""
    source, receiver = Recorder(), Recorder()
    source.do(kv.Put(KEY, b"1"), kv.Put(STAYS, b"0"))
    receiver.do(kv.Open(1, SLOT, SLOT, NOTHING))
    source.do(kv.Put(KEY, b"2"), kv.Put(OTHER, b"o"))
    source.do(kv.Freeze(1, SLOT, SLOT, RECEIVER, ALL))
    receiver.do(activate(source.machine))
    receiver.do(kv.Put(KEY, b"3"))
    source.do(kv.Release(1, SLOT, SLOT, 2), kv.Put(STAYS, b"x"))
    receiver.do(kv.Close(1), kv.Put(KEY, b"4"))
    return source.log, receiver.log


def cancelled() -> tuple[Log, Log]:
    """The same of a move that is cancelled after the freeze; an Activate comes late."""
    source, receiver = Recorder(), Recorder()
    source.do(kv.Put(KEY, b"1"), kv.Put(STAYS, b"0"))
    receiver.do(kv.Open(1, SLOT, SLOT, NOTHING))
    source.do(kv.Put(KEY, b"2"), kv.Put(OTHER, b"o"), kv.Freeze(1, SLOT, SLOT, RECEIVER, ALL))
    late = activate(source.machine)
    receiver.do(kv.Cancel(1, SLOT, SLOT, NOTHING))
    source.do(kv.Unfreeze(1, SLOT, SLOT), kv.Put(KEY, b"3"), kv.Put(STAYS, b"x"))
    receiver.do(late)
    return source.log, receiver.log


def replayed(logs: dict[int, Log]) -> dict[int, Machine]:
    """The states after these logs, side by side as far as the rules allow."""
    machines = {group: Machine() for group in logs}
    left = {group: list(log) for group, log in logs.items()}
    advanced = True
    while advanced:
        advanced = False
        for group, log in left.items():
            while log and (type(log[0]) not in STEPS or transaction_order.may_apply(log[0], group, machines)):
                machines[group].apply(NOW, [log.pop(0)])
                advanced = True
    return machines


def check(machines: dict[int, Machine]) -> None:
    """Who has the slot, and what is in it, before and after the end is concluded."""
    owners = [group for group, machine in machines.items() if state(machine, group) == SlotState.OWN]
    assert len(owners) <= 1, f"two owners: {owners}"
    conclude(machines)
    states = {group: state(machine, group) for group, machine in machines.items()}
    owners = [group for group in states if states[group] == SlotState.OWN]
    assert len(owners) == 1, states
    assert SlotState.FROZEN not in states.values()
    space = machines[owners[0]].keyspace
    if owners[0] == RECEIVER:
        assert space.get(KEY) in (b"2", b"3", b"4")
        assert space.get(OTHER) == b"o"


def state(machine: Machine, group: int) -> int:
    slots = machine.keyspace.slots
    if slots is None:
        return SlotState.OWN if group == SOURCE else SlotState.GONE
    return slots.state(KEY)


@pytest.mark.parametrize("history", [moved, cancelled])
def test_wherever_the_logs_end_each_slot_has_one_owner(history: Any) -> None:
    source, receiver = history()
    for first, second in product(range(len(source) + 1), range(len(receiver) + 1)):
        logs = {SOURCE: source[:first], RECEIVER: receiver[:second]}
        for order in (logs, dict(reversed(logs.items()))):
            check(replayed(order))


@pytest.mark.parametrize("history", [moved, cancelled])
def test_whole_logs_end_where_the_groups_did(history: Any) -> None:
    source, receiver = history()
    machines = replayed({RECEIVER: receiver, SOURCE: source})
    assert machines[SOURCE].keyspace.get(STAYS) == b"x", "nothing was left out"
    expected = {moved: (RECEIVER, b"4"), cancelled: (SOURCE, b"3")}[history]
    [owner] = [group for group, machine in machines.items() if state(machine, group) == SlotState.OWN]
    assert (owner, machines[owner].keyspace.get(KEY)) == expected


@pytest.mark.parametrize("rule", [kv.Activate, kv.Release])
def test_the_rules_are_needed(monkeypatch: pytest.MonkeyPatch, rule: type) -> None:
    def without(command: Any, group: int, machines: Any) -> bool:
        return isinstance(command, rule) or may_apply(command, group, machines)

    monkeypatch.setattr(transaction_order, "may_apply", without)
    with pytest.raises(AssertionError):
        test_wherever_the_logs_end_each_slot_has_one_owner(moved)


def test_a_close_waits_for_the_release() -> None:
    """Else nobody could tell whether the move of the frozen slots is active."""
    source, receiver = moved()
    machines = replayed({RECEIVER: receiver, SOURCE: source[:-2]})
    assert machines[RECEIVER].keyspace.get(KEY) == b"3"
    check(machines)
    slots = machines[RECEIVER].keyspace.slots
    assert slots is not None
    assert not slots.moves


def test_an_unfreeze_waits_for_the_cancel() -> None:
    source, receiver = cancelled()
    machines = replayed({RECEIVER: receiver[:1], SOURCE: source})
    assert state(machines[SOURCE], SOURCE) == SlotState.FROZEN
    conclude(machines)
    assert machines[SOURCE].keyspace.get(KEY) == b"2", "the entries after it are left out"


def test_steps_that_have_no_effect_wait_for_nothing() -> None:
    machines = {SOURCE: Machine(), RECEIVER: Machine()}
    late = kv.Activate(7, 0, (), (), 0, 0, 0, bytes(16))
    steps: list[kv.Command] = [late, kv.Release(7, 0, SLOTS - 1, 0), kv.Unfreeze(7, 0, 0), kv.Close(7)]
    assert all(may_apply(step, SOURCE, machines) for step in steps)
