"""Elections: which nodes may win, which must not disturb, and that one always wins in the end."""

from dataclasses import replace

import pytest

from kraft.raft.follower import PARTS_TIMEOUTS
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import (
    Append,
    AppendReply,
    HardState,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from kraft.raft.ports import Restored
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, bootstrap, configuration, past


def test_votes_are_ignored_with_their_terms_while_a_leader_is_heard():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    for _ in range(9):
        peer.node.tick()
    peer.node.step("K3", Vote(9, 9, 8))
    peer.node.step("K3", PreVote(9, 9, 8))
    assert peer.answers() == []
    assert peer.state.term == 2


def test_a_leader_ignores_votes_while_it_leads():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.step("K3", Vote(9, 99, 8))
    assert (leader.state.role, leader.state.term) == ("leader", 2)


def test_a_leader_whose_process_left_is_not_heard_any_more():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    peer.node.leader_lost("K3")
    assert peer.state.leader == "K1"
    peer.node.leader_lost("K1")
    assert peer.state.leader == ""
    peer.node.step("K3", PreVote(3, 1, 1))
    assert peer.answer() == PreVoteReply(3, True)
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, True, 1000)


def test_after_the_leaders_process_left_a_campaign_wins_without_waiting():
    cluster = Cluster(3)
    cluster.elect("K1").crash()
    for name in ("K2", "K3"):
        cluster[name].node.leader_lost("K1")
    cluster["K3"].node.campaign()
    cluster.settle()
    assert cluster.leaders() == ["K3"]


def test_a_campaign_asks_first_and_changes_no_term():
    peer = lone(2, name="K1")
    for _ in range(5):
        peer.node.campaign()
    assert (peer.state.role, peer.state.term, peer.state.vote) == ("precandidate", 2, "")
    assert peer.ready() is not None
    assert not peer.writes


def test_a_prevote_for_the_present_term_is_granted_only_where_the_vote_could_be():
    peer = lone(3, vote="K1")
    peer.node.step("K3", PreVote(3, 1, 1))
    assert peer.answer() == PreVoteReply(3, False)
    peer.node.step("K1", PreVote(3, 1, 1))
    assert peer.answer() == PreVoteReply(3, True)
    peer.node.step("K1", PreVote(2, 1, 1))
    assert peer.answer() == PreVoteReply(3, False)


def test_a_refused_prevote_with_a_newer_term_is_adopted():
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(6, False))
    assert (peer.state.role, peer.state.term) == ("follower", 6)


def test_a_refused_prevote_of_an_older_term_counts():
    peer = lone(5, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(2, False))
    peer.node.step("K3", PreVoteReply(4, False))
    assert (peer.state.role, peer.state.term) == ("follower", 5)
    assert peer.observer.elections == [("prevote", "lost")]


def test_a_granted_prevote_of_another_campaign_does_not_count():
    peer = lone(5, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(5, True))
    assert peer.state.role == "precandidate"


@pytest.mark.parametrize("message", [Append(2, 1, 1, 1, ()), Heartbeat(2, 1, 0)])
def test_a_precandidate_that_hears_the_leader_of_its_term_follows_it(message):
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K3", message)
    assert (peer.state.role, peer.state.leader) == ("follower", "K3")


def test_a_precandidate_that_votes_for_another_gives_up():
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K3", Vote(2, 1, 1))
    assert (peer.state.role, peer.state.vote) == ("follower", "K3")


def test_the_clocks_of_the_voters_are_kept_with_the_leaders_own():
    cluster = Cluster(3)
    for i, peer in enumerate(cluster.peers.values()):
        peer.wall = 1000 * (i + 1)
    cluster["K3"].up = False
    leader = cluster.elect("K1")
    assert leader.state.vote_clocks == {"K1": 1000, "K2": 2000}


def test_clocks_go_on_while_the_last_vote_is_waited_for():
    cluster = Cluster(5)
    for i, peer in enumerate(cluster.peers.values()):
        peer.wall = 1000 * (i + 1)
    for late in ("K3", "K4", "K5"):
        cluster[late].auto_disk = False
    candidate = cluster["K1"]
    candidate.node.campaign()
    cluster.settle()
    candidate.wall += 30_000
    cluster["K3"].finish_write()
    cluster.settle()
    assert candidate.state.vote_clocks == {"K1": 31_000, "K2": 32_000, "K3": 3000}


def test_a_group_without_a_configuration_sits_still():
    peer = lone(restored=Restored(HardState(), 0, 0, (), (), (), 0))
    for _ in range(50):
        peer.node.tick()
    peer.node.campaign()
    peer.node.step("K1", Vote(3, 1, 1))
    peer.node.step("K1", PreVote(3, 1, 1))
    assert (peer.state.role, peer.state.term) == ("follower", 0)
    assert peer.state.configuration == Configuration((), ())
    assert peer.answers() == []


def test_a_learner_never_campaigns_and_its_vote_does_not_count():
    cluster = Cluster(1, learners=("K9",))
    cluster["K9"].node.campaign()
    assert cluster["K9"].state.role == "learner"
    leader = cluster.elect("K1")
    leader.propose(b"x")
    cluster.tick(4)
    assert cluster["K9"].applied == leader.applied
    cluster["K9"].up = False
    cluster.tick(30)
    assert leader.state.role == "leader"


def test_a_leader_that_hears_no_quorum_steps_down_within_an_election_timeout():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"kept")
    cluster.isolate("K1")
    cluster.tick(9)
    assert leader.state.role == "leader"
    cluster.tick(1)
    assert leader.state.role == "follower"
    assert leader.state.leader == ""
    assert leader.state.log.last_index == 3


def test_a_leader_with_a_quorum_left_stays():
    cluster = Cluster(5)
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K4")
    cluster.disconnect("K1", "K5")
    cluster.tick(60)
    assert leader.state.role == "leader"
    assert leader.state.term == 2


def test_a_node_that_lost_only_its_link_to_the_leader_disturbs_nobody():
    """One bad link must not stop a cluster: the others hear the leader and do not answer."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K3")
    cluster.tick(100)
    assert (leader.state.role, leader.state.term) == ("leader", 2)
    leader.propose(b"x")
    cluster.settle()
    assert leader.state.commit == leader.state.log.last_index
    cluster.heal()
    cluster.tick(8)
    assert (cluster["K3"].state.leader, cluster["K3"].state.term) == ("K1", 2)
    assert cluster["K3"].applied == leader.applied


@pytest.mark.parametrize("heard", [True, False])
def test_a_leader_with_one_way_links_makes_room(heard):
    """`heard`: the others hear it but it does not hear them; or the reverse."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for other in ("K2", "K3"):
        if heard:
            cluster.disconnect(other, "K1", one_way=True)
        else:
            cluster.disconnect("K1", other, one_way=True)
    cluster.tick(45)
    others = [name for name in cluster.leaders() if name != "K1"]
    assert len(others) == 1
    assert leader.state.role != "leader"
    cluster[others[0]].propose(b"x")
    cluster.settle()
    assert cluster[others[0]].state.commit == cluster[others[0]].state.log.last_index


def test_a_node_that_sees_everybody_is_found_when_all_other_links_are_down():
    """A star: only K3 reaches all."""
    cluster = Cluster(5)
    cluster.elect("K1")
    for a in ("K1", "K2", "K4", "K5"):
        for b in ("K1", "K2", "K4", "K5"):
            if a < b:
                cluster.disconnect(a, b)
    for peer in cluster.peers.values():
        peer.jitter = int(peer.name[1:]) * 2
    cluster.tick(120)
    (leader,) = cluster.leaders()
    assert leader == "K3"
    cluster["K3"].propose(b"x")
    cluster.tick(4)
    assert all(p.state.commit == cluster["K3"].state.log.last_index for p in cluster.peers.values())


def test_a_node_with_a_newer_term_that_comes_back_rejoins_in_the_end():
    """Its answer to the leader carries the newer term; otherwise it would be out for ever."""
    cluster = Cluster(3, restored={"K3": past(9)})
    cluster["K3"].up = False
    cluster.elect("K1")
    cluster["K3"].up = True
    cluster.tick(60)
    (leader,) = cluster.leaders()
    assert all(p.state.leader == leader for p in cluster.peers.values())
    assert cluster[leader].state.term >= 10


def test_a_stale_leader_is_told_by_the_answer_to_its_heartbeat():
    """Not which round it answers: leading once more, that node would take it for one of the new term."""
    peer = lone(5)
    peer.node.step("K1", Heartbeat(3, 1, 4))
    assert peer.answer() == HeartbeatReply(5, 0, 1000)


def test_a_split_vote_is_followed_by_a_decision():
    cluster = Cluster(4)
    for peer in cluster.peers.values():
        peer.jitter = 0
    cluster.tick(1)
    for peer in cluster.peers.values():
        peer.jitter = int(peer.name[1:]) * 2
    cluster.tick(60)
    assert len(cluster.leaders()) == 1


def test_a_learner_forgets_a_leader_that_fell_silent():
    """It cannot campaign, but it should not tell for ever that there is a leader."""
    members = configuration("K1", "K2", "K3")
    learner = Configuration(members.members, ("K1", "K3"), ("K2",))
    peer = lone(restored=past(2, base=bootstrap(learner)))
    peer.node.step("K1", Heartbeat(2, 1, 0))
    assert peer.answers()
    for _ in range(40):
        peer.node.tick()
    assert (peer.state.role, peer.state.leader, peer.state.term) == ("learner", "", 2)
    assert peer.answers() == []


# -- votes that take long to be on disk


def waits(peer, ticks):
    for _ in range(ticks):
        peer.node.tick()
        peer.ready()


def candidate_after(ticks):
    """K1 of three, whose vote for itself in term 3 is on disk after so many ticks."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.answers()
    peer.node.step("K2", PreVoteReply(3, True))
    waits(peer, ticks)
    assert (peer.state.role, peer.state.term) == ("candidate", 3)
    assert peer.answers() == [("K2", Vote(3, 1, 1, False)), ("K3", Vote(3, 1, 1, False))]
    return peer


@pytest.mark.parametrize("ticks", [1, 30, 1000])
def test_the_time_of_a_candidate_begins_when_its_own_vote_is_on_disk(ticks):
    """By chance it is longer by a part of that time, so that two candidates do not meet again."""
    peer = candidate_after(ticks)
    waits(peer, peer.settings.election_ticks - 1)
    assert peer.state.role == "candidate"
    waits(peer, 1)
    assert (peer.state.role, peer.state.term) == ("precandidate", 3)


def test_a_vote_that_arrives_while_the_candidate_asks_again_still_counts():
    peer = candidate_after(0)
    waits(peer, peer.settings.election_ticks)
    peer.node.campaign()
    assert peer.state.role == "precandidate"
    peer.node.step("K3", VoteReply(2, True, 7))  # of another term
    assert peer.state.role == "precandidate"
    peer.node.step("K3", VoteReply(3, True, 7))
    assert (peer.state.role, peer.state.term) == ("leader", 3)
    assert peer.state.vote_clocks == {"K1": 1000, "K3": 7}
    assert peer.observer.elections[-2:] == [("vote", "won"), ("prevote", "lost")]


def test_a_refused_vote_that_arrives_late_ends_nothing():
    peer = candidate_after(0)
    waits(peer, peer.settings.election_ticks)
    peer.node.step("K3", VoteReply(3, False, 7))
    peer.node.step("K3", VoteReply(3, True, 7))  # only the first answer counts
    assert peer.state.role == "precandidate"
    peer.node.step("K2", PreVoteReply(4, True))
    assert (peer.state.role, peer.state.term) == ("candidate", 4)


def test_votes_of_an_earlier_campaign_do_not_count_in_a_later_one():
    peer = candidate_after(0)
    peer.node.step("K2", Heartbeat(3, 1, 0))
    assert peer.state.role == "follower"
    waits(peer, 2 * peer.settings.election_ticks)
    assert peer.state.role == "precandidate"
    peer.node.step("K3", VoteReply(3, True, 7))
    assert peer.state.role == "precandidate"


def test_a_voter_that_is_writing_its_vote_neither_campaigns_nor_answers_prevotes():
    """Its timeout begins when the vote leaves: the candidate may win by it."""
    peer = lone(2)
    peer.node.step("K1", Vote(3, 1, 1))
    waits(peer, 5 * peer.settings.election_ticks)
    peer.node.campaign()
    peer.node.step("K3", PreVote(4, 1, 1))
    peer.ready()
    assert (peer.state.role, list(peer.cluster.wires)) == ("follower", [])
    assert peer.answers() == [("K1", VoteReply(3, True, 1000))]
    waits(peer, peer.settings.election_ticks)
    peer.node.step("K3", PreVote(4, 1, 1))
    assert peer.answer() == PreVoteReply(4, True)
    waits(peer, peer.settings.election_ticks)
    assert peer.state.role == "precandidate"


def test_a_follower_that_is_writing_its_vote_does_not_believe_in_a_lost_leader_for_ever():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(3, 1, 0))
    waits(peer, 2 * peer.settings.election_ticks)
    assert (peer.state.role, peer.state.leader) == ("follower", "")


@pytest.mark.parametrize(("ticks", "spread"), [(0, 10), (30, 100), (1000, 210)])
def test_a_candidate_with_a_slow_disk_waits_a_random_time_longer(ticks, spread):
    """Three times its write at most, and no longer than twenty election timeouts: the stall may be over."""
    drawn = []

    def jitter(bound):
        drawn.append(bound)
        return bound - 1

    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.answers()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.jitters = jitter
    waits(peer, ticks)
    peer.answers()
    assert drawn == [spread]
    assert peer.state.timeout == peer.settings.election_ticks + spread - 1


# -- parts of messages


def test_parts_of_a_message_of_the_leader_put_an_election_off_for_a_bounded_time():
    """Heartbeats wait after the rest of it. The answers say only what this node certainly has."""
    peer = lone(2, commit=1)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    bound = PARTS_TIMEOUTS * SETTINGS.election_ticks
    for _ in range(bound):
        peer.node.tick()
        peer.node.receiving("K1")
        assert peer.answers() == [("K1", AppendReply(2, 1))]
    assert peer.state.role == "follower"

    peer.node.receiving("K1")
    assert peer.answers() == []  # one answer a tick is enough
    for _ in range(2 * SETTINGS.election_ticks):
        peer.node.tick()
        peer.node.receiving("K1")
    assert peer.state.role == "precandidate"


def test_parts_of_messages_of_others_are_no_sign_of_the_leader():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    for _ in range(2 * SETTINGS.election_ticks):
        peer.node.tick()
        peer.node.receiving("K3")
    assert peer.state.role == "precandidate"
    peer.node.receiving("K1")
    assert peer.state.role == "precandidate"  # a campaign goes on until a leader is heard


def test_a_part_extends_no_promise_to_a_leader_with_a_lease():
    """The lease counts from heartbeats, whose rounds the leader knows."""
    peer = lone(2, settings=replace(SETTINGS, leases=True))
    peer.node.step("K1", Heartbeat(2, 1, 0))
    peer.answers()
    heard = peer.state.heard
    for _ in range(5):
        peer.node.tick()
        peer.node.receiving("K1")
    assert peer.state.heard == heard


def test_a_leader_whose_followers_receive_parts_goes_on_and_confirms_nothing_by_it():
    leader = lone_leader(2)
    leader.answers()
    leader.node.read(7)
    leader.answers()
    for _ in range(5 * SETTINGS.election_ticks):
        leader.node.tick()
        leader.node.step("K2", AppendReply(2, 1))
        leader.answers()
    assert leader.state.role == "leader"
    assert leader.state.commit == 1


def test_where_many_groups_elect_a_voter_with_a_longer_log_campaigns_in_the_place_of_the_asker():
    """Whoever asks first may be unable to win, and nobody else would ask for a whole timeout."""
    peer = lone(2, 2, settings=replace(SETTINGS, contests=True))
    peer.node.step("K3", PreVote(3, 1, 1))
    ask = PreVote(3, 2, 2)
    assert peer.answers() == [("K3", PreVoteReply(2, False)), ("K1", ask), ("K3", ask)]
    assert peer.state.role == "precandidate"


@pytest.mark.parametrize("reason", ["one group", "leader heard", "vote given", "slow", "draining"])
def test_a_voter_with_a_longer_log_does_not_campaign(reason):
    peer = lone(
        2,
        2,
        vote="K1" if reason == "vote given" else "",
        settings=replace(SETTINGS, contests=reason != "one group"),
    )
    if reason == "leader heard":
        peer.node.step("K1", Heartbeat(2, 1, 0))
        peer.answers()
    peer.node.mark_slow(reason == "slow")
    peer.node.drain(reason == "draining")
    peer.node.step("K3", PreVote(2 if reason == "vote given" else 3, 1, 1))
    assert [type(message) for _, message in peer.answers()] == (
        [] if reason == "leader heard" else [PreVoteReply]
    )
    assert peer.state.role == "follower"
