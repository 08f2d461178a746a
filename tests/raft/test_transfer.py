"""Leadership transfer: success, failure, refusal, and the choice of a successor."""

from dataclasses import replace

import pytest
from msgspec import structs

from kraft.raft.errors import ChangeRefused, NotLeading, TransferRefused
from kraft.raft.messages import (
    Append,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kraft.raft.progress import FollowerStatus
from kraft.raft.transfer import best_successor, dispensable
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, configuration

LEASES = replace(SETTINGS, leases=True)


def test_leadership_goes_over_without_a_tick():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"x")
    leader.node.transfer("K3")
    assert leader.state.transferring == "K3"
    cluster.settle()
    assert cluster.leaders() == ["K3"]
    assert cluster["K3"].state.term == 3
    assert leader.state.transferring == ""
    assert ("transfer", "won") in leader.observer.elections
    assert ("prevote", "won") not in cluster["K3"].observer.elections  # nobody was asked first


def test_the_next_leader_gets_everything_first():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K3")
    for i in range(5):
        leader.propose(b"%d" % i)
        cluster.settle()
    leader.node.transfer("K3")
    cluster.settle()
    assert leader.state.role == "leader"
    cluster.heal()
    cluster.tick(4)
    assert cluster.leaders() == ["K3"]
    cluster.tick(2)
    data = [e.data for e in cluster["K3"].applied if e.kind == EntryKind.COMMANDS]
    assert data == [b"%d" % i for i in range(5)]


def test_nothing_is_proposed_meanwhile_and_the_proposer_hears_where_to_go():
    peer = lone_leader(3, 2)
    peer.node.transfer("K2")
    with pytest.raises(NotLeading, match="K2"):
        peer.node.propose(EntryKind.COMMANDS, 0, b"x")
    peer.node.read(1)  # while it leads its reads are good


def test_time_is_called_again_as_it_may_be_lost_but_only_when_all_is_sent():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    cluster["K2"].up = False
    leader.node.transfer("K2")
    said = []
    for _ in range(4):
        leader.node.step("K2", HeartbeatReply(2, 0, 0))
        leader.node.tick()
        said += [m for to, m in leader.answers() if to == "K2"]
    assert said.count(TimeoutNow(2)) == 3


def test_a_transfer_to_a_dead_node_is_given_up_after_an_election_timeout():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    leader.node.transfer("K3")
    cluster.tick(9)
    assert leader.state.transferring == "K3"
    cluster.tick(1)
    assert leader.state.transferring == ""
    assert (leader.state.role, leader.state.term) == ("leader", 2)
    assert leader.observer.elections[-1] == ("transfer", "timeout")
    leader.propose(b"x")
    cluster.settle()
    assert leader.state.commit == 3


def test_a_transfer_ends_with_the_leadership():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    cluster.tick(5)
    leader.node.transfer("K2")
    cluster.tick(5)
    assert leader.state.role == "follower"
    assert leader.observer.elections[-1] == ("transfer", "lost")
    assert leader.state.transferring == ""


def test_a_full_disk_ends_a_transfer():
    peer = lone_leader(3, 2)
    peer.node.transfer("K2")
    peer.node.suspend()
    assert peer.observer.elections[-1] == ("transfer", "lost")


@pytest.mark.parametrize(("to", "reason"), [("K1", "leads already"), ("K4", "no."), ("K9", "no.")])
def test_who_cannot_have_it(to, reason):
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    with pytest.raises(TransferRefused, match=reason.replace("no.", "not a voter")):
        leader.node.transfer(to)
    with pytest.raises(NotLeading):
        cluster["K2"].node.transfer("K3")


def test_one_transfer_at_a_time():
    peer = lone_leader(3, 2)
    peer.node.transfer("K2")
    peer.node.transfer("K2")
    with pytest.raises(TransferRefused, match="being transferred to K2"):
        peer.node.transfer("K3")


def test_a_change_and_a_transfer_do_not_mix():
    """Who leaves is not to lead, and a transfer is not to be overtaken by a change."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].up = False
    leader.node.transfer("K2")
    with pytest.raises(ChangeRefused, match="being transferred"):
        leader.node.reconfigure(configuration("K1", "K2", learners=("K3",)))

    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.reconfigure(configuration("K1", "K2", learners=("K3",)))
    with pytest.raises(TransferRefused, match="not a voter"):
        leader.node.transfer("K3")
    leader.node.transfer("K2")


def test_a_transfer_in_the_middle_of_a_change_lets_the_next_leader_complete_it():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    target = configuration("K1", "K2", learners=("K3",))
    leader.reconfigure(target)
    leader.node.transfer("K2")
    cluster.tick(4)
    assert cluster.leaders() == ["K2"]
    assert leader.state.configuration == target
    assert cluster["K2"].state.commit == cluster["K2"].state.log.last_index


# The receiver


def test_the_one_asked_campaigns_at_once_and_says_why():
    peer = lone(2, 2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K1", TimeoutNow(2))
    assert (peer.state.role, peer.state.term) == ("candidate", 3)
    assert peer.answers() == [(to, Vote(3, 2, 2, True)) for to in ("K1", "K3")]


def test_one_that_campaigns_already_need_not_ask_first():
    peer = lone(2)
    peer.node.campaign()
    peer.node.step("K1", TimeoutNow(2))
    assert peer.state.role == "candidate"
    peer.node.step("K1", TimeoutNow(2))
    assert peer.state.term == 3


@pytest.mark.parametrize("term", [1, 2])
def test_an_old_call_or_one_of_somebody_who_does_not_lead_means_nothing(term):
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K3", TimeoutNow(term))
    assert peer.state.role == "follower"


def test_voters_listen_to_a_candidate_that_the_leader_asked_for():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answers() == []
    peer.node.step("K3", Vote(3, 1, 1, True))
    assert peer.answers() == [("K3", VoteReply(3, True, 1000))]


def test_one_with_a_full_disk_is_not_moved():
    peer = lone(2)
    peer.node.suspend()
    peer.node.step("K1", TimeoutNow(2))
    assert (peer.state.role, peer.state.term) == ("follower", 2)
    peer.node.step("K3", Vote(3, 1, 1, True))
    assert peer.answers() == []


def test_one_asked_with_a_configuration_not_applied_yet_uses_it_all_the_same():
    """What it has of the log decides, not what it has applied: it wins with the voters that count now."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    target = configuration("K1", "K2", learners=("K3",))
    leader.reconfigure(target)
    cluster.settle()
    follower = cluster["K2"]
    assert follower.state.applied < follower.state.configuration_index == leader.state.commit
    leader.node.transfer("K2")
    cluster.settle()
    assert cluster.leaders() == ["K2"]
    assert follower.state.configuration == target


# Draining


def test_a_draining_node_does_not_campaign_until_it_is_over():
    peer = lone(2)
    peer.node.campaign()
    peer.node.drain(True)
    assert (peer.state.role, peer.state.draining) == ("follower", True)
    peer.node.campaign()
    peer.node.step("K1", TimeoutNow(2))
    for _ in range(50):
        peer.node.tick()
    assert (peer.state.role, peer.state.term) == ("follower", 2)
    peer.node.drain(False)
    peer.node.tick()
    assert peer.state.role == "precandidate"


def test_a_draining_node_votes_and_a_draining_leader_leads():
    peer = lone(2)
    peer.node.drain(True)
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answers() == [("K3", VoteReply(3, True, 1000))]
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.drain(True)
    cluster.tick(40)
    assert leader.state.role == "leader"
    leader.node.transfer("K2")
    cluster.settle()
    assert cluster.leaders() == ["K2"]


def test_a_transfer_to_a_draining_node_is_declined():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K2"].node.drain(True)
    leader.node.transfer("K2")
    cluster.tick(12)
    assert cluster.leaders() == ["K1"]
    assert leader.observer.elections[-1] == ("transfer", "timeout")


# Leases


def test_with_leases_a_node_elects_nobody_in_its_first_election_timeout():
    """Before it stopped it may have heard a leader that still relies on that (RD 6.4.1)."""
    peer = lone(2, settings=LEASES)
    for _ in range(9):
        peer.node.tick()
        peer.node.campaign()
        peer.node.step("K3", PreVote(3, 1, 1))
        peer.node.step("K3", Vote(3, 1, 1))
    assert (peer.answers(), peer.state.role, peer.state.term) == ([], "follower", 2)
    peer.node.tick()
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answers() == [("K3", VoteReply(3, True, 1000))]


def test_without_leases_it_may_at_once():
    peer = lone(2)
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answers() == [("K3", VoteReply(3, True, 1000))]


def test_with_leases_a_closed_link_says_nothing_of_the_leader():
    peer = lone(2, settings=LEASES)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.leader_lost("K1")
    assert peer.state.leader == "K1"
    peer.node.campaign()
    assert peer.state.role == "follower"


def test_with_leases_the_promise_outlives_a_change_of_term():
    """A stray answer with a newer term makes a follower forget whom it follows, but not what it promised."""
    peer = lone(2, settings=LEASES)
    for _ in range(20):
        peer.node.tick()
    peer.node.step("K1", Append(2, 1, 1, 1, ()))
    peer.answers()
    peer.node.step("K3", HeartbeatReply(7, 0, 0))
    assert (peer.state.term, peer.state.leader) == (7, "")
    peer.node.step("K3", Vote(8, 1, 1))
    assert peer.answers() == []
    for _ in range(10):
        peer.node.tick()
    peer.node.step("K3", Vote(8, 1, 1))
    assert peer.answers() == [("K3", VoteReply(8, True, 1000))]


def test_with_leases_a_transfer_is_still_heard():
    cluster = Cluster(3, settings=LEASES)
    cluster.tick(14)
    (name,) = cluster.leaders()
    to = next(n for n in cluster.peers if n != name)
    cluster[name].node.transfer(to)
    cluster.settle()
    assert cluster.leaders() == [to]


def follower(id_, match, silent=0, state="replicate"):
    return FollowerStatus(id_, match, match + 1, state, 0, silent)


def test_the_successor_is_the_reachable_voter_with_most_of_the_log():
    followers = [
        follower("K2", 90),
        follower("K3", 100, silent=200),
        follower("K4", 99, state="probe"),
        follower("K5", 95),
        follower("K6", 100),
    ]
    state = lone_leader(3, 2).node.state
    state.configuration = configuration("K1", "K2", "K3", "K4", "K5")
    assert best_successor(state, followers) == "K5"
    state.configuration = configuration("K1", "K2", "K3", "K4")
    assert best_successor(state, followers) == "K2"
    state.configuration = configuration("K1", "K3", "K4")
    assert best_successor(state, followers) == ""


def test_the_successor_has_answered_a_recent_heartbeat():
    state = lone_leader(3, 2).node.state
    followers = [follower("K2", 1), follower("K3", 2)]
    assert best_successor(state, followers) == "K3"
    followers = [follower("K2", 1), follower("K3", 2, silent=6)]  # more than two heartbeats and a half
    assert best_successor(state, followers) == "K2"
    assert best_successor(state, []) == ""


def test_a_leader_is_dispensable_to_a_majority_that_is_fit():
    """Without one an election would wait for voters that are slow, or away."""
    leader = Cluster(5).elect("K1").state
    fit = FollowerStatus("", match=5, next=6, state="replicate", inflight=0, silent_ticks=0)
    four = [structs.replace(fit, peer=f"K{n}") for n in range(2, 6)]
    assert dispensable(leader, four)
    assert dispensable(leader, [structs.replace(four[0], slow=True), *four[1:]])
    assert not dispensable(
        leader, [structs.replace(four[0], slow=True), structs.replace(four[1], silent_ticks=9), *four[2:]]
    )
    assert not dispensable(
        leader,
        [structs.replace(four[0], state="probe"), structs.replace(four[1], state="snapshot"), *four[2:]],
    )
    pair = Cluster(2).elect("K1").state
    assert not dispensable(pair, [structs.replace(fit, peer="K2")])


def test_a_slow_node_says_so_and_campaigns_after_the_others():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K2"].node.mark_slow(True)
    cluster.tick(SETTINGS.heartbeat_ticks)
    assert [(f.declines, f.slow) for f in leader.node.progress()] == [(False, True), (False, False)]
    cluster.isolate("K1")
    cluster.tick(2 * SETTINGS.election_ticks + 2, "K2", "K3")
    assert cluster.leaders() == ["K1", "K3"]  # K1 does not know yet


def test_a_slow_node_campaigns_where_nobody_else_does():
    """It does not campaign early, when the leader's process has closed its links."""
    cluster = Cluster(3)
    cluster.elect("K1")
    slow = cluster["K2"]
    slow.node.mark_slow(True)
    cluster["K3"].node.drain(True)
    cluster.isolate("K1")
    slow.node.leader_lost("K1")
    slow.node.campaign()
    assert slow.state.role == "follower"
    cluster.tick(4 * SETTINGS.election_ticks + 2, "K2", "K3")
    assert slow.state.leads


def test_a_slow_successor_is_better_than_none():
    """For a leader that stops; one that is slow itself stays: see `dispensable`."""
    state = lone_leader(3, 2).node.state
    slow, fast = structs.replace(follower("K2", 9), slow=True), follower("K3", 8)
    assert best_successor(state, [slow, fast]) == "K3"
    assert best_successor(state, [slow, structs.replace(fast, declines=True)]) == "K2"


def test_a_slow_node_takes_leadership_on_request():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K2"].node.mark_slow(True)
    leader.node.transfer("K2")
    cluster.settle()
    assert cluster.leaders() == ["K2"]
