"""Moves of slots in the simulator: its homes, its check that each slot has one owner, and runs with moves."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.kv.commands import AppendValue, Exec, Increment, Look, Once, Put, SetMany, Watched
from kraft.kv.slot_map import static_ranges
from kraft.kv.slots import SLOTS, SlotRange, SlotState, SlotTable, slot_of
from tests.serializability import DONE
from tests.simulation import cross_groups
from tests.simulation.homes import TAGS, Homes
from tests.simulation.run import run_moving
from tests.simulation.slot_owners import SlotOwners
from tests.simulation.violation import Violation

HALF = SLOTS // 2
OWN, FROZEN, GONE = SlotState.OWN, SlotState.FROZEN, SlotState.GONE


def test_homes_begin_in_all_groups_and_each_has_one_slot():
    homes = Homes(3, moving=True)
    shares = static_ranges(3)
    assert len(set(homes.slots)) == homes.count == 3 * TAGS
    for home, slot in enumerate(homes.slots):
        share = shares[home // TAGS]
        assert share.first <= slot <= share.last
        assert slot_of(homes.key(home, b"a")) == slot_of(homes.key(home, b"b")) == slot
        assert homes.home_of(homes.key(home, b"a"), 2) == home


def test_without_moves_a_home_is_a_group():
    homes = Homes(3, moving=False)
    assert (homes.count, homes.key(1, b"a"), homes.home_of(b"a", 2)) == (3, b"a", 2)


def test_commands_on_names_become_commands_on_keys():
    homes = Homes(2, moving=True)
    tag = homes.key(1, b"")
    steps = (AppendValue(b"x", b"k"), Look((b"x", b"y")))
    once = Once(b"t", b"f", Increment(b"n", 2), 9)
    written = SetMany((b"p", b"1", b"q", b"2"))
    found = homes.commands(1, [Put(b"a", b"v"), written, Exec((Watched(b"w", 1, 2),), steps), once])
    steps = (AppendValue(tag + b"x", b"k"), Look((tag + b"x", tag + b"y")))
    assert found == [
        Put(tag + b"a", b"v"),
        SetMany((tag + b"p", b"1", tag + b"q", b"2")),
        Exec((Watched(tag + b"w", 1, 2),), steps),
        Once(b"t", b"f", Increment(tag + b"n", 2), 9),
    ]


def replica(group: int, index: int, ranges: tuple[SlotRange, ...]) -> Any:
    machine = SimpleNamespace(keyspace=SimpleNamespace(slots=SlotTable(ranges)))
    return SimpleNamespace(id=group, state=SimpleNamespace(index=index, machine=machine))


def source(state: int, peer: int = -1) -> tuple[int, tuple[SlotRange, ...]]:
    """Group 0, out of which the slots up to 9 move."""
    rest = (SlotRange(10, HALF - 1, OWN), SlotRange(HALF, SLOTS - 1, GONE))
    return 0, (SlotRange(0, 9, state, 0, 1, peer), *rest)


def receiver(state: int) -> tuple[int, tuple[SlotRange, ...]]:
    """Group 1."""
    rest = (SlotRange(10, HALF - 1, GONE), SlotRange(HALF, SLOTS - 1, OWN))
    return 1, (SlotRange(0, 9, state, 1), *rest)


def follow(*states: tuple[int, tuple[SlotRange, ...]]) -> None:
    owners = SlotOwners(2)
    for index, (group, ranges) in enumerate(states, 1):
        owners.look(replica(group, index, ranges))


def test_each_slot_has_one_owner_or_is_frozen_once():
    follow(source(FROZEN, 1), receiver(OWN), source(GONE))
    follow(source(FROZEN, 1), source(OWN))


@pytest.mark.parametrize(
    ("states", "violation"),
    [
        ([source(OWN), receiver(OWN)], "own the slot 0"),
        ([source(FROZEN, 1), source(GONE)], "nobody has the slot 0"),
        ([source(FROZEN, 2), receiver(OWN)], "slot 0 of group 0 is in group 1"),
        ([source(FROZEN, 1), receiver(FROZEN)], "have frozen the slot 0"),
    ],
)
def test_two_owners_and_none_are_found(states, violation):
    with pytest.raises(Violation, match=violation):
        follow(*states)


def test_a_replica_that_lags_is_no_news():
    owners = SlotOwners(2)
    owners.look(replica(0, 7, source(FROZEN, 1)[1]))
    owners.look(replica(1, 5, receiver(OWN)[1]))
    owners.look(replica(0, 6, source(OWN)[1]))


@pytest.mark.timeout(300)
def test_moves_take_place_and_are_cancelled_in_runs_with_faults():
    """So that the checks see something. Which seeds these are does not matter."""
    counts = run_moving(1008).counts + cross_groups.run_moving(0).counts
    assert counts[DONE] >= 40
    assert counts["slots_moved"] > 10
    assert counts["move_cancelled"] > 0
    assert counts["move_attempt_failed"] > 0
    assert counts["write not_owner"] > 0
