"""A change of a member that a group lacks: what is left out there, and what is refused."""

import pytest

from kraft.host.membership.targets import check_not_gone, is_left_out
from kraft.host.membership.united import united
from kraft.node.admin import Add, Demote, Promote, Readdress, Remove, Replace
from kraft.raft.errors import ChangeRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.joint import with_numbers
from kraft.raft.membership.replica_number import ReplicaNumber

NODES = {id_: Member(id_, f"{n:032x}", f"h{n}:1") for n, id_ in enumerate(["K1", "K2", "K3", "K4"], 1)}
WHOLE = Configuration.of_voters((NODES["K1"], NODES["K2"], NODES["K3"]))
REMOVED = changes.removed(WHOLE, "K3")
GONE = "K3 was removed, and other groups still have it: end that with KRAFT REMOVE K3"
TAKEN = "K3 has left, and K4 is about to take its place in the other groups: wait until K4 votes in all"
ABOUT_K3 = (Demote("K3"), Promote("K3"), Readdress("K3", "h9:1"))
REPLACE = Replace("K3", "K4", "h4:1")


def left_out(current, command, first=WHOLE, *, everywhere=True):
    """For group 1 with the members `current`, while `first` are those of group 0."""
    return is_left_out(current, command, united({0: first, 1: current}), everywhere=everywhere)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("command", ABOUT_K3)
def test_a_change_of_a_member_that_the_group_has_removed_for_good_is_refused(command, everywhere):
    with pytest.raises(ChangeRefused, match=GONE):
        left_out(REMOVED, command, everywhere=everywhere)


@pytest.mark.parametrize("command", ABOUT_K3)
def test_whose_place_is_about_to_be_taken_is_told(command):
    waits = changes.replaced(WHOLE, "K3", NODES["K4"])
    with pytest.raises(ChangeRefused, match=TAKEN):
        left_out(changes.promoted(waits, "K4"), command, waits)


def test_only_a_group_that_needs_no_member_is_left_out_of_a_replacement():
    """Where nodes have replicas of some groups only, its votes are elsewhere by now."""
    assert left_out(REMOVED, REPLACE, everywhere=False)
    with pytest.raises(ChangeRefused, match=GONE):
        left_out(REMOVED, REPLACE)


@pytest.mark.parametrize("command", [*ABOUT_K3, REPLACE])
def test_a_group_that_never_had_the_member_is_left_out_unless_all_groups_have_all_members(command):
    less = Configuration.of_voters((NODES["K1"], NODES["K2"]))
    assert left_out(less, command, everywhere=False)
    with pytest.raises(ChangeRefused, match="repeat the addition that has ended half-way, or take it out"):
        left_out(less, command)
    assert not left_out(less, command, less), "no group has it, which the command itself says"


@pytest.mark.parametrize("command", ABOUT_K3)
def test_a_group_that_only_its_replica_has_left_is_left_out(command):
    assert left_out(changes.replica_removed(WHOLE, "K3"), command, everywhere=False)


@pytest.mark.parametrize("command", [*ABOUT_K3, REPLACE])
def test_a_member_that_came_back_with_an_empty_directory_is_another_one(command):
    back = changes.added(REMOVED, Member("K3", "9" * 32, "h3:1"))
    assert left_out(REMOVED, command, back, everywhere=False)


@pytest.mark.parametrize("command", [*ABOUT_K3, REPLACE, Add("K4", "h4:1"), Remove("K3")])
def test_a_group_that_has_the_member_is_changed(command):
    numbered = with_numbers(changes.replica_added(REMOVED, NODES["K4"]), ReplicaNumber(2, 9))
    for current in (WHOLE, numbered if isinstance(command, Replace) else WHOLE):
        assert not left_out(current, command)


@pytest.mark.parametrize("command", [Remove("K3"), Add("K3", "h3:1")])
def test_who_ends_what_is_half_done_may_do_so(command):
    check_not_gone(REMOVED, command, WHOLE)
