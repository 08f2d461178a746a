"""The map of slots in group 0: who has which slots, and which moves are planned."""

from itertools import pairwise
from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.slot_map import (
    MOVES_MAX,
    MapOutcome,
    MapRange,
    MapReply,
    MapState,
    PlannedMove,
    map_reply,
    owners,
    save_map,
    saved_map,
    static_ranges,
)
from kraft.kv.slots import SLOTS
from tests.kv.group_states import NOW, one, prepare, restored, t

GROUPS = 4
PLANNED, OWNED, UNKNOWN = MapOutcome.PLANNED, MapOutcome.OWNED, MapOutcome.UNKNOWN


@pytest.fixture
def machine():
    return Machine()


def do(machine, command):
    return map_reply(one(machine, command))


def plan(machine, first=0, last=9, receiver=1):
    return do(machine, kv.PlanMove(first, last, receiver, GROUPS))


def known(machine) -> Any:
    return saved_map(machine.keyspace.ledger)


def test_there_is_no_map_before_the_first_move(machine):
    one(machine, kv.Put(b"a", b"b"))
    assert known(machine) is None
    assert do(machine, kv.StopMove(1)).outcome == UNKNOWN
    assert do(machine, kv.EndMove(1, True)).outcome == UNKNOWN
    assert do(machine, kv.RenewMove(1)).outcome == UNKNOWN
    assert known(machine) is None


@pytest.mark.parametrize("groups", [1, 2, 3, 7, 128])
def test_at_first_the_slots_are_divided_evenly(groups):
    found = static_ranges(groups)
    assert [each.group for each in found] == list(range(groups))
    assert found[0].first == 0
    assert found[-1].last == SLOTS - 1
    assert all(a.last + 1 == b.first for a, b in pairwise(found))
    sizes = [each.last + 1 - each.first for each in found]
    assert max(sizes) - min(sizes) <= 1


def test_a_move_is_planned_with_a_number_that_is_never_given_again(machine):
    assert plan(machine) == MapReply(PLANNED, 1)
    [move] = known(machine).moves
    assert move == PlannedMove(1, 1, 0, 9, 0, 1, stopping=False, since=NOW)
    assert do(machine, kv.EndMove(1, False)) == MapReply(MapOutcome.ENDED, 1)
    assert plan(machine) == MapReply(PLANNED, 2)
    assert do(machine, kv.RenewMove(2)) == MapReply(PLANNED, 3)
    assert do(machine, kv.RenewMove(2)).outcome == UNKNOWN  # it arrived twice
    [move] = known(machine).moves
    assert (move.id, move.number) == (2, 3)


def test_slots_of_one_group_that_no_other_move_has_can_move(machine):
    a, b, *_ = static_ranges(GROUPS)
    assert plan(machine, a.last, b.first, 2) == MapReply(OWNED, 1)
    assert plan(machine, 0, 9, receiver=0) == MapReply(OWNED, 0)
    assert known(machine) is None
    assert plan(machine, 5, 9).outcome == PLANNED
    assert plan(machine, 0, 5) == MapReply(MapOutcome.OVERLAPS, 1)
    assert plan(machine, 9, 9) == MapReply(MapOutcome.OVERLAPS, 1)
    assert plan(machine, 10, 10) == MapReply(PLANNED, 2)


@pytest.mark.parametrize(
    ("first", "last", "receiver", "groups"),
    [
        (9, 8, 1, GROUPS),
        (-1, 8, 1, GROUPS),
        (0, SLOTS, 1, GROUPS),
        (SLOTS, SLOTS, 1, GROUPS),
        (0, 9, GROUPS, GROUPS),
        (0, 9, -1, GROUPS),
        (0, 9, 0, 0),
        (0, 9, 1, SLOTS + 1),
    ],
)
def test_slots_and_groups_that_there_are_not_change_nothing(machine, first, last, receiver, groups):
    assert do(machine, kv.PlanMove(first, last, receiver, groups)) == MapReply(UNKNOWN)
    assert known(machine) is None


def plan_all(machine, *moves, version=0, last=0):
    return do(machine, kv.PlanMoves(moves, GROUPS, version, last))


def test_several_moves_are_planned_together_on_the_map_that_was_looked_at(machine):
    assert plan_all(machine, (0, 9, 1), (10, 19, 2)) == MapReply(PLANNED, 1)
    assert [(m.id, m.first, m.source, m.receiver) for m in known(machine).moves] == [
        (1, 0, 0, 1),
        (2, 10, 0, 2),
    ]
    assert plan_all(machine, (20, 29, 1)) == MapReply(MapOutcome.CHANGED)
    assert plan_all(machine, (20, 29, 1), last=2) == MapReply(PLANNED, 3)
    do(machine, kv.EndMove(1, True))
    assert plan_all(machine, (0, 9, 0), last=3) == MapReply(MapOutcome.CHANGED)
    assert plan_all(machine, (0, 9, 0), version=1, last=3) == MapReply(PLANNED, 4)


def test_several_moves_are_planned_together_or_not_at_all(machine):
    for second, refusal in (
        ((10, 19, 0), MapReply(OWNED, 0)),
        ((9, 19, 2), MapReply(MapOutcome.OVERLAPS, 1)),
        ((10, 19, GROUPS), MapReply(UNKNOWN)),
        ((19, 10, 1), MapReply(UNKNOWN)),
    ):
        assert plan_all(machine, (0, 9, 1), second) == refusal
        assert known(machine) is None
    too_many = [(slot, slot, 1) for slot in range(MOVES_MAX + 1)]
    assert plan_all(machine, *too_many) == MapReply(MapOutcome.FULL)
    assert known(machine) is None
    assert do(machine, kv.PlanMoves(((0, 9, 0),), 0, 0, 0)) == MapReply(UNKNOWN)


def test_a_move_that_took_place_changes_the_owner_and_the_version(machine):
    plan(machine, 5, 9)
    assert do(machine, kv.EndMove(1, True)) == MapReply(MapOutcome.ENDED, 1)
    found = known(machine)
    assert found.version == 1
    assert found.moves == ()
    assert found.ranges[:3] == (MapRange(0, 4, 0), MapRange(5, 9, 1, 1), MapRange(10, 4095, 0))
    assert found.ranges[3:] == static_ranges(GROUPS)[1:]
    assert do(machine, kv.EndMove(1, True)).outcome == UNKNOWN
    assert owners(found.ranges, 4, 5) == [0, 1]
    assert plan(machine, 0, 9, 2) == MapReply(OWNED, 1)
    assert plan(machine, 5, 9, 0).outcome == PLANNED
    do(machine, kv.EndMove(2, True))
    assert owners(known(machine).ranges, 0, 4095) == [0]
    assert known(machine).ranges[0] == MapRange(0, 4, 0)


def test_a_move_that_was_cancelled_changes_no_owner(machine):
    plan(machine)
    do(machine, kv.EndMove(1, False))
    found = known(machine)
    assert (found.version, found.ranges, found.moves) == (0, static_ranges(GROUPS), ())


def test_an_administrator_stops_a_move_by_its_id(machine):
    plan(machine)
    do(machine, kv.RenewMove(1))
    assert do(machine, kv.StopMove(2)).outcome == UNKNOWN  # the number of an attempt is no id
    assert do(machine, kv.StopMove(1)) == MapReply(PLANNED, 1)
    assert do(machine, kv.StopMove(1)) == MapReply(PLANNED, 1)
    [move] = known(machine).moves
    assert move.stopping


def test_the_number_of_moves_is_bounded(machine):
    for slot in range(MOVES_MAX):
        assert plan(machine, slot, slot).outcome == PLANNED
    assert plan(machine, MOVES_MAX, MOVES_MAX) == MapReply(MapOutcome.FULL)
    row = next(iter(machine.keyspace.ledger.rows.values()))
    assert len(row.value) < 10 << 10


def test_a_map_with_an_owner_of_its_own_for_each_slot_is_small(machine):
    """Nothing joins ranges, so moves of single slots make as many of them as there are slots."""
    ranges = tuple(MapRange(slot, slot, 1000 + slot % 2, 100_000 + slot) for slot in range(SLOTS))
    save_map(machine.keyspace.ledger, MapState(SLOTS, SLOTS, ranges), 1)
    row = next(iter(machine.keyspace.ledger.rows.values()))
    assert len(row.value) < 240 << 10
    assert known(machine).ranges == ranges


def test_a_replica_that_starts_anew_has_the_same_map(machine):
    plan(machine)
    assert known(restored(machine)) == known(machine)


def test_a_command_on_the_map_is_done_whatever_is_locked(machine):
    prepare(machine, t(), kv.Put(b"a", b"b"))
    replies = machine.apply(NOW, [kv.Put(b"a", b"c"), kv.PlanMove(0, 9, 1, GROUPS)])
    assert replies[0] is kv.CommandFailure.LOCKED
    assert map_reply(replies[1]) == MapReply(PLANNED, 1)


@pytest.mark.parametrize("reply", [None, [], [99, 0], "OK", [1]])
def test_what_is_no_reply_is_an_error(reply):
    with pytest.raises(ValueError, match="no reply to a command on the map"):
        map_reply(reply)
