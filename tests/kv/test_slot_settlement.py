"""Logs of groups that were cut at any place, and what gives each slot one owner again."""

import itertools
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.slot_map import saved_map
from kraft.kv.slot_settlement import SlotSettlement
from kraft.kv.slots import SLOTS, SlotState
from tests.kv.group_states import NOW
from tests.kv.slot_logs import (
    FIRST_CONFIGURATION,
    FOUNDED,
    KEYS,
    OTHER,
    SHARES,
    SLOT,
    SOURCE,
    Logs,
    logs_of_a_move,
    moved,
)

PROBES = (SLOT, 0, SLOT - 1, SLOT + 1, 8191, 8192, SLOTS - 1)


def cut(logs: Logs, lengths: tuple[int, ...]) -> dict[int, Machine]:
    """The states where the log of each group ends after so many entries."""
    machines = {}
    for group, length in enumerate(lengths):
        machines[group] = machine = Machine()
        for command in logs.logs[group][:length]:
            machine.apply(NOW, [command])
    return machines


def owners(machines: dict[int, Machine]) -> list[list[int]]:
    """The groups that have each of PROBES, frozen ones only if no other has it."""
    found = []
    for slot in PROBES:
        states = {group: state_of(machine, group, slot) for group, machine in machines.items()}
        owning = [group for group, state in states.items() if state == SlotState.OWN]
        found.append(owning or [group for group, state in states.items() if state == SlotState.FROZEN])
    return found


def state_of(machine: Machine, group: int, slot: int) -> int:
    table, (first, last) = machine.keyspace.slots, SHARES[group]
    if table is None:
        return SlotState.OWN if first <= slot <= last else SlotState.GONE
    return table.within(slot, slot)[0].state


def settled(machines: dict[int, Machine]) -> SlotSettlement:
    settlement = SlotSettlement(machines, FOUNDED)
    settlement.settle()
    return settlement


def places(logs: Logs) -> Iterator[tuple[int, ...]]:
    """Where the logs may end: a node has a replica of the third group because its log says so."""
    begins = [1, 0, 0]
    begins[SOURCE] += len(KEYS)
    ranges = [range(first, len(log) + 1) for first, log in zip(begins, logs.logs, strict=True)]
    return itertools.product(*ranges)


@pytest.fixture(scope="module", params=[OTHER, 2], ids=["to a founded group", "to a created group"])
def receiver(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def logs(receiver: int) -> Logs:
    """One move, to a group that was there in the beginning or not."""
    return logs_of_a_move(receiver)


def test_wherever_the_logs_end_each_slot_has_one_owner_and_its_keys(logs: Logs, receiver: int) -> None:
    seen = set()
    for lengths in places(logs):
        before, machines = owners(cut(logs, lengths)), cut(logs, lengths)
        settlement = settled(machines)
        after = owners(machines)
        assert [len(groups) for groups in after] == [1] * len(PROBES), lengths
        had = tuple(before[0])
        seen.add(len(had))
        [owner] = after[0]
        assert owner == (had[0] if len(had) == 1 else receiver), lengths
        if not had:
            source = cut(logs, lengths)[SOURCE].keyspace
            left = {key: source.get(key) for key in KEYS if source.get(key) is not None}
            assert {key: machines[owner].keyspace.get(key) for key in left} == left
            assert machines[owner].keyspace.get(b"{k}9") is None
        assert len(had) == 1 or settlement.settled, lengths
        replayed = cut(logs, lengths)
        for group, steps in settlement.steps.items():
            for stamp, step in steps:
                replayed[group].apply(stamp, [step])
        assert [m.digest() for m in replayed.values()] == [m.digest() for m in machines.values()]
        assert settled(replayed).steps == {}, "the second time there is nothing to do"
    assert seen == {0, 1, 2}


def healed(machines: dict[int, Machine]) -> None:
    """What the leaders of frozen slots do: they ask the receiver what was decided."""
    for group, machine in machines.items():
        table = machine.keyspace.slots
        for part in [] if table is None else [p for p in table.ranges if p.state == SlotState.FROZEN]:
            cancel = kv.Cancel(part.move, part.first, part.last, SHARES[part.peer])
            receiver = machines[part.peer]
            told = move_reply(receiver.apply(receiver.stamp, [cancel])[0])
            step: kv.MoveCommand = kv.Unfreeze(part.move, part.first, part.last)
            if told.outcome is MoveOutcome.ACTIVE:
                step = kv.Release(part.move, part.first, part.last, told.count)
            machine.apply(machine.stamp, [step])
            assert group != part.peer


@pytest.mark.parametrize("path", [(SOURCE, OTHER, 2), (SOURCE, OTHER, SOURCE), (SOURCE, 2, OTHER)])
def test_wherever_the_logs_end_in_two_moves_one_after_the_other(path: tuple[int, int, int]) -> None:
    """A slot that went on from its receiver, and what is frozen is asked for after the start."""
    made = Logs(3)
    made.do(0, kv.AddGroups(FOUNDED, 1, FIRST_CONFIGURATION))
    for key in KEYS:
        made.do(SOURCE, kv.Put(key, b"v" + key))
    for number, (source, receiver) in enumerate(pairwise(path), 1):
        moved(made, number, source, receiver)
    every = list(places(made))
    for lengths in random.Random(1).sample(every, min(1000, len(every))):
        machines = cut(made, lengths)
        settled(machines)
        healed(machines)
        assert [len(groups) for groups in owners(machines)] == [1] * len(PROBES), lengths
        [owner] = owners(machines)[0]
        assert state_of(machines[owner], owner, SLOT) == SlotState.OWN, lengths
        for group, machine in machines.items():
            table = machine.keyspace.slots
            hidden = [key for key in machine.keyspace.records if table is not None and not table.shows(key)]
            assert (0 if table is None else table.hidden) == len(hidden), (lengths, group)


def test_frozen_slots_whose_receiver_has_passed_them_on_are_let_go() -> None:
    """Asked after the start, the receiver would say that it has never had them."""
    made = Logs(3)
    made.do(0, kv.AddGroups(FOUNDED, 1, FIRST_CONFIGURATION))
    for key in KEYS:
        made.do(SOURCE, kv.Put(key, b"v" + key))
    moved(made, 1, SOURCE, OTHER)
    moved(made, 2, OTHER, 2)
    lengths = [len(log) for log in made.logs]
    lengths[SOURCE] = 1 + next(n for n, step in enumerate(made.logs[SOURCE]) if type(step) is kv.Freeze)
    lengths[OTHER] = next(n for n, step in enumerate(made.logs[OTHER]) if type(step) is kv.Activate)
    machines = cut(made, tuple(lengths))
    [found] = settled(machines).settled
    assert (found.group, found.had) == (2, tuple(sorted((SOURCE, 2))))
    assert state_of(machines[SOURCE], SOURCE, SLOT) == SlotState.GONE


@pytest.mark.parametrize("slots", [False, True], ids=["of all slots", "of its slot"])
def test_a_token_goes_with_its_slot(slots: bool) -> None:
    """A command that is sent again after the recovery must not be done again."""
    made = Logs(3)
    made.do(0, kv.AddGroups(FOUNDED, 1, FIRST_CONFIGURATION))
    for key in KEYS:
        made.do(SOURCE, kv.Put(key, b"v" + key))
    once = kv.Once(b"token", b"f" * 16, kv.Increment(b"{k}count", 1), 3_600_000)
    if slots:
        made.do(SOURCE, kv.Cancel(1, 0, 0, SHARES[SOURCE]))  # from here on the group has a table
    first = made.do(SOURCE, once)
    moved(made, 2, SOURCE, OTHER)
    lengths = [len(log) for log in made.logs]
    lengths[SOURCE] = next(n for n, step in enumerate(made.logs[SOURCE]) if type(step) is kv.Sweep)
    lengths[OTHER] = next(n for n, step in enumerate(made.logs[OTHER]) if type(step) is kv.Activate)
    machines = cut(made, tuple(lengths))
    machines[SOURCE].apply(NOW + 5000, [])
    settled(machines)
    receiver = machines[OTHER]
    assert receiver.stamp == NOW + 5000, "log time does not go back for a key"
    assert receiver.revision >= machines[SOURCE].revision
    assert receiver.apply(receiver.stamp, [once]) == [first]
    assert receiver.keyspace.get(b"{k}count") == b"1"


def test_the_map_says_what_is_true_or_a_move_is_about_to(logs: Logs) -> None:
    """Without a planned move nobody would ever correct it, and a later plan would name the wrong source."""
    for lengths in places(logs):
        machines = cut(logs, lengths)
        settled(machines)
        known = saved_map(machines[0].keyspace.ledger)
        [owner] = owners(machines)[0]
        told = SOURCE if known is None else next(e.group for e in known.ranges if e.first <= SLOT <= e.last)
        planned = known is not None and any(move.first <= SLOT <= move.last for move in known.moves)
        assert told == owner or planned, lengths


def test_states_without_a_move_are_left_as_they_are() -> None:
    machines = {0: Machine(), 1: Machine()}
    machines[0].apply(NOW, [kv.Put(b"a", b"1")])
    before = machines[0].digest()
    settlement = settled(machines)
    assert (settlement.steps, settlement.settled) == ({}, [])
    assert machines[0].digest() == before


def test_slots_that_are_frozen_for_a_group_that_nobody_knows_are_in_use_again() -> None:
    """The log of group 0 lacks the entry that created it."""
    machines = {0: Machine(), 1: Machine()}
    for key in KEYS:
        machines[SOURCE].apply(NOW, [kv.Put(key, b"v")])
    machines[SOURCE].apply(NOW, [kv.Freeze(1, SLOT, SLOT, 7, SHARES[SOURCE])])
    settled(machines)
    table = machines[SOURCE].keyspace.slots
    assert table is not None
    assert table.owns(KEYS[0])


def test_slots_that_have_gone_to_a_group_that_nobody_knows_come_back() -> None:
    machines = {0: Machine(), 1: Machine()}
    for key in KEYS:
        machines[SOURCE].apply(NOW, [kv.Put(key, b"v")])
    machines[SOURCE].apply(NOW, [kv.Freeze(1, SLOT, SLOT, 7, SHARES[SOURCE]), kv.Release(1, SLOT, SLOT, 5)])
    [found] = settled(machines).settled
    assert (found.first, found.group, found.keys, found.had) == (SLOT, SOURCE, 5, ())
    assert machines[SOURCE].apply(NOW, [kv.Increment(b"{k}n", 1)]) == [1]
    assert machines[SOURCE].keyspace.get(KEYS[3]) == b"v"
