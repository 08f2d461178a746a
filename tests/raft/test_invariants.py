"""The checker is trusted only while it catches planted faults."""

import pytest
from msgspec.structs import replace

from kraft.raft.errors import InvariantViolation
from kraft.raft.invariants import InvariantChecker, ReplicaView, check_node, check_state
from kraft.raft.leader import Leader
from kraft.raft.membership import joint
from kraft.raft.membership.configuration import Base
from kraft.raft.membership.quorum import Joint
from kraft.raft.messages import (
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    VoteReply,
)
from kraft.raft.ready import Outgoing, Persist, Ready
from kraft.raft.state import ReplicaState
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster
from tests.raft.values import TRIO, configuration, past

GOOD = ReplicaView("follower", 3, "K1", "K1", 5, 5, 7, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"applied": 6},
        {"commit": 9},
        {"durable": 9},
        {"base": 6},
        {"role": "candidate"},
    ],
)
def test_a_wrong_state_is_caught(wrong):
    check_state(GOOD)
    with pytest.raises(InvariantViolation):
        check_state(GOOD._replace(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"term": 2},
        {"commit": 4, "applied": 4},
        {"applied": 4},
        {"durable": 5, "commit": 5, "applied": 4},
        {"vote": "K3"},
        {"leader": "K3"},
    ],
)
def test_a_wrong_step_is_caught(wrong):
    node = lone(1).node
    check_node(node, GOOD, GOOD._replace(term=4, vote="K3", leader="K3"))
    with pytest.raises(InvariantViolation):
        check_node(node, GOOD, GOOD._replace(**wrong))


def test_a_leader_that_shortens_its_log_is_caught():
    node = lone(1).node
    leads = GOOD._replace(role="leader", leader="K2", vote="K2")
    check_node(node, leads, leads)
    with pytest.raises(InvariantViolation, match="only appends"):
        check_node(node, leads, leads._replace(last_index=7))


def test_two_leaders_of_one_term_are_caught():
    checker = InvariantChecker(sees_all=False)
    checker.step(lone_leader(5, 2).node)
    with pytest.raises(InvariantViolation, match="election safety"):
        checker.step(lone_leader(5, 2, name="K3").node)


@pytest.mark.parametrize(("committed", "reason"), [((2, 3), "completeness"), ((2, 2, 2, 2), "too short")])
def test_a_leader_without_a_committed_entry_is_caught(committed, reason):
    checker = InvariantChecker(sees_all=False)
    checker.step(lone(4, *committed, commit=len(committed) + 1).node)
    leader = lone_leader(5, 2, 2)
    with pytest.raises(InvariantViolation, match=reason):
        checker.step(leader.node)


def test_a_leader_that_learns_of_its_election_late_need_not_have_what_later_ones_committed():
    """Its votes were given before (found by simulation, with a paused node)."""
    checker = InvariantChecker(sees_all=False)
    checker.step(lone(6, 2, 6, name="K3", commit=3).node)
    checker.step(lone_leader(5, 2).node)


def test_a_leader_that_commits_an_older_entry_by_counting_is_caught():
    node = lone(5, 2, 5, commit=1).node
    leads = GOOD._replace(role="leader", leader="K2", vote="K2", term=5)
    leads = leads._replace(commit=1, applied=1, durable=3, last_index=3)
    check_node(node, leads, leads._replace(commit=3))
    with pytest.raises(InvariantViolation, match="own term"):
        check_node(node, leads, leads._replace(commit=2))


def test_a_committed_entry_that_differs_between_nodes_is_caught():
    checker = InvariantChecker(sees_all=False)
    checker.step(lone(4, 2, name="K2", commit=2).node)
    with pytest.raises(InvariantViolation, match="never change"):
        checker.step(lone(4, 3, name="K3", commit=2).node)


def command(index, term, data):
    return Entry(index, term, 0, EntryKind.COMMANDS, data)


def test_different_entries_applied_at_one_index_are_caught():
    checker = InvariantChecker(sees_all=False)
    checker.ready(lone(4, 2, name="K2").node, Ready(apply=(command(2, 2, b"a"),)))
    with pytest.raises(InvariantViolation, match="state machine"):
        checker.ready(lone(4, 2, name="K3").node, Ready(apply=(command(2, 2, b"b"),)))


@pytest.mark.parametrize("indices", [(2, 2), (2, 4), (2, 1)])
def test_entries_applied_twice_or_with_a_gap_are_caught(indices):
    checker = InvariantChecker(sees_all=False)
    node = lone(4, 2, 2, 2).node
    with pytest.raises(InvariantViolation, match="in order"):
        checker.ready(node, Ready(apply=tuple(command(i, 2, b"%d" % i) for i in indices)))


def test_an_entry_applied_before_the_disk_has_it_is_caught():
    node = lone(4, 2).node
    with pytest.raises(InvariantViolation, match="durable"):
        InvariantChecker().ready(node, Ready(apply=(command(3, 2, b"a"),)))


def test_logs_that_agree_at_an_entry_but_not_in_it_or_before_it_are_caught():
    def write(*entries):
        return Ready(persist=Persist(1, None, None, entries, 1))

    checker = InvariantChecker(sees_all=False)
    checker.ready(lone(4, 2, 4, name="K2").node, write(command(3, 4, b"4")))
    with pytest.raises(InvariantViolation, match="log matching"):
        checker.ready(lone(4, 2, 4, name="K3").node, write(command(3, 4, b"other")))
    checker = InvariantChecker(sees_all=False)
    checker.ready(lone(4, 2, 4, name="K2").node, write(command(3, 4, b"4")))
    with pytest.raises(InvariantViolation, match="log matching"):
        checker.ready(lone(4, 3, 4, name="K3").node, write(command(3, 4, b"4")))


def test_two_votes_in_one_term_are_caught_across_a_crash():
    checker = InvariantChecker(sees_all=False)
    node = lone(3).node
    checker.sent(node, Outgoing("K1", VoteReply(3, True, 0)))
    checker.restarted(lone(3).node)
    checker.sent(node, Outgoing("K1", VoteReply(3, True, 0)))
    checker.sent(node, Outgoing("K3", VoteReply(3, False, 0)))
    with pytest.raises(InvariantViolation, match="one vote"):
        checker.sent(node, Outgoing("K3", VoteReply(3, True, 0)))


def test_an_acknowledgement_before_the_disk_is_caught():
    checker = InvariantChecker(sees_all=False)
    node = lone(3, 2).node
    checker.sent(node, Outgoing("K1", AppendReply(3, 2)))
    checker.sent(node, Outgoing("K1", AppendReply(3, 9, True)))
    with pytest.raises(InvariantViolation, match="durable"):
        checker.sent(node, Outgoing("K1", AppendReply(3, 3)))


def test_a_round_that_this_leader_did_not_ask_for_is_caught():
    """That of an earlier term, as an example: what it would confirm had not begun."""
    checker = InvariantChecker()
    leader, node = lone_leader(4).node, lone(4).node
    checker.sent(leader, Outgoing("K2", Heartbeat(3, 1, 7, 1)))
    checker.sent(leader, Outgoing("K2", Heartbeat(4, 1, 6, 1)))
    checker.sent(node, Outgoing("K1", HeartbeatReply(4, 6, 0)))
    checker.sent(node, Outgoing("K1", HeartbeatReply(4, 0, 0)))
    with pytest.raises(InvariantViolation, match="a round is confirmed"):
        checker.sent(node, Outgoing("K1", HeartbeatReply(4, 7, 0)))


def test_a_configuration_that_outlives_its_entry_is_caught():
    node = lone(3, 2).node
    assert node.state.configuration_index == 1
    InvariantChecker().ready(node, Ready(persist=Persist(1, None, 2, (), 1)))
    with pytest.raises(InvariantViolation, match="truncated"):
        InvariantChecker().ready(node, Ready(persist=Persist(1, None, 1, (), 0)))


def test_a_configuration_of_a_received_base_outlives_a_truncation_in_the_same_write():
    """Entries from 2 on were replaced, then a snapshot took their place, all before one write."""
    node = lone(3, 2).node
    node.install(Base(4, 3, 0, 3, node.state.configuration), 1)
    assert node.state.configuration_index == 3
    ready = node.take_ready()
    assert ready is not None
    assert ready.persist is not None
    persist = replace(ready.persist, truncate_from=2)
    InvariantChecker(sees_all=False).ready(node, replace(ready, persist=persist))


def test_a_restart_may_forget_what_no_disk_had():
    checker = InvariantChecker(sees_all=False)
    restored = past(3, 2)
    node = lone(restored=restored).node
    checker.step(node)
    node.campaign()
    checker.step(node)
    checker.restarted(lone(restored=restored).node)
    assert restored.hard_state == HardState(3)


# Membership: each planted into the code that should keep it


def joint_cluster():
    """K1 leads {K1, K2, K3} and proposes {K1, K4, K5}."""
    cluster = Cluster(3, learners=("K4", "K5"))
    leader = cluster.elect("K1")
    leader.reconfigure(configuration("K1", "K4", "K5", learners=("K2", "K3")))
    return cluster, leader


@pytest.mark.parametrize("half", ["old", "new"])
def test_a_joint_entry_committed_by_one_half_is_caught(monkeypatch, half):
    cluster, _ = joint_cluster()
    for name in ("K4", "K5") if half == "old" else ("K2", "K3"):
        cluster.disconnect("K1", name)
    monkeypatch.setattr(Joint, "attained", lambda self, numbers: getattr(self, half).attained(numbers))
    with pytest.raises(InvariantViolation, match="commit has its majorities"):
        cluster.settle()


def test_what_follows_a_joint_entry_may_be_counted_by_its_target_in_the_same_step():
    """K2 has the joint entry, K4 and K5 one more; the checker sees the leader when all have answered."""
    cluster, leader = joint_cluster()
    joint = leader.state.log.last_index
    cluster.disconnect("K1", "K3")
    for last in (joint, joint + 1):
        leader.ready()
        leader.finish_write()
        for name in ("K2", "K4", "K5") if last == joint else ("K4", "K5"):
            [append] = [m for a, b, m in cluster.wires if (a, b) == ("K1", name)]
            cluster.deliver("K1", name, append)
            cluster[name].ready()
            cluster[name].finish_write()
        cluster.wires.clear()
        leader.propose()
    for name, index in (("K4", joint + 1), ("K2", joint), ("K5", joint + 1)):
        leader.node.step(name, AppendReply(leader.state.term, index))
    assert leader.state.configuration.target is None
    assert leader.state.commit == joint + 1
    cluster.checker.step(leader.node)


def test_a_leader_elected_by_one_half_is_caught(monkeypatch):
    cluster, leader = joint_cluster()
    cluster.disconnect("K1", "K4")
    cluster.disconnect("K1", "K5")
    cluster.settle()
    leader.crash()
    monkeypatch.setattr(Joint, "tally", lambda self, votes: self.old.tally(votes))
    cluster["K2"].node.leader_lost("K1")
    cluster["K3"].node.leader_lost("K1")
    cluster["K2"].node.campaign()
    cluster.disconnect("K2", "K4")
    cluster.disconnect("K2", "K5")
    with pytest.raises(InvariantViolation, match="leader has its majorities"):
        cluster.settle()


def test_a_learner_that_leads_or_campaigns_is_caught(monkeypatch):
    cluster = Cluster(3, learners=("K4",))
    monkeypatch.setattr(ReplicaState, "electable", property(lambda state: True))
    cluster["K4"].node.campaign()
    with pytest.raises(InvariantViolation, match="only voters"):
        cluster.settle()


def test_a_change_without_a_commit_of_this_term_or_beside_another_is_caught(monkeypatch):
    monkeypatch.setattr(Leader, "_unsettled", lambda leader: "")
    cluster = Cluster(3)
    leader = cluster["K1"]
    leader.node.campaign()
    cluster.deliver_until(lambda: leader.state.role == "leader")
    with pytest.raises(InvariantViolation, match="before this term"):
        leader.reconfigure(configuration("K1", "K2", "K3", learners=("K4",)))
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    leader.reconfigure(configuration("K1", "K2", "K3", learners=("K4",)))
    with pytest.raises(InvariantViolation, match="in flight"):
        leader.reconfigure(configuration("K1", "K2", "K3"))


def test_voters_that_change_at_once_are_caught(monkeypatch):
    monkeypatch.setattr(joint, "towards", lambda current, target: target)
    leader = Cluster(3).elect("K1")
    with pytest.raises(InvariantViolation, match="joint"):
        leader.reconfigure(configuration("K1", "K2", learners=("K3",)))


def test_a_removed_incarnation_that_returns_is_caught():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    members = leader.state.configuration
    leader.reconfigure(configuration("K1", "K2"))  # its author forgot to say who is retired
    cluster.tick(4)
    leader.reconfigure(configuration("K1", "K2", learners=("K3",)))
    with pytest.raises(InvariantViolation, match="never returns"):
        cluster.tick(4)
    assert members.member("K3") is not None


def test_a_commit_that_counts_a_disk_that_is_not_done_is_caught(monkeypatch):
    cluster = Cluster(1)
    leader = cluster["K1"]
    leader.node.campaign()
    cluster.settle()
    leader.auto_disk = False
    leader.propose(b"x")
    leader.ready()
    count = Leader._count

    def early(role):
        durability = role._state.log.durability
        durability.durable, durable = role._state.log.last_index, durability.durable
        count(role)
        durability.durable = durable

    monkeypatch.setattr(Leader, "_count", early)
    leader.node.persisted(0)
    with pytest.raises(InvariantViolation, match="commit has its majorities"):
        cluster.checker.step(leader.node)


def test_a_copy_of_what_was_not_committed_is_caught():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"x")
    cluster.settle()
    wrong = Ready(restored=Base(3, 1, 0, 1, TRIO))
    with pytest.raises(InvariantViolation, match="committed"):
        cluster.checker.ready(cluster["K2"].node, wrong)


def test_a_copy_with_another_configuration_is_caught():
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    leader.reconfigure(configuration("K1", "K2", "K3", learners=("K4",)))
    cluster.tick(4)
    with pytest.raises(InvariantViolation, match="last configuration"):
        cluster.checker.ready(cluster["K2"].node, Ready(restored=Base(3, 2, 0, 1, TRIO)))
    wrong = Base(3, 2, 0, 3, configuration("K1"))
    with pytest.raises(InvariantViolation, match="carries the committed"):
        cluster.checker.ready(cluster["K2"].node, Ready(restored=wrong))
