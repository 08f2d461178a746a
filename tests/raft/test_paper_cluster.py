"""RP figure 3 and sections 6 to 8, sentence by sentence; `test_thesis.py` has what the thesis adds."""

import pytest

from kraft.raft.errors import ChangeRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Append, AppendReply, EntryKind, Heartbeat, HeartbeatReply, Vote
from tests.raft.builder import lone, lone_leader
from tests.raft.disk import Image
from tests.raft.network import Cluster
from tests.raft.values import commands, configuration, past

SPLIT = changes.promoted(configuration("K1", "K2", "K3", learners=("K4",)), "K4")


# The properties of figure 3


def test_a_term_has_at_most_one_leader():
    """Figure 3, election safety: two candidates of one term, and K2 has one vote."""
    cluster = Cluster(3)
    cluster.disconnect("K1", "K3")
    for name in ("K1", "K3"):
        cluster[name].node.campaign()
    cluster.settle()
    assert len(cluster.leaders()) == 1


def test_equal_index_and_term_mean_equal_logs():
    """Figure 3, log matching: whatever the followers had before."""
    mine, theirs = past(4, 2, 4), past(3, 2, 3, 3)
    cluster = Cluster(3, restored={"K1": mine, "K2": theirs})
    cluster.elect("K1")
    cluster.tick(4)
    assert cluster["K2"].disk.entries == cluster["K1"].disk.entries == cluster["K3"].disk.entries


def test_a_committed_entry_is_in_the_logs_of_all_later_leaders():
    """Figure 3, leader completeness; 5.4.3: who lacks it is not elected."""
    cluster = Cluster(3)
    cluster.elect("K1")
    cluster.isolate("K3")
    index, term = cluster["K1"].propose()
    cluster.settle()
    cluster["K1"].crash()
    cluster.heal()
    cluster.tick(60)
    assert cluster.leaders() == ["K2"]
    assert cluster["K2"].state.term_at(index) == term


def test_all_nodes_apply_the_same_entry_at_an_index():
    """Figure 3, state machine safety."""
    cluster = Cluster(3)
    cluster.elect("K1")
    cluster["K1"].propose(b"a")
    cluster.settle()
    cluster["K1"].node.transfer("K2")
    cluster.settle()
    cluster["K2"].propose(b"b")
    cluster.tick(4)
    assert cluster["K1"].applied == cluster["K2"].applied == cluster["K3"].applied


# 6: changes of the members


def test_a_configuration_counts_from_the_moment_it_is_in_the_log():
    """6: the latest one in the log, whether it is committed or not; and it goes with its entry."""
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    leader.reconfigure(SPLIT)
    assert leader.state.configuration.joint
    assert leader.state.commit < leader.state.configuration_index


def test_a_joint_configuration_replicates_to_the_members_of_both():
    """6, joint consensus: entries go to all servers of both."""
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    leader.reconfigure(SPLIT)
    leader.ready()
    assert sorted(to for _, to, m in cluster.wires if isinstance(m, Append)) == ["K2", "K3", "K4"]


def test_any_member_of_either_configuration_may_lead():
    """6, joint consensus: K4 votes in the target only, and leads before that is in force."""
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    cluster.isolate("K2")
    leader.reconfigure(SPLIT)
    leader.ready()
    for sender, to, message in list(cluster.wires):
        cluster.deliver(sender, to, message)
    cluster.wires.clear()
    leader.crash()
    cluster.heal()
    for name in ("K2", "K3", "K4"):
        cluster[name].node.leader_lost("K1")
    assert cluster["K4"].state.configuration.joint
    cluster.elect("K4")


def test_agreement_needs_both_majorities():
    """6, joint consensus: of two and two, here without the new half."""
    cluster = Cluster(2, learners=("K3", "K4"))
    leader = cluster.elect("K1")
    cluster.isolate("K3")
    cluster.isolate("K4")
    both = changes.promoted(changes.promoted(leader.state.configuration, "K3"), "K4")
    index, _ = leader.reconfigure(both)
    cluster.settle()
    assert leader.state.commit < index
    cluster.heal()
    cluster.tick(6)
    assert leader.state.configuration == both
    assert leader.state.commit > index


def test_the_new_configuration_follows_when_the_joint_one_is_committed():
    """6: then, and not earlier, the leader makes the entry of the new one."""
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    index, _ = leader.reconfigure(SPLIT)
    assert leader.state.log.last_index == index
    cluster.settle()
    kinds = [EntryKind(e.kind) for e in leader.disk.entries[-2:]]
    assert kinds == [EntryKind.CONFIGURATION, EntryKind.CONFIGURATION]
    assert leader.state.configuration == SPLIT


def test_new_members_catch_up_without_a_vote_first():
    """6: they get entries and count in no majority."""
    cluster = Cluster(1, learners=("K2",))
    leader = cluster.elect("K1")
    cluster.isolate("K2")
    index, _ = leader.propose()
    cluster.settle()
    assert leader.state.commit == index
    cluster.heal()
    cluster.tick(4)
    assert cluster["K2"].state.log.last_index == index


def test_a_leader_that_is_no_member_of_the_new_configuration_steps_down_when_it_is_committed():
    """6: until then it manages a cluster to which it does not belong, and counts itself in no majority."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.isolate("K3")
    leader.reconfigure(changes.removed(leader.state.configuration, "K1"))
    cluster.settle()
    assert leader.state.role == "leader"  # of K2 and K3 only K2 has the target
    assert leader.state.commit < leader.state.configuration_index
    cluster.heal()
    cluster.tick(4)
    assert leader.state.role == "follower"


def test_votes_are_ignored_while_a_leader_is_heard():
    """6: neither a vote nor a new term, within the minimum election timeout of hearing it."""
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    for _ in range(9):
        peer.node.tick()
    peer.node.step("K3", Vote(9, 9, 8))
    assert peer.answers() == []
    assert peer.state.term == 2
    peer.node.tick()
    peer.node.step("K3", Vote(9, 9, 8))
    assert peer.state.term == 9


# 7: snapshots


def test_each_node_compacts_what_is_committed_by_itself():
    """7: independently of the leader, and only what is applied; the rest of the log stays."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for _ in range(3):
        leader.propose()
    cluster.tick(4)
    cluster["K2"].compact(4)
    cluster.settle()
    assert (cluster["K2"].state.log.first_index, cluster["K2"].state.log.last_index) == (5, 5)
    assert leader.state.log.first_index == 1


def test_a_snapshot_carries_the_last_index_and_term_and_the_configuration_there():
    """7: for the check of the next append, and for the changes of members."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose()
    cluster.settle()
    base = leader.state.base_at(leader.state.applied)
    assert (base.index, base.term, base.configuration) == (3, 2, leader.state.configuration)


def test_the_entry_before_the_first_one_is_checked_against_the_snapshot():
    """7: the last index and term are kept for that."""
    cluster = Cluster(3)
    cluster.elect("K1")
    cluster.tick(2)
    follower = cluster["K2"]
    follower.compact(2)
    cluster.settle()
    follower.node.step("K1", Append(2, 2, 2, 2, commands(3, 2)))
    assert follower.state.log.last_index == 3


def test_a_snapshot_is_for_followers_whose_next_entry_is_gone():
    """7: only when the leader has discarded what it would send."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.isolate("K3")
    leader.propose()
    leader.propose()
    cluster.tick(2)
    leader.compact(3)
    cluster.auto_snapshots = False
    cluster.heal()
    cluster.tick(6)
    assert leader.wanted == ["K3"]


def test_a_snapshot_with_news_replaces_the_log():
    """7 and figure 13, step 7: entries that conflict with it are superseded."""
    peer = lone(3, 3, 3, 3)
    base = Base(3, 4, 0, 1, peer.state.configuration)
    assert peer.install(Image(base, ()))
    assert (peer.state.log.last_index, peer.state.commit, peer.state.applied) == (3, 3, 3)


def test_a_snapshot_of_a_prefix_leaves_the_entries_after_it():
    """7 and figure 13, step 6: they are still valid."""
    peer = lone(2, 2, 2, 2)
    assert peer.install(Image(Base(3, 2, 0, 1, peer.state.configuration), ()))
    assert (peer.state.log.first_index, peer.state.log.last_index) == (4, 4)


# 8: clients


def test_nothing_is_read_before_this_term_has_committed_an_entry():
    """8: only by that does the leader learn which entries are committed; to be sure to lead is not enough."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.read(7)
    for follower in ("K2", "K3"):
        peer.node.step(follower, HeartbeatReply(2, 1, 0))
    peer.answers()
    assert peer.reads == []
    peer.node.step("K2", AppendReply(2, 2))
    peer.answers()
    assert peer.reads == [(7, 2)]


def test_a_leader_exchanges_heartbeats_with_a_majority_before_it_answers_a_read():
    """8: it may have been deposed."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.read(7)
    leader.ready()
    assert leader.reads == []
    cluster.settle()
    assert leader.reads == [(7, 2)]


def test_a_change_is_refused_before_this_term_has_committed_an_entry():
    """The erratum to single changes, kept for joint ones too."""
    peer = lone_leader(2)
    with pytest.raises(ChangeRefused):
        peer.node.reconfigure(changes.removed(peer.state.configuration, "K3"))
