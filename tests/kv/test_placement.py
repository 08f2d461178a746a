"""The placement of votes: one row in the ledger of group 0."""

import pytest

from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.placement import UNPLACED, PlacementState, saved_placement
from tests.kv.group_states import one, restored


@pytest.fixture
def machine():
    return Machine()


def placement(machine):
    return saved_placement(machine.keyspace.ledger)


def test_without_a_command_there_is_no_row_and_every_member_votes(machine):
    one(machine, kv.Put(b"a", b"b"))
    assert not machine.keyspace.ledger.rows
    assert placement(machine) == UNPLACED
    assert not UNPLACED.active


def test_each_change_is_made_of_the_state_before_it(machine):
    assert one(machine, kv.ChangePlacement(0, 3, True)) == [1, 1]
    assert one(machine, kv.ChangePlacement(1, 3, False, ("K2",))) == [1, 2]
    assert placement(machine) == PlacementState(2, 3, False, ("K2",))


@pytest.mark.parametrize("version", [0, 2, -1])
def test_one_that_was_made_of_another_state_does_nothing(machine, version):
    """Somebody else was faster, or it comes twice."""
    one(machine, kv.ChangePlacement(0, 3))
    assert one(machine, kv.ChangePlacement(version, 5)) == [0, 1]
    assert placement(machine) == PlacementState(1, 3)


@pytest.mark.parametrize(
    ("state", "active"),
    [
        (PlacementState(1, 3), True),
        (PlacementState(1, 0, True), True),  # until every member votes again
        (PlacementState(2, 0, False), False),
    ],
)
def test_votes_are_placed_while_not_every_member_votes(state, active):
    assert state.active is active


def test_a_replica_that_starts_anew_knows_it_and_no_flush_removes_it(machine):
    one(machine, kv.ChangePlacement(0, 3, True, ("K1", "K2")))
    one(machine, kv.Flush())
    assert placement(restored(machine)) == PlacementState(1, 3, True, ("K1", "K2"))
