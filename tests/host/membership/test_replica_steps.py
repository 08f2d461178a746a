"""What the placement asks of one group: the steps that a group takes, and those that it refuses."""

import pytest

from kraft.host.membership.targets import target
from kraft.node.admin import DropReplica, PlaceReplica
from kraft.raft.errors import ChangeRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Joining, Member
from kraft.raft.membership.joint import with_numbers
from kraft.raft.membership.replica_number import ReplicaNumber

NODES = {id_: Member(id_, f"{n:032x}", f"h{n}:1") for n, id_ in enumerate(["K1", "K2", "K3", "K4", "K5"], 1)}
VOTERS = ("K1", "K2", "K3")
THREE = Configuration.of_voters(tuple(NODES[id_] for id_ in VOTERS))
PLACE = PlaceReplica(1, VOTERS, "K4", "K3")


def placed(current=THREE, step=PLACE):
    """The group once the entry of the step is logged."""
    return with_numbers(target(current, step, NODES[step.node]), ReplicaNumber(2, 9))


def test_a_new_replica_is_a_learner_that_is_promised_the_place_of_a_voter():
    group = placed()
    assert group.voters == VOTERS
    assert group.joining == (Joining("K4", "K3"),)
    assert group.member("K4").incarnation == NODES["K4"].node + "#2.9"


def test_the_replica_that_it_replaces_leaves_and_may_come_back():
    group = changes.promoted(placed(), "K4")
    assert group.voters == ("K1", "K2", "K4")
    assert group.member("K3") is None
    assert group.retired == (NODES["K3"].node + "#",)
    assert placed(group, PlaceReplica(1, group.voters, "K3", "K4")).joining == (Joining("K3", "K4"),)


def test_a_node_that_replaces_another_one_by_command_ends_its_stay_in_the_cluster():
    group = changes.promoted(changes.replaced(THREE, "K3", NODES["K4"]), "K4")
    assert group.retired == (NODES["K3"].node,)


@pytest.mark.parametrize("newcomer", ["K4", "K5"])
def test_who_replaces_a_node_with_a_new_replica_takes_the_place_of_that_replica_alone(newcomer):
    """The node whose vote it gets stays in the cluster, and may come back to the group."""
    node = Member(newcomer, "e" * 32, f"{newcomer}:1")
    waits = with_numbers(changes.replaced(placed(), "K4", node), ReplicaNumber(2, 12))
    assert waits.joining == (Joining(newcomer, "K3"),)
    assert [m.incarnation for m in waits.members if m.id == newcomer] == [node.node + "#2.12"]
    group = changes.promoted(waits, newcomer)
    assert group.retired == (NODES["K3"].node + "#", NODES["K4"].node)
    assert placed(group, PlaceReplica(1, group.voters, "K3", "")).joining == (Joining("K3"),)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (PlaceReplica(1, ("K1", "K2"), "K4", "K2"), "the voters are K1, K2, K3 by now"),
        (PlaceReplica(1, VOTERS, "K4", "K5"), "K5 has no vote whose place K4 could take"),
        (PlaceReplica(1, VOTERS, "K3", ""), "K3 is a member already"),
    ],
)
def test_a_step_of_an_old_plan_is_refused(step, text):
    with pytest.raises(ChangeRefused, match=text):
        target(THREE, step, NODES[step.node])


def test_a_group_gets_one_new_replica_after_the_other():
    with pytest.raises(ChangeRefused, match="K4 is on its way to a vote"):
        target(placed(), PlaceReplica(1, VOTERS, "K5", ""), NODES["K5"])


@pytest.mark.parametrize("coming", [False, True])
def test_a_replica_is_dropped_if_it_is_what_the_plan_took_it_for(coming):
    """One on its way to a vote is taken back, one without such a promise is not needed."""
    group = placed() if coming else changes.replica_added(THREE, NODES["K4"])
    left = target(group, DropReplica(1, VOTERS, "K4", coming), None)
    assert [member.id for member in left.members] == list(VOTERS)
    assert left.joining == ()
    with pytest.raises(ChangeRefused, match="to a vote by now"):
        target(group, DropReplica(1, VOTERS, "K4", not coming), None)


def test_a_voter_is_never_dropped():
    with pytest.raises(ChangeRefused, match="K3 votes"):
        target(THREE, DropReplica(1, VOTERS, "K3"), None)
