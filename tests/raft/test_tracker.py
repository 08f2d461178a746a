"""The followers of a leader: learners, new voters, and members that were removed."""

from dataclasses import replace

import msgspec
import pytest

from kraft.raft.membership.configuration import Joining
from kraft.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from tests.raft.builder import lone
from tests.raft.membership import change, entry_of, retiring, to_voters
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, TRIO, bootstrap, commands, configuration, past

# Learners


def test_a_new_learner_is_fed_from_the_moment_its_entry_is_appended():
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    leader.propose(b"old")
    cluster.settle()
    leader.reconfigure(to_voters(cluster, "K1", "K2", "K3", learners=("K4",)))
    ready = leader.ready()
    assert ready is not None
    assert [o.to for o in ready.send_now] == ["K2", "K3", "K4"]
    assert leader.node.progress()[2].next == 4  # a probe with the entry that brought it
    cluster.tick(2)
    assert cluster["K4"].applied == leader.applied
    assert cluster["K4"].state.role == "learner"


def test_a_learner_counts_for_nothing_and_never_campaigns():
    cluster = Cluster(3, learners=("K4", "K5"))
    leader = cluster.elect("K1")
    for name in ("K2", "K3"):
        cluster[name].crash()
    leader.propose(b"x")
    leader.node.read(1)
    cluster.settle()
    assert leader.state.commit == 2
    assert leader.reads == []
    cluster.tick(60)
    assert cluster.leaders() == []  # learners answered, and that is no quorum
    assert cluster["K4"].state.role == cluster["K5"].state.role == "learner"
    cluster["K4"].node.step("K1", TimeoutNow(cluster["K4"].state.term))
    assert cluster["K4"].state.role == "learner"


def test_the_vote_of_a_learner_is_given_and_not_counted():
    """It may have become a voter by an entry it has not got yet; the candidate knows better."""
    learner = lone(name="K3", restored=bootstrap(configuration("K1", "K2", learners=("K3",))))
    learner.node.step("K1", Vote(2, 1, 1))
    assert learner.answer() == VoteReply(2, True, 1000)
    candidate = lone(name="K1", restored=bootstrap(configuration("K1", "K2", learners=("K3",))))
    candidate.node.campaign()
    candidate.node.step("K3", PreVoteReply(2, True))
    assert candidate.state.role == "precandidate"
    candidate.node.step("K2", PreVoteReply(2, True))
    candidate.answers()
    candidate.node.step("K3", VoteReply(2, True, 0))
    assert candidate.state.role == "candidate"


def test_observers_hear_of_a_promotion():
    cluster = Cluster(1, learners=("K2",))
    cluster.elect("K1")
    assert cluster["K2"].observer.roles[-1][0] == "learner"
    change(cluster, to_voters(cluster, "K1", "K2"))
    assert cluster["K2"].observer.roles[-1][0] == "follower"


def test_a_new_voter_has_time_to_answer_before_its_silence_counts():
    cluster = Cluster(1, learners=("K2",))
    leader = cluster.elect("K1")
    leader.propose(b"x")
    cluster.tick(2)
    cluster["K2"].crash()
    cluster.tick(30)
    leader.reconfigure(to_voters(cluster, "K1", "K2"))
    cluster.tick(9)
    assert leader.state.role == "leader"
    cluster.tick(1)
    assert leader.state.role == "follower"


def test_progress_of_an_id_begins_anew_with_another_incarnation():
    """K2 lost its disk: what the old incarnation held is not what the new one holds."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    old = cluster["K2"].incarnation
    cluster["K2"].wipe("f" * 32)
    target = retiring(to_voters(cluster, "K1", "K3", learners=("K2",)), old)
    leader.reconfigure(target)
    assert leader.state.is_current_incarnation("K2", old)  # until the target is in force
    assert leader.node.progress()[0].match == 2
    while leader.state.configuration.joint:
        for name in ("K1", "K3"):
            cluster[name].ready()
            while cluster[name].writes:
                cluster[name].finish_write()
        cluster.deliver(*cluster.wires.popleft())
    fresh = leader.node.progress()[0]
    assert (fresh.peer, fresh.match, fresh.state) == ("K2", 0, "probe")
    cluster.tick(4)
    assert cluster["K2"].applied == leader.applied
    change(cluster, retiring(to_voters(cluster, "K1", "K2", "K3"), old))
    assert cluster["K2"].state.role == "follower"


def test_what_waits_for_a_member_is_not_sent_to_the_next_one_of_its_id():
    """A heartbeat tells what the old incarnation holds, and the log of the new one is empty."""
    cluster = Cluster(2, learners=("K3",))
    leader = cluster.elect("K1")
    leader.propose(b"x")
    cluster.settle()
    for _ in range(SETTINGS.heartbeat_ticks):
        leader.node.tick()
    old = cluster["K3"].incarnation
    cluster["K3"].wipe("f" * 32)
    leader.reconfigure(retiring(to_voters(cluster, "K1", "K2", learners=("K3",)), old))
    ready = leader.ready()
    assert ready is not None
    assert [o.to for o in ready.send_now if isinstance(o.message, Heartbeat)] == ["K2"]
    cluster.settle()
    assert cluster["K3"].applied == leader.applied


# Leaving


def test_a_removed_follower_hears_of_it_and_falls_silent():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    change(cluster, retiring(to_voters(cluster, "K1", "K2"), cluster["K3"].incarnation))
    gone = cluster["K3"].node.state
    assert gone.commit == leader.state.commit == 4
    assert [p.peer for p in leader.node.progress()] == ["K2"]
    cluster.tick(60)
    assert (gone.role, gone.term, leader.state.role) == ("follower", 2, "leader")


def test_a_removed_follower_that_is_away_is_fed_for_ten_election_timeouts():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    leader.reconfigure(retiring(to_voters(cluster, "K1", "K2"), cluster["K3"].incarnation))
    cluster.tick(90)
    assert [p.peer for p in leader.node.progress()] == ["K2", "K3"]
    cluster.tick(12)
    assert [p.peer for p in leader.node.progress()] == ["K2"]


def test_a_removed_follower_that_comes_back_in_time_is_told():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    leader.reconfigure(retiring(to_voters(cluster, "K1", "K2"), cluster["K3"].incarnation))
    cluster.tick(50)
    cluster["K3"].restart()
    cluster.tick(6)
    assert cluster["K3"].state.commit == leader.state.commit
    assert [p.peer for p in leader.node.progress()] == ["K2"]


def test_a_removed_node_that_never_heard_of_it_disturbs_nobody():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.isolate("K3")
    leader.reconfigure(retiring(to_voters(cluster, "K1", "K2"), cluster["K3"].incarnation))
    cluster.tick(150)
    cluster.heal()
    cluster.tick(100)
    assert (leader.state.role, leader.state.term) == ("leader", 2)
    assert cluster["K3"].state.term == 2


def test_a_new_leader_tells_those_whom_an_uncommitted_change_removes():
    joint = msgspec.structs.replace(TRIO, target=configuration("K1", "K2"))
    log = past(2)
    target = retiring(configuration("K1", "K2"), "k3" * 16)
    tail = (*log.tail[:1], entry_of(joint, 2, 2), entry_of(target, 3, 2))
    configurations = ((1, TRIO), (2, joint), (3, target))
    log = replace(log, last_index=3, terms=((1, 1), (2, 2)), tail=tail, configurations=configurations)
    peer = lone(name="K1", restored=log)
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.answers()
    peer.node.step("K2", VoteReply(3, True, 0))
    assert [to for to, _ in peer.answers()] == ["K2", "K3"]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_removed_leader_leads_until_that_is_committed_and_hands_over(size):
    cluster = Cluster(size)
    leader = cluster.elect("K1")
    rest = tuple(n for n in cluster.peers if n != "K1")
    leader.reconfigure(retiring(to_voters(cluster, *rest), leader.incarnation))
    cluster.settle()
    assert leader.state.role == "follower"
    assert leader.state.commit == 4
    (elected,) = cluster.leaders()  # without a tick: it was told that the time had come
    assert elected in rest
    cluster[elected].propose(b"x")
    cluster.settle()
    assert cluster[elected].state.commit == 6
    cluster.tick(60)
    assert leader.state.term <= cluster[elected].state.term
    assert cluster.leaders() == [elected]


def test_a_removed_leader_does_not_step_down_before_its_removal_is_committed():
    """Nor does it count itself: with the joint configuration committed, K2 and K3 must both have the last."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.reconfigure(retiring(to_voters(cluster, "K2", "K3"), leader.incarnation))
    leader.ready()
    leader.finish_write()
    for name in ("K2", "K3"):
        cluster.deliver(*cluster.wires.popleft())
        cluster[name].ready()
        cluster[name].finish_write()
    while cluster.wires:
        cluster.deliver(*cluster.wires.popleft())
    assert leader.state.configuration == retiring(to_voters(cluster, "K2", "K3"), leader.incarnation)
    leader.ready()
    while leader.writes:
        leader.finish_write()
    last = leader.state.log.last_index
    assert leader.state.commit == last - 1
    leader.node.step("K2", AppendReply(2, last))
    assert (leader.state.role, leader.state.commit) == ("leader", last - 1)
    cluster.checker.sees_all = False
    leader.node.step("K3", AppendReply(2, last))
    assert (leader.state.role, leader.state.commit) == ("follower", last)
    said = [m for _, m in leader.answers() if isinstance(m, Heartbeat | TimeoutNow)]
    assert said[:2] == [Heartbeat(2, last, 0, last), Heartbeat(2, last, 0, last)]
    assert said[2:] == [TimeoutNow(2)]


def test_a_demoted_leader_hands_over_and_stays_as_a_learner():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.reconfigure(to_voters(cluster, "K2", "K3", learners=("K1",)))
    cluster.tick(4)
    (elected,) = cluster.leaders()
    assert elected != "K1"
    assert leader.state.role == "learner"
    assert leader.applied == cluster[elected].applied


def test_the_follower_of_two_can_be_removed_and_the_leader_goes_on_alone():
    cluster = Cluster(2)
    leader = cluster.elect("K1")
    change(cluster, retiring(to_voters(cluster, "K1"), cluster["K2"].incarnation))
    cluster["K2"].crash()
    leader.propose(b"alone")
    cluster.tick(50)
    assert leader.state.role == "leader"
    assert leader.state.commit == leader.state.log.last_index
    leader.crash()
    leader.restart()
    cluster.tick(30)
    assert leader.state.role == "leader"


def test_votes_of_strangers_are_answered():
    """Whoever asks may be a member by an entry that is not here yet (RD 4.2.2)."""
    peer = lone(2, name="K1")
    peer.node.step("K9", PreVote(3, 9, 2))
    assert peer.answer() == PreVoteReply(3, True)
    peer.node.step("K9", Vote(3, 9, 2))
    assert peer.answer() == VoteReply(3, True, 1000)


def test_a_follower_learns_of_a_change_from_entries_alone():
    peer = lone(2, name="K3")
    joining = msgspec.structs.replace(
        configuration("K1", "K2", "K3", learners=("K4",)), joining=(Joining("K4", "K3"),)
    )
    peer.node.step("K1", Append(2, 1, 1, 1, (entry_of(joining, 2, 2), *commands(3, 2))))
    assert (peer.state.configuration, peer.state.configuration_index) == (joining, 2)
    peer.node.step("K1", Append(3, 1, 1, 1, commands(2, 3)))
    assert (peer.state.configuration, peer.state.configuration_index) == (TRIO, 1)


def test_settings_of_the_tests_are_what_the_tests_count_on():
    assert (SETTINGS.election_ticks, SETTINGS.heartbeat_ticks) == (10, 2)
