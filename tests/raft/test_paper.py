"""The rules of RP figure 2, one by one, as a single node follows them."""

import pytest

from kraft.raft.errors import InvariantViolation, NotLeading
from kraft.raft.messages import (
    Append,
    AppendReply,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from tests.raft.network import (
    Cluster,
    answer,
    answers,
    bootstrap,
    commands,
    configuration,
    lone,
    lone_leader,
    with_log,
)

BASE = bootstrap(configuration("K1", "K2", "K3"))


# AppendEntries, receiver


def test_an_append_of_an_older_term_is_refused_with_the_present_one():
    peer = lone(with_log(BASE, 5))
    peer.node.step("K1", Append(4, 1, 1, 1, commands(2, 4)))
    assert answer(peer) == AppendReply(5, 1, True)
    assert peer.node.last_index == 1
    assert peer.node.leader == ""


def test_an_append_is_refused_when_the_entry_before_it_is_missing():
    peer = lone(with_log(BASE, 2, 2))
    peer.node.step("K1", Append(2, 5, 2, 1, commands(6, 2)))
    assert answer(peer) == AppendReply(2, 5, True, 2, 2)


def test_an_append_is_refused_when_the_entry_before_it_has_another_term():
    peer = lone(with_log(BASE, 4, 2, 4, 4))
    peer.node.step("K1", Append(5, 4, 3, 1, commands(5, 5)))
    assert answer(peer) == AppendReply(5, 4, True, 2, 2)  # a whole conflicting term is skipped at once


def test_a_conflicting_entry_goes_with_all_that_follow_it_and_new_ones_are_appended():
    peer = lone(with_log(BASE, 2, 2, 2, 2))
    peer.node.step("K1", Append(3, 2, 2, 1, commands(3, 3, 3)))
    assert answer(peer) == AppendReply(3, 4)
    assert [e.term for e in peer.disk.entries] == [1, 2, 3, 3]


def test_an_old_append_that_arrives_late_removes_nothing():
    peer = lone(with_log(BASE, 2, 2, 2, 2))
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    assert answer(peer) == AppendReply(2, 2)
    assert peer.node.last_index == 4


def test_the_commit_index_is_at_most_the_last_entry_of_this_message():
    peer = lone(with_log(BASE, 2, 2, 2, 2))
    peer.node.step("K1", Append(3, 1, 1, 4, commands(2, 2)))
    assert peer.node.commit == 2  # entries 3 and 4 may be different at this leader
    peer.node.step("K1", Append(3, 2, 2, 3, commands(3, 2, 2)))
    assert peer.node.commit == 3


def test_the_commit_index_never_goes_back():
    peer = lone(with_log(BASE, 2, 2, 2, commit=3))
    peer.node.step("K1", Append(2, 1, 1, 2, commands(2, 2)))
    peer.node.step("K1", Heartbeat(2, 1, 0))
    assert peer.node.commit == 3


# RequestVote, receiver


def test_a_vote_of_an_older_term_is_refused_with_the_present_one():
    peer = lone(with_log(BASE, 5))
    peer.node.step("K1", Vote(4, 9, 4))
    assert answer(peer) == VoteReply(5, False, 1000)


def test_a_vote_is_given_once_in_a_term_and_repeated_to_the_same_candidate():
    peer = lone(with_log(BASE, 2))
    peer.node.step("K1", Vote(3, 1, 1))
    assert answer(peer) == VoteReply(3, True, 1000)
    peer.node.step("K3", Vote(3, 1, 1))
    assert answer(peer) == VoteReply(3, False, 1000)
    peer.node.step("K1", Vote(3, 1, 1))
    assert answer(peer) == VoteReply(3, True, 1000)
    assert peer.disk.hard_state == HardState(3, "K1")


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (4, 2, True), (2, 3, True), (2, 2, False), (9, 1, False)],
)
def test_a_vote_needs_a_log_at_least_as_up_to_date(last_index, last_term, granted):
    peer = lone(with_log(BASE, 3, 2, 2))
    peer.node.step("K1", Vote(4, last_index, last_term))
    assert answer(peer) == VoteReply(4, granted, 1000)
    peer = lone(with_log(BASE, 3, 2, 2))
    peer.node.step("K1", PreVote(4, last_index, last_term))
    assert answer(peer) == PreVoteReply(4 if granted else 3, granted)


# All servers


def test_committed_entries_are_applied_in_order_and_once():
    peer = lone(with_log(BASE, 2, 2, 2))
    peer.node.step("K1", Heartbeat(2, 2, 0))
    answers(peer)
    peer.node.step("K1", Heartbeat(2, 3, 0))
    peer.node.step("K1", Heartbeat(2, 3, 0))
    answers(peer)
    assert [e.index for e in peer.applied] == [1, 2, 3]


@pytest.mark.parametrize(
    "message",
    [Append(7, 1, 1, 1, ()), Heartbeat(7, 1, 0), Vote(7, 9, 6), AppendReply(7, 3), VoteReply(7, False, 0)],
)
def test_any_message_of_a_newer_term_is_adopted(message):
    peer = lone(with_log(BASE, 2))
    peer.node.step("K1", message)
    answers(peer)
    assert (peer.node.role, peer.node.term) == ("follower", 7)
    assert peer.disk.hard_state.term == 7


def test_a_leader_that_sees_a_newer_term_follows():
    peer = lone_leader(term=2)
    peer.node.step("K3", HeartbeatReply(3, 0, 0))
    assert (peer.node.role, peer.node.term, peer.node.leader) == ("follower", 3, "")


# Followers


def test_a_follower_campaigns_when_it_hears_nobody_for_its_timeout():
    peer = lone(with_log(BASE, 2))
    peer.jitter = 0
    peer.node.step("K1", Heartbeat(2, 1, 0))  # a new leader: the timeout is drawn again
    for _ in range(9):
        peer.node.tick()
    assert peer.node.role == "follower"
    peer.node.tick()
    assert peer.node.role == "precandidate"


def test_hearing_the_leader_or_granting_a_vote_restarts_the_timeout():
    peer = lone(with_log(BASE, 2))
    for message in (Heartbeat(2, 1, 0), Append(2, 1, 1, 1, ())):
        for _ in range(9):
            peer.node.tick()
        peer.node.step("K1", message)
    for _ in range(9):
        peer.node.tick()
    assert peer.node.role == "follower"
    peer = lone(with_log(BASE, 2))
    for _ in range(12):
        peer.node.tick()
    peer.node.step("K1", Vote(3, 1, 1))
    for _ in range(12):
        peer.node.tick()
    assert peer.node.role == "follower"


# Candidates


def test_a_candidate_raises_the_term_votes_for_itself_and_asks_all_others():
    peer = lone(with_log(BASE, 2, 2), "K1")
    peer.node.campaign()
    assert answers(peer) == [("K2", PreVote(3, 2, 2)), ("K3", PreVote(3, 2, 2))]
    assert peer.node.term == 2
    peer.node.step("K3", PreVoteReply(3, True))
    assert (peer.node.role, peer.node.term, peer.node.vote) == ("candidate", 3, "K1")
    assert answers(peer) == [("K2", Vote(3, 2, 2)), ("K3", Vote(3, 2, 2))]
    assert peer.disk.hard_state == HardState(3, "K1")


def test_a_candidate_leads_with_votes_of_a_majority():
    peer = lone_leader(term=2)
    assert peer.observer.roles[-1] == ("leader", 2, "K1")
    assert peer.observer.elections == [("prevote", "won"), ("vote", "won")]


def test_a_candidate_refused_by_a_majority_follows_again():
    peer = lone(with_log(BASE, 2), "K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    answers(peer)
    peer.node.step("K2", VoteReply(3, False, 0))
    peer.node.step("K3", VoteReply(3, False, 0))
    assert peer.node.role == "follower"
    assert peer.observer.elections[-1] == ("vote", "lost")


@pytest.mark.parametrize("message", [Append(3, 1, 1, 1, ()), Heartbeat(3, 1, 0)])
def test_a_candidate_that_hears_the_leader_of_its_term_follows_it(message):
    peer = lone(with_log(BASE, 2), "K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    peer.node.step("K3", message)
    assert (peer.node.role, peer.node.leader, peer.node.term) == ("follower", "K3", 3)


def test_a_candidate_whose_time_is_up_asks_again():
    peer = lone(with_log(BASE, 2), "K1")
    peer.node.campaign()
    peer.node.step("K2", PreVoteReply(3, True))
    for _ in range(10):
        peer.node.tick()
    assert (peer.node.role, peer.node.term) == ("precandidate", 3)
    assert peer.observer.elections[-1] == ("vote", "timeout")


# Leaders


def test_a_new_leader_starts_with_an_entry_of_its_term_for_everybody():
    peer = lone_leader(2, 2, term=4)
    said = answers(peer)
    assert [to for to, _ in said] == ["K2", "K3"]
    message = said[0][1]
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term) == (3, 2)
    assert [(e.index, e.term, e.kind) for e in message.entries] == [(4, 4, EntryKind.NOOP)]


def test_a_leader_sends_heartbeats_all_the_time():
    peer = lone_leader(term=2)
    answers(peer)
    peer.node.tick()
    assert answers(peer) == []
    peer.node.tick()
    assert answers(peer) == [("K2", Heartbeat(2, 0, 0, 1)), ("K3", Heartbeat(2, 0, 0, 1))]


def test_a_rejection_makes_the_leader_try_further_back():
    peer = lone_leader(2, 2, 3, term=4)
    answers(peer)
    peer.node.step("K2", AppendReply(4, 4, True, 1, 1))
    message = answer(peer)
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term, len(message.entries)) == (1, 1, 4)


def test_the_leader_skips_a_term_that_the_follower_cannot_have():
    peer = lone_leader(2, 3, 3, 3, term=5)
    answers(peer)
    # The follower has entries of term 2 up to index 5: here, only index 2 can agree.
    peer.node.step("K2", AppendReply(5, 5, True, 5, 2))
    message = answer(peer)
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term) == (2, 2)


def test_an_entry_of_this_term_commits_when_a_majority_has_it():
    peer = lone_leader(term=2)
    answers(peer)
    index, _ = peer.propose()
    answers(peer)
    peer.node.step("K3", AppendReply(2, index))
    assert peer.node.commit == index
    answers(peer)
    assert peer.applied[-1].index == index


def test_an_entry_of_an_earlier_term_never_commits_by_counting():
    """RP figure 8: entry 2 of term 2 is on a majority, and may yet be replaced."""
    peer = lone_leader(2, term=4)
    answers(peer)
    peer.node.step("K2", AppendReply(4, 2))
    peer.node.step("K3", AppendReply(4, 2))
    assert peer.node.commit == 1
    peer.node.step("K2", AppendReply(4, 3))  # the no-op of term 4 commits all before it
    assert peer.node.commit == 3


def test_only_a_leader_takes_proposals_and_reads():
    cluster = Cluster(3)
    cluster.elect("K1")
    for ask in (lambda: cluster["K2"].propose(), lambda: cluster["K2"].node.read(1)):
        with pytest.raises(NotLeading) as refused:
            ask()
        assert refused.value.args == ("K1",)


def test_two_leaders_in_one_term_stop_the_group():
    peer = lone(with_log(BASE, 2))
    peer.node.step("K1", Heartbeat(2, 1, 0))
    with pytest.raises(InvariantViolation):
        peer.node.step("K3", Heartbeat(2, 1, 0))
