"""Changes of the configuration: joint, one at a time, and what is refused."""

import msgspec
import pytest

from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership.configuration import Member
from kraft.raft.messages import (
    Append,
    EntryKind,
    TimeoutNow,
)
from tests.raft.builder import lone, lone_leader
from tests.raft.membership import change, entry_of, retiring, to_voters
from tests.raft.network import Cluster
from tests.raft.values import TRIO, configuration

# The way of a change


def test_a_change_of_voters_goes_through_a_joint_configuration_that_the_leader_leaves():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    before, target = leader.state.configuration, to_voters(cluster, "K1", "K2", "K3", "K4")
    assert leader.reconfigure(target) == (3, 2)
    assert leader.state.configuration == msgspec.structs.replace(before, target=target)
    assert leader.state.configuration_index == 3  # in force, though not committed
    cluster.tick(4)
    assert leader.state.configuration == target
    for peer in cluster.peers.values():
        assert peer.state.configuration == target
        assert peer.state.commit == 4
        assert peer.state.role in ("leader", "follower")


@pytest.mark.parametrize(
    "target",
    [
        configuration("K1", "K2", "K3", learners=("K4",)),
        msgspec.structs.replace(
            configuration("K1", "K2", "K3"),
            members=tuple(Member(n, n.lower() * 16, f"{n}:9") for n in ("K1", "K2", "K3")),
        ),
    ],
)
def test_where_the_voters_stay_one_entry_is_enough(target):
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    leader.reconfigure(target)
    assert leader.state.configuration == target
    cluster.tick(4)
    assert leader.state.configuration_index == 3


def test_several_nodes_change_places_in_one_step():
    cluster = Cluster(3, learners=("K4", "K5"))
    leader = cluster.elect("K1")
    leader.propose(b"before")
    cluster.settle()
    gone = (cluster["K2"].incarnation, cluster["K3"].incarnation)
    change(cluster, retiring(to_voters(cluster, "K1", "K4", "K5"), *gone))
    cluster["K2"].crash()
    cluster["K3"].crash()
    leader.propose(b"after")
    cluster.tick(4)
    assert [e.data for e in cluster["K5"].applied if e.kind == EntryKind.COMMANDS] == [b"before", b"after"]


def test_in_a_joint_configuration_neither_half_decides_alone():
    cluster = Cluster(3, learners=("K4", "K5"))
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K4")
    cluster.disconnect("K1", "K5")
    leader.reconfigure(to_voters(cluster, "K1", "K4", "K5", learners=("K2", "K3")))
    cluster.settle()
    assert leader.state.configuration.joint
    assert leader.state.commit == 2  # the old majority has the entry, the new one has not
    cluster.tick(10)
    assert leader.state.role == "follower"  # nor is its word enough to lead


def test_two_disjoint_majorities_elect_nobody_beside_each_other():
    """The old half knows nothing of the change, the new half does not get its majority of the old."""
    cluster = Cluster(3, learners=("K4", "K5"))
    leader = cluster.elect("K1")
    for name in ("K2", "K3"):
        cluster.disconnect("K1", name)
    leader.reconfigure(to_voters(cluster, "K1", "K4", "K5", learners=("K2", "K3")))
    cluster.settle()
    for one in ("K2", "K3"):
        for other in ("K4", "K5"):
            cluster.disconnect(one, other)
    cluster.tick(60)
    (elected,) = cluster.leaders()
    assert elected in ("K2", "K3")
    cluster.heal()
    cluster.tick(60)
    assert not cluster[elected].state.configuration.joint
    assert all(p.state.configuration == cluster[elected].state.configuration for p in cluster.peers.values())


def test_a_new_leader_in_a_joint_configuration_leaves_it_after_its_first_commit():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    target = to_voters(cluster, "K1", "K2", "K3", "K4")
    leader.reconfigure(target)
    leader.ready()
    while cluster.wires:
        cluster.deliver(*cluster.wires.popleft())
    for name in ("K2", "K3", "K4"):
        cluster[name].ready()
        cluster[name].finish_write()
    leader.crash()
    cluster.drop(lambda a, b, m: True)
    cluster.tick(30)
    (elected,) = cluster.leaders()
    assert cluster[elected].state.configuration == target
    assert cluster[elected].state.configuration_index == 5  # joint 3, no-op 4


def test_an_uncommitted_configuration_is_taken_back_with_its_entry():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    leader.reconfigure(to_voters(cluster, "K1", learners=("K2", "K3", "K4")))
    cluster.tick(40)
    assert leader.state.configuration.joint
    cluster.heal()
    cluster.tick(20)
    assert leader.state.configuration == configuration("K1", "K2", "K3", learners=("K4",))
    assert leader.state.configuration_index == 1


def test_a_configuration_is_in_force_without_being_committed_or_applied():
    """So nobody can campaign with one that the log has overtaken."""
    peer = lone(1, name="K1")
    fewer = configuration("K2", "K3")
    peer.node.step("K2", Append(2, 1, 1, 1, (entry_of(msgspec.structs.replace(fewer), 2, 2),)))
    assert peer.state.commit == 1
    assert peer.state.configuration == fewer
    peer.node.step("K2", Append(2, 2, 2, 2, ()))
    peer.node.step("K2", TimeoutNow(2))
    for _ in range(50):
        peer.node.tick()
    assert peer.state.commit == 2
    assert peer.state.applied == 1
    assert peer.state.role == "follower"


# What is refused


def test_only_a_leader_changes_the_configuration():
    with pytest.raises(NotLeading):
        lone(1).node.reconfigure(configuration("K1", "K2"))


def test_no_change_before_this_term_has_committed_an_entry():
    """RD 4.1's erratum: else changes of two leaders may decide with disjoint majorities."""
    peer = lone_leader(3, 2)
    with pytest.raises(ChangeRefused, match="not committed an entry of its term"):
        peer.node.reconfigure(configuration("K1", "K2"))


def test_one_change_at_a_time():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    smaller = to_voters(cluster, "K1", "K2", "K3")
    leader.node.reconfigure(smaller)
    with pytest.raises(ChangeRefused, match="not complete"):
        leader.node.reconfigure(smaller)
    cluster.settle()
    leader.node.reconfigure(to_voters(cluster, "K1", "K2", learners=("K3",)))
    with pytest.raises(ChangeRefused, match="not complete"):
        leader.node.reconfigure(smaller)
    leader.ready()
    leader.finish_write()
    cluster.deliver_until(lambda: not leader.state.configuration.joint)
    with pytest.raises(ChangeRefused, match="not complete"):  # the entry that leaves it is on its way
        leader.node.reconfigure(smaller)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (configuration(learners=("K1", "K2", "K3")), "needs a voter"),
        (msgspec.structs.replace(TRIO, target=TRIO), "not joint"),
        (msgspec.structs.replace(TRIO, voters=("K1", "K2")), "each once"),
        (msgspec.structs.replace(TRIO, learners=("K3",)), "each once"),
        (msgspec.structs.replace(TRIO, voters=("K3", "K2", "K1")), "in order"),
        (configuration("K1", "K2", "K3", "K4"), "learner before it votes"),
        (
            msgspec.structs.replace(TRIO, members=(Member("K1", "f" * 32, "K1:1"), *TRIO.members[1:])),
            "transfer leadership first",
        ),
        (
            msgspec.structs.replace(TRIO, members=(*TRIO.members[:2], Member("K3", "f" * 32, "K3:1"))),
            "learner before it votes",
        ),
    ],
)
def test_a_target_that_is_no_configuration_to_go_to_is_refused(target, reason):
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    with pytest.raises(ChangeRefused, match=reason):
        leader.node.reconfigure(target)
    assert leader.state.log.last_index == 2


def test_a_removed_incarnation_does_not_return():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    back = to_voters(cluster, "K1", "K2", learners=("K3",))
    change(cluster, retiring(to_voters(cluster, "K1", "K2"), cluster["K3"].incarnation))
    with pytest.raises(ChangeRefused, match="removed before"):
        leader.node.reconfigure(back)
