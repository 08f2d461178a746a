"""The normal case: election, replication, commit and apply, on one to five nodes."""

import pytest

from kraft.raft.messages import Append
from tests.raft.network import Cluster


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_silent_cluster_elects_one_leader_that_commits_for_all(size):
    cluster = Cluster(size)
    cluster.tick(10)
    assert cluster.leaders() == ["K1"]
    assert cluster["K1"].state.leads_with_commit

    position = cluster["K1"].propose(b"hello")
    cluster.settle()
    assert position == (3, 2)
    assert [e.data for e in cluster["K1"].applied][2:] == [b"hello"]
    cluster.tick(2)
    for peer in cluster.peers.values():
        assert peer.applied == cluster["K1"].applied
        assert peer.state.leader == "K1"
        assert peer.disk.entries == cluster["K1"].disk.entries


def test_a_quiet_node_has_nothing_to_do():
    cluster = Cluster(3)
    cluster.elect("K1")
    assert all(peer.node.take_ready() is None for peer in cluster.peers.values())


def test_many_proposals_of_one_turn_travel_in_one_message_per_follower():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for i in range(10):
        leader.propose(b"%d" % i)
    ready = leader.node.take_ready()
    assert ready is not None
    first, second = (outgoing.message for outgoing in ready.send_now)
    assert isinstance(first, Append)
    assert len(first.entries) == 10
    assert first is second  # shared by followers in step
    assert ready.persist is not None
    assert len(ready.persist.entries) == 10


def test_a_follower_takes_over_and_everybody_keeps_what_was_committed():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"kept")
    cluster.settle()
    leader.crash()
    cluster["K2"].node.leader_lost("K1")
    cluster["K3"].node.leader_lost("K1")
    cluster.elect("K2").propose(b"more")
    cluster.settle()
    leader.restart()
    cluster.tick(4)
    assert [e.data for e in leader.applied if e.data][1:] == [b"kept", b"more"]
    assert leader.applied == cluster["K3"].applied
