"""The rules that the thesis adds to the paper: RD 3.10, 4.1 to 4.3, 6.2 to 6.4, 9.6 and 10.2.1."""

from dataclasses import replace

import pytest

from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership import changes
from kraft.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, commands, configuration

LEASES = replace(SETTINGS, leases=True)


# 3.10: leadership transfer


def test_a_leader_that_hands_over_takes_no_proposals():
    """3.10, step 1; who asks is told to whom it goes."""
    leader = Cluster(3).elect("K1")
    leader.node.transfer("K2")
    with pytest.raises(NotLeading, match="K2"):
        leader.propose()


def test_the_next_leader_is_brought_up_to_date_first():
    """3.10, step 2: the request waits until the target's log is like the leader's."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.step("K2", AppendReply(2, 2))
    index, _ = peer.propose()
    peer.answers()
    peer.node.transfer("K2")
    assert peer.answers() == []
    peer.node.step("K2", AppendReply(2, index))
    assert ("K2", TimeoutNow(2)) in peer.answers()


def test_whoever_is_told_to_campaigns_at_once():
    """3.10, step 3: as if its election timeout had passed, and without asking first (9.6)."""
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K1", TimeoutNow(2))
    assert peer.answers() == [("K1", Vote(3, 1, 1, True)), ("K3", Vote(3, 1, 1, True))]


def test_a_vote_that_the_leader_asked_for_is_given_though_it_is_heard():
    """4.2.3: the one exception from ignoring votes while there is a leader."""
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K3", Vote(3, 1, 1, True))
    assert peer.answer() == VoteReply(3, True, 1000)


def test_a_transfer_that_takes_an_election_timeout_is_given_up():
    """3.10: the leader then takes proposals again."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    leader.node.transfer("K3")
    cluster.tick(10)
    assert (leader.state.role, leader.state.transferring) == ("leader", "")
    leader.propose()


# 4.1 and 4.3: changes of the configuration


def test_a_change_waits_for_the_one_before_it():
    """4.1: the next one may begin when the last one is committed."""
    leader = Cluster(3, learners=("K4",)).elect("K1")
    leader.reconfigure(changes.promoted(leader.state.configuration, "K4"))
    with pytest.raises(ChangeRefused, match="another change"):
        leader.node.reconfigure(configuration("K1", "K2", "K3"))


def test_no_change_before_this_term_has_committed_an_entry():
    """4.1 with its erratum: else two changes of two leaders could have majorities that do not overlap."""
    peer = lone_leader(2)
    with pytest.raises(ChangeRefused, match="term"):
        peer.node.reconfigure(changes.removed(peer.state.configuration, "K3"))
    peer.answers()
    peer.node.step("K2", AppendReply(2, 2))
    peer.node.reconfigure(changes.removed(peer.state.configuration, "K3"))


def test_a_configuration_that_was_never_committed_goes_with_its_entry():
    """4.1: a server must be able to fall back to the one before it in the log."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    before = leader.state.configuration
    cluster.isolate("K1")
    leader.reconfigure(changes.removed(before, "K3"))
    cluster.settle()
    assert leader.state.configuration.joint
    cluster.tick(40)
    cluster.heal()
    cluster.tick(10)
    assert leader.state.configuration == before


def test_a_node_answers_those_whom_it_does_not_know():
    """4.2.2: votes for, and entries from, nodes outside its own configuration, which may be old."""
    peer = lone(2)
    peer.node.step("K9", Vote(3, 1, 1))
    assert peer.answers() == [("K9", VoteReply(3, True, 1000))]
    peer.node.step("K9", Append(3, 1, 1, 1, commands(2, 3)))
    assert peer.answers() == [("K9", AppendReply(3, 2))]


def test_a_learner_never_campaigns():
    """4.2.1: it is sent everything, and not yet counted for votes or commitment."""
    cluster = Cluster(1, learners=("K2",))
    cluster["K1"].crash()
    cluster.tick(60)
    assert (cluster["K2"].state.role, cluster["K2"].state.term) == ("learner", 1)


def test_a_leader_outside_the_new_configuration_does_not_count_itself():
    """4.2.2: it replicates the entry, and only others decide."""
    cluster = Cluster(4)
    leader = cluster.elect("K1")
    leader.reconfigure(changes.removed(leader.state.configuration, "K1"))
    for to, message in leader.answers():
        cluster[to].node.step("K1", message)
        for _, reply in cluster[to].answers():
            leader.node.step(to, reply)
    assert leader.state.configuration.voters == ("K2", "K3", "K4")
    cluster.isolate("K3")
    cluster.isolate("K4")
    cluster.settle()
    assert (
        leader.state.log.durability.durable
        == cluster["K2"].state.log.durability.durable
        == leader.state.log.last_index
    )
    assert (leader.state.role, leader.state.commit) == (
        "leader",
        leader.state.log.last_index - 1,
    )


def test_a_joint_configuration_is_left_by_the_next_leader():
    """4.3: a leader that finds one goes on from there."""
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    target = changes.promoted(leader.state.configuration, "K4")
    cluster.tick(2)
    leader.reconfigure(target)
    leader.ready()
    for _, to, message in list(cluster.wires):
        cluster[to].node.step("K1", message)
    leader.crash()
    cluster.settle()
    cluster.tick(60)
    (name,) = cluster.leaders()
    assert cluster[name].state.configuration == target


# 6.2 to 6.4: clients


def test_a_leader_steps_down_when_no_majority_answers_for_an_election_timeout():
    """6.2: so that its clients look for another one."""
    peer = lone_leader(2)
    for _ in range(9):
        peer.node.tick()
    peer.node.step("K2", HeartbeatReply(2, 0, 0))
    for _ in range(9):
        peer.node.tick()
    assert peer.state.role == "leader"
    peer.node.tick()
    assert peer.state.role == "follower"


def test_a_read_gets_the_commit_index_of_its_beginning():
    """6.4, step 2: what is committed later it need not see."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.read(7)
    leader.propose()
    cluster.settle()
    assert leader.reads == [(7, 2)]
    assert leader.state.commit == 3


def test_one_round_confirms_all_reads_before_it():
    """6.4: the cost of a round is shared by the reads that wait."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.step("K2", AppendReply(2, 2))
    for ctx in (7, 8, 9):
        peer.node.read(ctx)
    peer.answers()
    peer.node.step("K3", HeartbeatReply(2, 2, 0))
    peer.answers()
    assert peer.reads == [(7, 2), (8, 2)]


def test_with_leases_nobody_votes_within_an_election_timeout_of_hearing_a_leader():
    """6.4.1: also not after a restart, when whom it heard is forgotten."""
    peer = lone(2, settings=LEASES)
    for _ in range(9):
        peer.node.tick()
    peer.node.step("K3", PreVote(3, 1, 1))
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answers() == []
    peer.node.tick()
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, True, 1000)


# 9.6: prevote


def test_a_prevote_is_granted_to_a_good_log_when_no_leader_is_heard():
    """9.6: the two conditions; nothing is promised, so it may be granted to many."""
    peer = lone(2)
    for candidate in ("K1", "K3"):
        peer.node.step(candidate, PreVote(3, 1, 1))
        assert peer.answer() == PreVoteReply(3, True)
    assert (peer.state.term, peer.state.vote) == (2, "")


def test_the_term_rises_only_after_a_majority_of_prevotes():
    """9.6: a node that cannot win leaves the term as it is."""
    peer = lone(2)
    for _ in range(60):
        peer.node.tick()
    assert (peer.state.role, peer.state.term) == ("precandidate", 2)


def test_a_prevote_is_not_answered_while_a_leader_is_heard():
    """9.6 with 4.2.3."""
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K3", PreVote(3, 1, 1))
    assert peer.answers() == []


# 10.2.1: the leader's disk beside the network


def test_a_leader_sends_entries_before_its_own_disk_has_them():
    """10.2.1: its write runs at the same time."""
    peer = lone_leader(2)
    peer.ready()
    assert [type(m) for _, _, m in peer.cluster.wires] == [Append, Append]
    assert len(peer.writes) == 1


def test_a_leader_counts_itself_only_when_its_disk_is_done():
    """10.2.1: and may commit without itself when a majority of the others is faster."""
    peer = lone_leader(2)
    peer.ready()
    peer.node.step("K2", AppendReply(2, 2))
    assert peer.state.commit == 1
    peer.node.step("K3", AppendReply(2, 2))
    assert peer.state.commit == 2
    peer.ready()
    assert peer.applied == peer.disk.entries  # of which the new one is not one yet
    peer.answers()
    assert [e.index for e in peer.applied] == [1, 2]
