"""Reads are answered only by a leader that proves it still leads (RD 6.4)."""

from kraft.raft.messages import AppendReply, Heartbeat, HeartbeatReply
from tests.raft.network import Cluster


def test_a_read_is_released_by_a_quorum_at_the_commit_index_of_its_start():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K3")
    leader.node.read(7)
    assert leader.reads == []
    cluster.settle()
    assert leader.reads == [(7, leader.state.commit)]


def test_a_single_voter_needs_nobody():
    cluster = Cluster(1)
    leader = cluster.elect("K1")
    leader.node.read(7)
    leader.ready()
    assert leader.reads == [(7, 2)]


def test_a_new_leader_answers_no_read_before_its_first_entry_is_committed():
    """Entries that an earlier leader committed may still be unknown to be so."""
    cluster = Cluster(3)
    leader = cluster["K1"]
    leader.node.campaign()
    cluster.deliver_until(lambda: leader.state.role == "leader")
    cluster.wires.clear()
    cluster.checker.sees_all = False  # from here on the followers' answers are made up
    leader.node.read(7)
    assert not leader.state.leads_with_commit
    said = leader.answers()
    for to, message in said:
        if isinstance(message, Heartbeat):
            leader.node.step(to, HeartbeatReply(message.term, message.round, 0))
    leader.ready()
    assert leader.reads == []
    leader.node.step("K2", AppendReply(2, 2))
    leader.ready()
    assert leader.reads == [(7, 2)]


def test_an_answer_to_an_earlier_round_confirms_nothing():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.read(1)
    old = next(m for _, m in leader.answers())
    assert isinstance(old, Heartbeat)
    leader.node.read(2)
    leader.answers()
    leader.node.step("K2", HeartbeatReply(2, old.round, 0))
    leader.ready()
    assert [ctx for ctx, _ in leader.reads] == [1]
    leader.node.step("K2", HeartbeatReply(2, old.round, 0))
    leader.node.step("K3", HeartbeatReply(2, old.round, 0))
    leader.ready()
    assert [ctx for ctx, _ in leader.reads] == [1]
    leader.node.step("K3", HeartbeatReply(2, old.round + 1, 0))
    leader.ready()
    assert [ctx for ctx, _ in leader.reads] == [1, 2]


def test_an_answer_from_an_earlier_term_confirms_nothing():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.read(1)
    leader.node.step("K2", HeartbeatReply(1, 99, 0))
    leader.ready()
    assert leader.reads == []


def test_a_lost_round_is_confirmed_by_the_next_heartbeat():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.read(1)
    leader.answers()
    cluster.tick(2)
    assert [ctx for ctx, _ in leader.reads] == [1]


def test_a_deposed_leader_fails_its_reads():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    leader.node.read(1)
    leader.node.read(2)
    cluster.tick(10)
    assert (leader.reads, leader.failed) == ([], [1, 2])


def test_an_isolated_leader_never_answers_though_another_one_commits():
    cluster = Cluster(3)
    old = cluster.elect("K1")
    cluster.isolate("K1")
    cluster.tick(25, "K2", "K3")
    (new,) = [n for n in cluster.leaders() if n != "K1"]
    cluster[new].propose(b"newer")
    cluster.settle()
    old.node.read(1)
    cluster.heal()
    cluster.settle()
    cluster.tick(4)
    assert (old.reads, old.failed) == ([], [1])


def test_a_read_can_be_asked_to_wait_for_a_later_index():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    index, _ = leader.propose(b"")
    leader.node.read(1, floor=index)
    cluster.settle()
    assert leader.reads == [(1, index)]


def test_a_follower_that_was_a_moment_late_learns_the_commit_index_without_waiting():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].auto_disk = False
    index, _ = leader.propose(b"x")
    cluster.settle()
    assert leader.state.commit == index
    leader.node.read(1)
    cluster.settle()
    assert cluster["K3"].state.commit < index
    cluster["K3"].finish_write()
    cluster.settle()
    assert cluster["K3"].state.commit == index
    assert cluster["K3"].state.applied == index
