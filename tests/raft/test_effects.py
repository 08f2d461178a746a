"""No message leaves before the disk has what it promises."""

from kraft.raft.messages import (
    Append,
    AppendReply,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    Vote,
    VoteReply,
)
from tests.raft.builder import lone
from tests.raft.network import Cluster
from tests.raft.values import commands


def test_a_vote_is_told_only_after_its_write():
    peer = lone(2)
    peer.node.step("K1", Vote(3, 1, 1))
    ready = peer.ready()
    assert ready is not None
    assert ready.send_now == ()
    assert ready.persist is not None
    assert ready.persist.hard_state == HardState(3, "K1")
    assert [o.message for o in ready.send_after_persist] == [VoteReply(3, True, 1000)]


def test_a_vote_survives_a_crash_once_it_was_told():
    peer = lone(2)
    peer.node.step("K1", Vote(3, 1, 1))
    peer.answers()
    peer.crash()
    peer.restart()
    peer.node.step("K3", Vote(3, 5, 2))
    assert peer.answer() == VoteReply(3, False, 1000)


def test_an_append_is_acknowledged_only_after_its_write():
    peer = lone(2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    ready = peer.ready()
    assert ready is not None
    assert ready.send_now == ()
    assert ready.persist is not None
    assert [e.index for e in ready.persist.entries] == [2]
    assert [o.message for o in ready.send_after_persist] == [AppendReply(2, 2)]
    assert peer.state.log.durability.durable == 1


def test_a_repeated_append_waits_for_the_write_of_the_first():
    peer = lone(2)
    for _ in range(2):
        peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
        peer.ready()
    assert not peer.cluster.wires
    first, second = (persist for persist, _ in peer.writes)
    assert len(first.entries) == 1
    assert (second.entries, second.hard_state, second.truncate_from) == ((), None, None)
    peer.finish_write()
    assert len(peer.cluster.wires) == 1


def test_with_nothing_to_write_or_being_written_an_answer_leaves_at_once():
    peer = lone(2, 2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    ready = peer.ready()
    assert ready is not None
    assert ready.persist is None
    assert [o.message for o in ready.send_now] == [AppendReply(2, 2)]


def test_a_heartbeat_is_answered_at_once_as_it_promises_nothing():
    peer = lone(2)
    peer.node.step("K1", Heartbeat(3, 1, 7))
    ready = peer.ready()
    assert ready is not None
    assert [o.message for o in ready.send_now] == [HeartbeatReply(3, 7, 1000)]
    assert ready.persist is not None
    assert ready.send_after_persist == ()


def test_an_answer_whose_entries_were_replaced_before_their_write_began_is_never_given():
    """Both appends come in one turn: only what the write really holds may be acknowledged."""
    peer = lone(2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2, 2)))
    peer.node.step("K3", Append(3, 1, 1, 1, commands(2, 3)))
    assert peer.answers() == [("K3", AppendReply(3, 2))]
    assert [e.term for e in peer.disk.entries] == [1, 3]


def test_a_late_notice_for_replaced_entries_does_not_cover_their_replacements():
    """The ABA trap: entry 2 of term 2 is written while entry 2 of term 3 waits."""
    peer = lone(2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    peer.ready()
    peer.node.step("K3", Append(3, 1, 1, 2, commands(2, 3)))
    peer.ready()
    assert [persist.truncate_from for persist, _ in peer.writes] == [None, 2]
    peer.finish_write()
    assert (peer.state.log.durability.durable, peer.state.commit, peer.state.applied) == (
        1,
        2,
        1,
    )
    assert peer.node.take_ready() is None
    peer.finish_write()
    assert peer.state.log.durability.durable == 2
    peer.ready()
    assert [e.term for e in peer.applied] == [1, 3]


def test_nothing_is_applied_that_is_not_durable_here():
    peer = lone(2)
    peer.node.step("K1", Append(2, 1, 1, 2, commands(2, 2)))
    ready = peer.ready()
    assert ready is not None
    assert (peer.state.commit, ready.apply) == (2, ())
    peer.finish_write()
    peer.ready()
    assert peer.applied[-1].index == 2


def test_a_leader_sends_while_its_own_disk_works_and_counts_itself_when_it_is_done():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].up = False
    leader.auto_disk = False
    index, _ = leader.propose()
    cluster.settle()
    assert cluster["K2"].state.log.durability.durable == index
    assert leader.state.commit < index
    leader.finish_write()
    assert leader.state.commit == index


def test_followers_can_commit_without_the_leaders_disk_but_it_applies_only_from_its_own():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.auto_disk = False
    index, _ = leader.propose()
    cluster.settle()
    assert (leader.state.commit, leader.state.applied) == (index, index - 1)
    leader.finish_write()
    cluster.settle()
    assert leader.state.applied == index


def test_a_single_voter_waits_for_its_own_disk_for_the_vote_and_for_every_entry():
    cluster = Cluster(1)
    peer = cluster["K1"]
    peer.auto_disk = False
    peer.node.campaign()
    cluster.settle()
    assert peer.state.role == "candidate"
    peer.finish_write()
    assert (peer.state.role, peer.state.leads_with_commit) == ("leader", False)
    cluster.settle()
    assert peer.state.commit == 1
    peer.finish_write()
    cluster.settle()
    assert (peer.state.leads_with_commit, peer.state.applied) == (True, 2)


def test_the_end_of_an_earlier_write_does_not_count_as_the_own_vote():
    cluster = Cluster(1)
    peer = cluster.elect("K1")
    peer.auto_disk = False
    peer.propose()
    cluster.settle()
    peer.node.suspend()
    peer.node.resume()
    peer.node.campaign()
    cluster.settle()
    assert len(peer.writes) == 2
    peer.finish_write()
    assert peer.state.role == "candidate"
    peer.finish_write()
    assert peer.state.role == "leader"


def test_a_candidate_asks_for_votes_only_after_earlier_writes_of_its_log():
    peer = lone(2, name="K1")
    peer.node.step("K2", Append(2, 1, 1, 1, commands(2, 2)))
    peer.ready()
    peer.node.leader_lost("K2")
    peer.node.campaign()
    peer.node.step("K3", PreVoteReply(3, True))
    peer.ready()
    peer.cluster.wires.clear()
    peer.finish_write()
    assert [type(m) for _, _, m in peer.cluster.wires] == [AppendReply]
    peer.finish_write()
    assert [type(m) for _, _, m in peer.cluster.wires] == [AppendReply, Vote, Vote]


def test_the_term_of_a_restarted_node_is_the_one_it_had():
    cluster = Cluster(3)
    cluster.elect("K1")
    term = cluster["K1"].state.term
    for peer in cluster.peers.values():
        peer.crash()
    for peer in cluster.peers.values():
        peer.restart()
    assert all(peer.state.term == term for peer in cluster.peers.values())
    assert cluster.elect("K2").state.term == term + 1


def test_a_full_disk_means_no_vote_no_campaign_and_nothing_new_in_memory():
    peer = lone(2)
    peer.node.suspend()
    peer.node.step("K1", Vote(3, 1, 1))
    peer.node.campaign()
    for _ in range(40):
        peer.node.tick()
    assert (peer.state.role, peer.state.term) == ("follower", 2)
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    assert peer.state.log.last_index == 1
    assert peer.answers() == []
    peer.node.step("K1", Heartbeat(2, 1, 3))
    assert peer.answer() == HeartbeatReply(2, 3, 1000, declines=True)
    peer.node.resume()
    peer.node.step("K1", Append(2, 1, 1, 1, commands(2, 2)))
    assert peer.answer() == AppendReply(2, 2)


def test_a_leader_with_a_full_disk_steps_down_and_another_takes_over():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.auto_disk = False
    leader.propose(b"from the full disk")
    leader.node.read(1)
    leader.node.suspend()
    cluster.settle()
    assert leader.state.role == "follower"
    assert leader.failed == [1]
    cluster.tick(20)
    (new,) = cluster.leaders()
    assert new != "K1"
    cluster[new].node.propose(EntryKind.COMMANDS, 0, b"go on")
    cluster.settle()
    assert cluster[new].state.commit == cluster[new].state.log.last_index
    leader.auto_disk = True
    leader.node.resume()
    cluster.tick(6)
    assert leader.applied == cluster[new].applied
