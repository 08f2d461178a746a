"""Groups that are created while the cluster runs: rows in group 0."""

import pytest

from kraft.kv import commands as kv
from kraft.kv.created_groups import GROUPS_MAX, created_count, first_configuration
from kraft.kv.machine import Machine
from kraft.kv.slot_map import MapOutcome, map_reply
from kraft.raft.membership.configuration import Configuration, Member
from tests.kv.group_states import one, restored

FIRST, SECOND, OTHER = (
    Configuration.of_voters((Member(id_, 32 * "a", "h:1"),)).encode() for id_ in ("K1", "K2", "K3")
)


@pytest.fixture
def machine():
    return Machine()


def created(machine):
    return [group for group in range(10) if first_configuration(machine.keyspace.ledger, group) is not None]


def test_a_cluster_has_no_row_before_a_group_is_created(machine):
    one(machine, kv.Put(b"a", b"b"))
    assert created_count(machine.keyspace.ledger) == 0
    assert created(machine) == []
    assert not machine.slots_changed


def test_each_group_has_the_configuration_with_which_it_begins(machine):
    assert one(machine, kv.AddGroups(2, 2, FIRST)) == [1, 4]
    assert machine.slots_changed
    assert one(machine, kv.AddGroups(4, 1, SECOND)) == [1, 5]
    assert created(machine) == [2, 3, 4]
    assert [first_configuration(machine.keyspace.ledger, group) for group in (2, 3, 4)] == [
        FIRST,
        FIRST,
        SECOND,
    ]


@pytest.mark.parametrize("first", [1, 2, 3, 5])
def test_a_command_for_another_group_than_the_next_does_nothing(machine, first):
    """It was decided before others were created, or it comes twice."""
    one(machine, kv.AddGroups(2, 2, FIRST))
    machine.slots_changed = False
    assert one(machine, kv.AddGroups(first, 1, OTHER)) == [0, 4]
    assert created(machine) == [2, 3]
    assert first_configuration(machine.keyspace.ledger, 2) == FIRST
    assert not machine.slots_changed


@pytest.mark.parametrize(
    ("first", "count"), [(1, 0), (1, -1), (1, GROUPS_MAX), (0, 1), (-1, 1), (GROUPS_MAX, 1)]
)
def test_a_number_that_cannot_be_does_nothing(machine, first, count):
    assert one(machine, kv.AddGroups(first, count, FIRST)) == [0, first]
    assert created_count(machine.keyspace.ledger) == 0


@pytest.mark.parametrize(
    "wrong", [b"", b"\xc1", b"\x93\x90\x90\x90", Configuration((), ()).encode(), FIRST[:-1]]
)
def test_no_group_is_created_that_no_node_could_begin(machine, wrong):
    """Every node that applies the command would stop, and again after each start."""
    assert one(machine, kv.AddGroups(1, 1, wrong)) == [0, 1]
    assert created_count(machine.keyspace.ledger) == 0


def test_a_replica_that_starts_anew_knows_them(machine):
    one(machine, kv.AddGroups(1, 2, FIRST))
    again = restored(machine)
    assert created(again) == [1, 2]
    assert one(again, kv.AddGroups(1, 2, FIRST)) == [0, 3]


def test_no_flush_removes_them(machine):
    one(machine, kv.AddGroups(1, 2, FIRST))
    one(machine, kv.Flush())
    assert created(machine) == [1, 2]


def test_slots_may_move_into_a_created_group(machine):
    def plan(receiver):
        return map_reply(one(machine, kv.PlanMove(0, 9, receiver, 1))).outcome

    assert plan(1) == MapOutcome.UNKNOWN
    one(machine, kv.AddGroups(1, 1, FIRST))
    assert plan(2) == MapOutcome.UNKNOWN
    assert plan(1) == MapOutcome.PLANNED
