"""The rules of RP figure 2 and sections 5.1 to 5.5, sentence by sentence, for leaders."""

import pytest

from kraft.raft.errors import InvariantViolation, NotLeading
from kraft.raft.messages import Append, AppendReply, EntryKind, Heartbeat, HeartbeatReply
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster


def test_a_new_leader_starts_with_an_entry_of_its_term_for_everybody():
    """RP 8: a no-op at the start; figure 2, leaders: it is also the first sign of life."""
    peer = lone_leader(4, 2, 2)
    said = peer.answers()
    assert [to for to, _ in said] == ["K2", "K3"]
    message = said[0][1]
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term) == (3, 2)
    assert [(e.index, e.term, e.kind) for e in message.entries] == [(4, 4, EntryKind.NOOP)]


def test_a_new_leader_does_not_know_yet_how_far_its_predecessors_committed():
    """Until its first entry is committed, the heartbeat's `newest` is that entry: no reader is up to date
    without it.
    """
    peer = lone_leader(2)
    peer.answers()
    peer.node.tick()
    peer.node.tick()
    state = peer.node.state
    assert state.commit < state.noop_index
    assert peer.answers() == [(to, Heartbeat(2, 0, 0, state.noop_index)) for to in ("K2", "K3")]


def test_a_leader_sends_heartbeats_all_the_time():
    """RP figure 2, leaders: in idle times too, so that nobody campaigns."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.tick()
    assert peer.answers() == []
    peer.node.tick()
    assert peer.answers() == [("K2", Heartbeat(2, 0, 0, 2)), ("K3", Heartbeat(2, 0, 0, 2))]


def test_a_rejection_makes_the_leader_try_further_back():
    """RP figure 2, leaders; 5.3: nextIndex goes back, and it is sent again."""
    peer = lone_leader(4, 2, 2, 3)
    peer.answers()
    peer.node.step("K2", AppendReply(4, 4, True, 1, 1))
    message = peer.answer()
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term, len(message.entries)) == (1, 1, 4)


def test_the_leader_skips_a_term_that_the_follower_cannot_have():
    """RP 5.3: one message for each conflicting term."""
    peer = lone_leader(5, 2, 3, 3, 3)
    peer.answers()
    # The follower has entries of term 2 up to index 5: here, only index 2 can agree.
    peer.node.step("K2", AppendReply(5, 5, True, 5, 2))
    message = peer.answer()
    assert isinstance(message, Append)
    assert (message.prev_index, message.prev_term) == (2, 2)


def test_an_accepted_append_moves_the_leader_forward():
    """RP figure 2, leaders: nextIndex and matchIndex are updated."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.step("K2", AppendReply(2, 2))
    assert [(f.peer, f.match, f.next) for f in peer.node.progress()] == [("K2", 2, 3), ("K3", 0, 2)]


def test_a_proposal_goes_to_everybody_at_once():
    """RP figure 2, leaders; 5.3: appended to the own log, sent to all others in parallel."""
    peer = lone_leader(2)
    peer.answers()
    for follower in ("K2", "K3"):
        peer.node.step(follower, AppendReply(2, 2))
    peer.answers()
    index, term = peer.propose()
    said = peer.answers()
    assert [to for to, _ in said] == ["K2", "K3"]
    for _, message in said:
        assert isinstance(message, Append)
        assert [(e.index, e.term) for e in message.entries] == [(index, term)]


def test_an_unanswered_append_is_repeated_for_ever():
    """RP 5.3 and 5.5: until all followers have all entries; to those that answer heartbeats."""
    peer = lone_leader(2)
    peer.answers()
    for _ in range(20):
        for _ in range(2):
            peer.node.tick()
        peer.node.step("K2", HeartbeatReply(2, 0, 0))
        peer.node.step("K3", HeartbeatReply(2, 0, 0))
        appended = [to for to, message in peer.answers() if isinstance(message, Append)]
        assert appended == ["K2", "K3"]


def test_followers_hear_what_is_committed_with_the_next_message():
    """RP 5.3: the leader includes the highest committed index in what it sends."""
    peer = lone_leader(2)
    peer.answers()
    peer.node.step("K2", AppendReply(2, 2))
    peer.propose()
    message = next(m for to, m in peer.answers() if to == "K2")
    assert isinstance(message, Append)
    assert message.commit == 2


def test_a_leader_never_changes_its_own_log():
    """RP 5.3 and figure 3, leader append-only: not by any answer either."""
    peer = lone_leader(4, 2, 2, 3)
    peer.answers()
    before = [e.term for e in peer.disk.entries]
    peer.node.step("K2", AppendReply(4, 4, True, 1, 1))
    peer.propose()
    peer.answers()
    assert [e.term for e in peer.disk.entries] == [*before, 4]


def test_an_entry_of_this_term_commits_when_a_majority_has_it():
    """RP figure 2, leaders; 5.3: committed once a majority has it, then applied by the leader."""
    peer = lone_leader(2)
    peer.answers()
    index, _ = peer.propose()
    peer.answers()
    peer.node.step("K3", AppendReply(2, index))
    assert peer.state.commit == index
    peer.answers()
    assert peer.applied[-1].index == index


def test_an_entry_of_an_earlier_term_never_commits_by_counting():
    """RP 5.4.2 and figure 8: entry 2 of term 2 is on a majority, and may yet be replaced."""
    peer = lone_leader(4, 2)
    peer.answers()
    peer.node.step("K2", AppendReply(4, 2))
    peer.node.step("K3", AppendReply(4, 2))
    assert peer.state.commit == 1
    peer.node.step("K2", AppendReply(4, 3))  # the no-op of term 4 commits all before it
    assert peer.state.commit == 3


def test_only_a_leader_takes_proposals_and_reads():
    """RP 5.1 and 8: others reject a client, and name the leader."""
    cluster = Cluster(3)
    cluster.elect("K1")
    for ask in (lambda: cluster["K2"].propose(), lambda: cluster["K2"].node.read(1)):
        with pytest.raises(NotLeading) as refused:
            ask()
        assert refused.value.args == ("K1",)


def test_two_leaders_in_one_term_stop_the_group():
    """RP figure 3, election safety: the opposite is not survived silently."""
    peer = lone(2)
    peer.node.step("K1", Heartbeat(2, 1, 0))
    with pytest.raises(InvariantViolation):
        peer.node.step("K3", Heartbeat(2, 1, 0))
