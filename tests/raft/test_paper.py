"""The rules of RP figure 2 and sections 5.1 to 5.5, sentence by sentence, for followers and candidates.

Each docstring names the place. What leaders do is in `test_paper_leaders.py`, figure 3 and sections 6 to 8
are in `test_paper_cluster.py`, the thesis is in `test_thesis.py`.
"""

import pytest

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
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster
from tests.raft.values import bootstrap, commands

# State


def test_a_node_starts_as_a_follower_of_nobody():
    """RP 5.2: servers begin as followers; figure 2: the first term is a start, not a leadership."""
    node = lone(1).node
    assert (node.state.role, node.state.leader, node.state.vote) == ("follower", "", "")


def test_term_vote_and_log_survive_a_crash():
    """RP figure 2, persistent state: what was on stable storage before the answer is there again."""
    peer = lone(2)
    peer.node.step("K1", Vote(3, 1, 1))
    peer.node.step("K1", Append(3, 1, 1, 1, commands(2, 3)))
    peer.answers()
    peer.crash()
    peer.restart()
    assert (peer.state.term, peer.state.vote, peer.state.log.last_index) == (3, "K1", 2)


def test_nothing_is_answered_before_it_is_on_stable_storage():
    """RP figure 2, persistent state: written before a server responds."""
    peer = lone(2)
    for message in (Vote(3, 1, 1), Append(3, 1, 1, 1, commands(2, 3))):
        peer.node.step("K1", message)
        peer.ready()
        assert not peer.cluster.wires
        peer.answer()


def test_who_leads_is_forgotten_with_the_process():
    """RP figure 2, volatile state: a restarted leader is a follower that knows no leader."""
    peer = lone_leader(2)
    peer.answers()
    peer.crash()
    peer.restart()
    assert (peer.state.role, peer.state.leader, peer.state.term) == ("follower", "", 2)


def test_a_new_leader_assumes_that_all_logs_end_like_its_own():
    """RP figure 2, nextIndex and matchIndex: after the last entry before its term, and nothing known."""
    peer = lone_leader(4, 2, 2)
    assert [(f.peer, f.next, f.match) for f in peer.node.progress()] == [("K2", 4, 0), ("K3", 4, 0)]


# AppendEntries, receiver


def test_an_append_of_an_older_term_is_refused_with_the_present_one():
    """RP figure 2, AppendEntries 1; 5.1: requests of an old term are rejected."""
    peer = lone(5)
    peer.node.step("K1", Append(4, 1, 1, 1, commands(2, 4)))
    assert peer.answer() == AppendReply(5, 1, True)
    assert peer.state.log.last_index == 1
    assert peer.state.leader == ""


def test_an_append_is_refused_when_the_entry_before_it_is_missing():
    """RP figure 2, AppendEntries 2: no entry there."""
    peer = lone(2, 2)
    peer.node.step("K1", Append(2, 5, 2, 1, commands(6, 2)))
    assert peer.answer() == AppendReply(2, 5, True, 2, 2)


def test_an_append_is_refused_when_the_entry_before_it_has_another_term():
    """RP figure 2, AppendEntries 2: an entry of another term; 5.3: the answer names where to try."""
    peer = lone(4, 2, 4, 4)
    peer.node.step("K1", Append(5, 4, 3, 1, commands(5, 5)))
    assert peer.answer() == AppendReply(5, 4, True, 2, 2)  # a whole conflicting term is skipped at once


def test_a_conflicting_entry_goes_with_all_that_follow_it_and_new_ones_are_appended():
    """RP figure 2, AppendEntries 3 and 4."""
    peer = lone(2, 2, 2, 2)
    peer.node.step("K1", Append(3, 2, 2, 1, commands(3, 3, 3)))
    assert peer.answer() == AppendReply(3, 4)
    assert [e.term for e in peer.disk.entries] == [1, 2, 3, 3]


def test_an_old_append_that_arrives_late_removes_nothing():
    """RP figure 2, AppendEntries 3: only a conflict removes."""
    peer = lone(2, 2, 2, 2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    assert peer.answer() == AppendReply(2, 2)
    assert peer.state.log.last_index == 4


def test_the_commit_index_is_at_most_the_last_entry_of_this_message():
    """RP figure 2, AppendEntries 5."""
    peer = lone(2, 2, 2, 2)
    peer.node.step("K1", Append(3, 1, 1, 4, commands(2, 2)))
    assert peer.state.commit == 2  # entries 3 and 4 may be different at this leader
    peer.node.step("K1", Append(3, 2, 2, 3, commands(3, 2, 2)))
    assert peer.state.commit == 3


def test_the_commit_index_never_goes_back():
    """RP figure 2, commitIndex: increases monotonically."""
    peer = lone(2, 2, 2, commit=3)
    peer.node.step("K1", Append(2, 1, 1, 2, commands(2, 2)))
    peer.node.step("K1", Heartbeat(2, 1, 0))
    assert peer.state.commit == 3


def test_a_heartbeat_commits_like_an_append_and_carries_no_entries():
    """RP 5.2 and figure 2, AppendEntries: an empty one; here with the commit that the leader knows to fit."""
    peer = lone(2, 2, 2)
    peer.node.step("K1", Heartbeat(2, 2, 5))
    assert peer.answer() == HeartbeatReply(2, 5, 1000)
    assert (peer.state.commit, peer.state.log.last_index) == (2, 3)


def test_a_request_answered_before_is_answered_again():
    """RP 5.5: requests may be repeated, and do no harm."""
    peer = lone(2)
    for _ in range(2):
        peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2, 2)))
        assert peer.answer() == AppendReply(2, 3)
    assert [e.index for e in peer.disk.entries] == [1, 2, 3]


# RequestVote, receiver


def test_a_vote_of_an_older_term_is_refused_with_the_present_one():
    """RP figure 2, RequestVote 1."""
    peer = lone(5)
    peer.node.step("K1", Vote(4, 9, 4))
    assert peer.answer() == VoteReply(5, False, 1000)


def test_a_vote_is_given_once_in_a_term_and_repeated_to_the_same_candidate():
    """RP figure 2, RequestVote 2; 5.2: one vote in a term, first come, first served."""
    peer = lone(2)
    peer.node.step("K1", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, True, 1000)
    peer.node.step("K3", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, False, 1000)
    peer.node.step("K1", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, True, 1000)
    assert peer.disk.hard_state == HardState(3, "K1")


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (4, 2, True), (2, 3, True), (2, 2, False), (9, 1, False)],
)
def test_a_vote_needs_a_log_at_least_as_up_to_date(last_index, last_term, granted):
    """RP figure 2, RequestVote 2; 5.4.1: the later last term, then the longer log."""
    peer = lone(3, 2, 2)
    peer.node.step("K1", Vote(4, last_index, last_term))
    assert peer.answer() == VoteReply(4, granted, 1000)
    peer = lone(3, 2, 2)
    peer.node.step("K1", PreVote(4, last_index, last_term))
    assert peer.answer() == PreVoteReply(4 if granted else 3, granted)


# All servers


def test_committed_entries_are_applied_in_order_and_once():
    """RP figure 2, all servers: applied while lastApplied is below commitIndex; lastApplied only grows."""
    peer = lone(2, 2, 2)
    peer.node.step("K1", Heartbeat(2, 2, 0))
    peer.answers()
    peer.node.step("K1", Heartbeat(2, 3, 0))
    peer.node.step("K1", Heartbeat(2, 3, 0))
    peer.answers()
    assert [e.index for e in peer.applied] == [1, 2, 3]


@pytest.mark.parametrize(
    "message",
    [Append(7, 1, 1, 1, ()), Heartbeat(7, 1, 0), Vote(7, 9, 6), AppendReply(7, 3), VoteReply(7, False, 0)],
)
def test_any_message_of_a_newer_term_is_adopted(message):
    """RP figure 2, all servers; 5.1: a request or an answer with a newer term."""
    peer = lone(2)
    peer.node.step("K1", message)
    peer.answers()
    assert (peer.state.role, peer.state.term) == ("follower", 7)
    assert peer.disk.hard_state.term == 7


def test_a_leader_that_sees_a_newer_term_follows():
    """RP 5.1: a leader whose term is out of date becomes a follower at once."""
    peer = lone_leader(2)
    peer.node.step("K3", HeartbeatReply(3, 0, 0))
    assert (peer.state.role, peer.state.term, peer.state.leader) == ("follower", 3, "")


def test_a_candidate_that_sees_a_newer_term_follows():
    """RP 5.1: a candidate whose term is out of date becomes a follower at once."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.node.step("K3", VoteReply(4, False, 0))
    assert (peer.state.role, peer.state.term, peer.state.vote) == ("follower", 4, "")


# Followers


def test_a_follower_campaigns_when_it_hears_nobody_for_its_timeout():
    """RP figure 2, followers; 5.2. It asks for prevotes first (RD 9.6)."""
    peer = lone(2)
    peer.jitter = 0
    peer.node.step("K1", Heartbeat(2, 1, 0))  # a new leader: the timeout is drawn again
    for _ in range(9):
        peer.node.tick()
    assert peer.state.role == "follower"
    peer.node.tick()
    assert peer.state.role == "precandidate"


def test_hearing_the_leader_or_granting_a_vote_restarts_the_timeout():
    """RP figure 2, followers: both keep it from becoming a candidate."""
    peer = lone(2)
    for message in (Heartbeat(2, 1, 0), Append(2, 1, 1, 1, ())):
        for _ in range(9):
            peer.node.tick()
        peer.node.step("K1", message)
    for _ in range(9):
        peer.node.tick()
    assert peer.state.role == "follower"
    peer = lone(2)
    for _ in range(12):
        peer.node.tick()
    peer.node.step("K1", Vote(3, 1, 1))
    for _ in range(12):
        peer.node.tick()
    assert peer.state.role == "follower"


def test_a_refused_vote_does_not_restart_the_timeout():
    """RP figure 2, followers: only a vote that was granted does."""
    peer = lone(2, 2, 2)
    for _ in range(12):
        peer.node.tick()
    peer.node.step("K1", Vote(3, 1, 1))
    assert peer.answer() == VoteReply(3, False, 1000)
    peer.node.tick()
    assert peer.state.role == "precandidate"


def test_the_timeout_is_drawn_anew_for_each_election():
    """RP 5.2: at the start of each election, so that split votes end."""
    peer = lone(2, name="K1")
    drawn = iter([0, 3])
    peer.jitters = lambda n: next(drawn)
    peer.node.campaign()
    for _ in range(10):
        peer.node.tick()
    assert peer.observer.elections == [("prevote", "timeout")]
    for _ in range(12):
        peer.node.tick()
    assert peer.observer.elections == [("prevote", "timeout")]


# Candidates


def test_a_candidate_raises_the_term_votes_for_itself_and_asks_all_others():
    """RP figure 2, candidates: what they do at the start of an election."""
    peer = lone(2, 2, name="K1")
    peer.node.campaign()
    assert peer.answers() == [("K2", PreVote(3, 2, 2)), ("K3", PreVote(3, 2, 2))]
    assert peer.state.term == 2
    peer.node.step("K3", PreVoteReply(3, True))
    assert (peer.state.role, peer.state.term, peer.state.vote) == ("candidate", 3, "K1")
    assert peer.answers() == [("K2", Vote(3, 2, 2)), ("K3", Vote(3, 2, 2))]
    assert peer.disk.hard_state == HardState(3, "K1")


def test_a_candidate_leads_with_votes_of_a_majority():
    """RP figure 2, candidates; 5.2: a majority of the votes makes a leader."""
    peer = lone_leader(2)
    assert peer.observer.roles[-1] == ("leader", 2, "K1")
    assert peer.observer.elections == [("prevote", "won"), ("vote", "won")]


def test_a_candidate_refused_by_a_majority_follows_again():
    """RP 5.2: an election that cannot be won any more; the paper waits for the timeout."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.answers()
    peer.node.step("K2", VoteReply(3, False, 0))
    peer.node.step("K3", VoteReply(3, False, 0))
    assert peer.state.role == "follower"
    assert peer.observer.elections[-1] == ("vote", "lost")


@pytest.mark.parametrize("message", [Append(3, 1, 1, 1, ()), Heartbeat(3, 1, 0)])
def test_a_candidate_that_hears_the_leader_of_its_term_follows_it(message):
    """RP figure 2, candidates; 5.2: another one has won."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.node.step("K3", message)
    assert (peer.state.role, peer.state.leader, peer.state.term) == ("follower", "K3", 3)


@pytest.mark.parametrize("message", [Append(2, 1, 1, 1, ()), Heartbeat(2, 1, 0)])
def test_a_candidate_refuses_a_leader_of_an_older_term_and_goes_on(message):
    """RP 5.2: it rejects the request and remains a candidate."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.answers()
    peer.node.step("K3", message)
    assert peer.answer() in (AppendReply(3, 1, True), HeartbeatReply(3, 0, 1000))
    assert (peer.state.role, peer.state.term) == ("candidate", 3)


def test_votes_are_counted_once_for_each_voter():
    """RP 5.2: a majority of the servers, not of the answers."""
    cluster = Cluster(5)
    peer = lone(name="K1", restored=bootstrap(cluster["K1"].state.configuration), size=5)
    peer.node.campaign()
    for voter in ("K2", "K3"):
        peer.node.step(voter, PreVoteReply(2, True))
    peer.answers()
    for _ in range(2):
        peer.node.step("K2", VoteReply(2, True, 0))
    assert peer.state.role == "candidate"
    peer.node.step("K3", VoteReply(2, True, 0))
    assert peer.state.role == "leader"


def test_a_candidate_whose_time_is_up_asks_again():
    """RP figure 2, candidates: a new election after the timeout. It asks for prevotes first."""
    peer = lone(2, name="K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.answers()
    for _ in range(10):
        peer.node.tick()
    assert (peer.state.role, peer.state.term) == ("precandidate", 3)
    assert peer.observer.elections[-1] == ("vote", "timeout")
