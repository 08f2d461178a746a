"""The questions that a replica answers from its state."""

from tests.raft.builder import lone
from tests.raft.membership import change, retiring, to_voters
from tests.raft.network import Cluster


def test_who_is_meant_by_an_id():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    gone = cluster["K3"].incarnation
    change(cluster, retiring(to_voters(cluster, "K1", "K2"), gone))
    node = leader.node
    assert node.state.is_current_incarnation("K2", cluster["K2"].incarnation)
    assert not node.state.is_current_incarnation("K2", "f" * 32)
    assert node.state.is_current_incarnation("K3", gone)  # told of its removal
    assert not node.state.is_current_incarnation("K3", "f" * 32)


def test_a_node_is_not_the_former_member_of_its_id():
    """Its log grows through the time when the old one voted; it must not take that vote for its own."""
    peer = lone(1, name="K2")
    peer.incarnation = "f" * 32
    peer._start(peer.disk.restored())
    for _ in range(50):
        peer.node.tick()
    assert peer.state.role == "learner"


def test_who_lost_its_vote_by_an_uncommitted_change_may_be_needed_to_lead():
    """K1 and K2 have the entry that takes their votes, K3 has not: its log cannot win, theirs can.

    Found by a random cluster: without this the three wait for ever.
    """
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.reconfigure(to_voters(cluster, "K3", learners=("K1", "K2")))
    cluster.settle()
    assert cluster.leaders() == ["K3"]

    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.reconfigure(to_voters(cluster, "K3", learners=("K1", "K2")))
    leader.ready()
    cluster.deliver_until(lambda: not leader.state.configuration.joint)
    cluster.disconnect("K1", "K3")
    cluster.settle()
    assert cluster["K2"].state.configuration == cluster["K1"].state.configuration
    assert cluster["K3"].state.configuration.joint
    leader.crash()
    leader.restart()
    cluster.heal()
    cluster.tick(80)
    assert cluster.leaders() == ["K3"]
    assert not cluster["K3"].state.configuration.joint
