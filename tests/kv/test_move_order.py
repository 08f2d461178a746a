"""Logs of the groups of a move that end anywhere: each slot has one owner, and its keys are whole.

An image is such an end, too: a cut through all logs.
"""

from itertools import product
from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv import conclusion, transaction_order
from kraft.kv.conclusion import conclude
from kraft.kv.errors import BrokenInvariant
from kraft.kv.machine import STEPS, Machine
from kraft.kv.slot_map import MapState, owners, saved_map, static_ranges
from kraft.kv.slots import SLOTS, SlotState, slot_of
from kraft.kv.transaction_order import may_apply
from tests.kv.group_states import NOW
from tests.kv.test_moves import KEY, OTHER, SLOT, activate, rows

Log = list[kv.Command]
GROUPS = 3
MAP, SOURCE, RECEIVER = 0, 1, 2
STAYS = b"{c}"  # a key of another slot of the source
SHARES = [(each.first, each.last) for each in static_ranges(GROUPS)]


class Recorder:
    """A group that keeps its log."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.log: Log = []

    def do(self, *commands: kv.Command) -> None:
        for command in commands:
            self.log.append(command)
            self.machine.apply(NOW, [command])


class History:
    """The logs of all groups, with a client that writes in the group that has the slot."""

    def __init__(self) -> None:
        self.groups = [Recorder() for _ in range(GROUPS)]
        self.map, self.source, self.receiver = self.groups
        self.source.do(kv.Put(KEY, b"1"), kv.Put(STAYS, b"0"))
        self.map.do(kv.PlanMove(SLOT, SLOT, RECEIVER, GROUPS))
        self.receiver.do(kv.Open(1, SLOT, SLOT, SHARES[RECEIVER]))

    @property
    def logs(self) -> list[Log]:
        return [each.log for each in self.groups]

    def copy(self) -> None:
        """Keys arrive, and one changes meanwhile."""
        self.receiver.do(kv.Import(1, 0, rows(self.source.machine)))
        self.source.do(kv.Put(KEY, b"2"), kv.Put(OTHER, b"o"))

    def freeze(self) -> kv.Activate:
        self.source.do(kv.Freeze(1, SLOT, SLOT, RECEIVER, SHARES[SOURCE]))
        return activate(self.source.machine, chunk=1)


def moved() -> list[Log]:
    """A move that takes place."""
    history = History()
    history.copy()
    history.receiver.do(history.freeze())
    history.receiver.do(kv.Put(KEY, b"3"))
    history.source.do(kv.Release(1, SLOT, SLOT, 2), kv.Put(STAYS, b"x"), kv.Sweep(1, (KEY,)))
    history.receiver.do(kv.Close(1), kv.Put(KEY, b"4"))
    history.source.do(kv.Sweep(1, (OTHER,)))
    history.map.do(kv.EndMove(1, moved=True))
    return history.logs


def cancelled() -> list[Log]:
    """A move that is cancelled after the freeze; an Activate comes late."""
    history = History()
    history.copy()
    late = history.freeze()
    history.receiver.do(kv.Cancel(1, SLOT, SLOT, SHARES[RECEIVER]))
    history.source.do(kv.Unfreeze(1, SLOT, SLOT), kv.Put(KEY, b"3"), kv.Put(STAYS, b"x"))
    history.map.do(kv.RenewMove(1), kv.StopMove(1))
    history.receiver.do(late, kv.Sweep(1, (KEY, OTHER)), kv.Cancel(2, SLOT, SLOT, SHARES[RECEIVER]))
    history.map.do(kv.EndMove(2, moved=False))
    return history.logs


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
    having = [group for group, machine in machines.items() if state(machine, group) == SlotState.OWN]
    assert len(having) <= 1, f"two owners: {having}"
    numbers = [known(machines).last, *epochs(machines)]
    conclude(machines, GROUPS)
    states = {group: state(machine, group) for group, machine in machines.items()}
    [owner] = [group for group in states if states[group] == SlotState.OWN]
    check_map(machines, owner, max(numbers))
    for group, machine in machines.items():
        assert machine.keyspace.slots is None or not machine.keyspace.slots.is_moving
        for key in machine.keyspace.records:
            assert group == (owner if slot_of(key) == SLOT else SOURCE), "a key is where nobody looks for it"
    if owner == RECEIVER:
        assert machines[owner].keyspace.get(KEY) in (b"2", b"3", b"4")
        assert machines[owner].keyspace.get(OTHER) == b"o"


def check_map(machines: dict[int, Machine], owner: int, last: int) -> None:
    """The map of group 0 says the same, plans nothing, and gives no number again."""
    found = known(machines)
    assert owners(found.ranges, SLOT, SLOT) == [owner]
    assert not found.moves
    assert found.last >= last


def known(machines: dict[int, Machine]) -> MapState:
    return saved_map(machines[MAP].keyspace.ledger) or MapState(0, 0, static_ranges(GROUPS))


def epochs(machines: dict[int, Machine]) -> list[int]:
    tables = [machine.keyspace.slots for machine in machines.values()]
    return [part.epoch for table in tables if table is not None for part in table.ranges]


def state(machine: Machine, group: int) -> int:
    slots = machine.keyspace.slots
    if slots is None:
        return SlotState.OWN if group == SOURCE else SlotState.GONE
    return slots.state(KEY)


@pytest.mark.parametrize("history", [moved, cancelled])
def test_wherever_the_logs_end_each_slot_has_one_owner(history: Any) -> None:
    logs = history()
    for ends in product(*(range(len(log) + 1) for log in logs)):
        ended = {group: log[:end] for group, (log, end) in enumerate(zip(logs, ends, strict=True))}
        for order in (ended, dict(reversed(ended.items()))):
            check(replayed(order))


@pytest.mark.parametrize("history", [moved, cancelled])
def test_whole_logs_end_where_the_groups_did(history: Any) -> None:
    machines = replayed(dict(reversed(list(enumerate(history())))))
    assert machines[SOURCE].keyspace.get(STAYS) == b"x", "nothing was left out"
    expected = {moved: (RECEIVER, b"4"), cancelled: (SOURCE, b"3")}[history]
    [owner] = [group for group, machine in machines.items() if state(machine, group) == SlotState.OWN]
    assert (owner, machines[owner].keyspace.get(KEY)) == expected
    check(machines)


@pytest.mark.parametrize("rule", [kv.Activate, kv.Release])
def test_the_rules_are_needed(monkeypatch: pytest.MonkeyPatch, rule: type) -> None:
    def without(command: Any, group: int, machines: Any) -> bool:
        return isinstance(command, rule) or may_apply(command, group, machines)

    monkeypatch.setattr(transaction_order, "may_apply", without)
    with pytest.raises((AssertionError, BrokenInvariant)):
        test_wherever_the_logs_end_each_slot_has_one_owner(moved)


@pytest.mark.parametrize("left_out", ["_end_moves", "_conclude_map"])
def test_what_is_concluded_is_needed(monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    monkeypatch.setattr(conclusion, left_out, lambda *_: None)
    with pytest.raises(AssertionError):
        test_wherever_the_logs_end_each_slot_has_one_owner(moved)


def test_states_of_no_one_cut_are_refused() -> None:
    """Such as those of an image that a fault has made: a slot would have two owners, or none."""
    map_, source, receiver = moved()
    machines = replayed({MAP: map_, SOURCE: source, RECEIVER: receiver})
    machines[SOURCE] = replayed({MAP: [], SOURCE: source[:2], RECEIVER: []})[SOURCE]
    with pytest.raises(BrokenInvariant, match=f"slot {SLOT} has no owner, or several"):
        conclude(machines, GROUPS)


def test_a_close_waits_for_the_release() -> None:
    """Else nobody could tell whether the move of the frozen slots is active."""
    map_, source, receiver = moved()
    machines = replayed({MAP: map_, RECEIVER: receiver, SOURCE: source[:5]})
    assert machines[RECEIVER].keyspace.get(KEY) == b"3"
    assert state(machines[SOURCE], SOURCE) == SlotState.FROZEN
    check(machines)


def test_an_unfreeze_waits_for_the_cancel() -> None:
    map_, source, receiver = cancelled()
    machines = replayed({MAP: map_, RECEIVER: receiver[:2], SOURCE: source})
    assert state(machines[SOURCE], SOURCE) == SlotState.FROZEN
    check(machines)
    assert machines[SOURCE].keyspace.get(KEY) == b"2", "the entries after it are left out"


def test_a_group_that_the_others_know_and_has_no_state_yet_is_waited_for() -> None:
    """It was created after the image, and its log is shipped less far."""
    map_, source, _ = moved()
    machines = replayed({MAP: map_, SOURCE: source})
    assert state(machines[SOURCE], SOURCE) == SlotState.FROZEN


def test_a_group_that_was_created_owns_nothing_before_a_move() -> None:
    machines = replayed({MAP: [kv.PlanMove(8192, SLOTS - 1, 0, 2)], SOURCE: [], RECEIVER: []})
    conclude(machines, GROUPS - 1)
    assert [(each.first, each.last, each.group) for each in known(machines).ranges] == [
        (0, SLOTS // 2 - 1, 0),
        (SLOTS // 2, SLOTS - 1, 1),
    ]


def test_steps_that_have_no_effect_wait_for_nothing() -> None:
    machines = {SOURCE: Machine(), RECEIVER: Machine()}
    late = kv.Activate(7, 0, (), (), 0, 0, 0, bytes(16))
    steps: list[kv.Command] = [late, kv.Release(7, 0, SLOTS - 1, 0), kv.Unfreeze(7, 0, 0), kv.Close(7)]
    assert all(may_apply(step, SOURCE, machines) for step in steps)
