"""Compaction: what the log still knows, what the disk gets, and which followers can still be served."""

from dataclasses import replace

import pytest

from kraft.raft.errors import InvariantViolation
from kraft.raft.membership.configuration import START, Base
from kraft.raft.messages import Append, AppendReply, EntryKind, HeartbeatReply
from tests.raft.builder import lone
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, TRIO, commands, configuration


def filled(*terms, name="K2"):
    """A node with the bootstrap entry and entries of `terms`, all committed and applied."""
    return lone(terms[-1], *terms, name=name, commit=len(terms) + 1)


def test_a_log_begins_after_the_base_it_was_cut_at():
    peer = filled(2, 2, 3, 3)
    assert (peer.state.log.base, peer.state.log.first_index) == (START, 1)
    peer.compact(3)
    node = peer.node
    assert node.state.log.base == Base(3, 2, 0, 1, TRIO)
    assert (node.state.log.first_index, node.state.log.last_index) == (4, 5)
    assert [node.state.term_at(i) for i in range(6)] == [0, 0, 0, 2, 3, 3]
    assert node.state.log.runs() == ((3, 2), (4, 3))
    assert node.state.configuration == TRIO


def test_the_next_write_tells_the_disk_of_the_base_once():
    peer = filled(2, 2, 2)
    peer.compact(2)
    peer.compact(3)
    ready = peer.ready()
    assert ready.persist.base.index == 3
    assert (ready.persist.entries, ready.persist.truncate_from, ready.persist.state_file) == ((), None, None)
    assert peer.ready() is None
    peer.finish_write()
    assert [e.index for e in peer.disk.entries] == [4]


def test_what_is_forgotten_already_is_not_forgotten_again():
    peer = filled(2, 2, 2)
    peer.compact(3)
    peer.answers()
    peer.node.compact(3)
    peer.node.compact(1)
    assert peer.state.log.base.index == 3
    assert peer.ready() is None


def test_only_what_is_applied_can_be_forgotten():
    peer = lone(2, 2, 2, commit=2)
    with pytest.raises(InvariantViolation, match="applied"):
        peer.node.compact(3)
    with pytest.raises(InvariantViolation, match="applied"):
        peer.state.base_at(3)


def test_a_whole_log_may_go():
    peer = filled(2, 2)
    peer.compact(3)
    peer.answers()
    assert (
        peer.state.log.first_index,
        peer.state.log.last_index,
        peer.state.log.tail_bytes,
    ) == (4, 3, 0)
    peer.node.step("K1", Append(3, 3, 2, 3, commands(4, 3)))
    assert peer.answer() == AppendReply(3, 4)
    assert peer.disk.last_index == 4


def test_a_restart_finds_the_base_and_what_is_after_it():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for i in range(5):
        leader.propose(b"%d" % i)
    cluster.settle()
    leader.compact(4)
    cluster.settle()
    base, runs, applied = leader.state.log.base, leader.state.log.runs(), list(leader.applied)
    leader.crash()
    leader.restart()
    assert leader.state.log.base == base
    assert leader.state.log.runs() == runs
    assert leader.applied[:6] == applied[:6]
    assert leader.state.configuration == TRIO
    cluster.tick(40)
    assert all(p.applied == cluster["K2"].applied for p in cluster.peers.values())


def test_a_restart_with_nothing_after_the_base():
    peer = filled(2, 2)
    peer.compact(3)
    peer.answers()
    peer.restart()
    node = peer.node
    assert (
        node.state.term_at(3),
        node.state.commit,
        node.state.applied,
        node.state.log.durability.durable,
        node.state.log.last_index,
    ) == (2, 3, 3, 3, 3)
    assert node.state.configuration_index == 1
    peer.node.step("K1", Append(2, 3, 2, 3, commands(4, 2)))
    assert peer.answer() == AppendReply(2, 4)


def test_a_base_has_the_configuration_in_force_there_and_not_a_later_one():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    leader.propose(b"x")
    cluster.settle()
    before = leader.state.configuration
    leader.reconfigure(configuration("K1", "K2", "K3"))
    assert leader.state.base_at(3) == Base(3, 2, 0, 1, before)  # in force from 4 on, and not committed
    cluster.settle()
    assert leader.state.base_at(4) == Base(4, 2, 0, 4, configuration("K1", "K2", "K3"))
    leader.compact(4)
    assert leader.state.configuration_index == 4
    assert leader.state.log.base.configuration == configuration("K1", "K2", "K3")


def test_uncommitted_configurations_after_the_base_can_still_be_taken_back():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    leader.reconfigure(configuration("K1", "K2", "K3"))
    leader.compact(2)
    cluster.tick(40)
    cluster.heal()
    cluster.tick(10)
    assert leader.state.configuration == configuration("K1", "K2", "K3", learners=("K4",))


def test_a_base_below_the_tail_in_memory_has_a_stamp_that_bounds_its_own():
    cluster = Cluster(1, settings=replace(SETTINGS, tail_bytes=0))
    leader = cluster.elect("K1")
    for i in range(10):
        leader.node.propose(EntryKind.COMMANDS, 100 + i, b"x" * 100)
        cluster.settle()
    assert leader.state.log.tail_bytes == 0
    assert leader.state.base_at(leader.state.applied).stamp == 109
    assert leader.state.base_at(5).stamp >= 102


# What arrives from before the base


@pytest.mark.parametrize("previous", [0, 1, 2, 3])
def test_an_append_from_before_the_commit_is_answered_with_the_commit(previous):
    """The log cannot tell whether it matches there; that it is committed says so."""
    peer = filled(2, 2, 2, 2)
    peer.compact(4)
    peer.answers()
    peer.node.step("K1", Append(2, previous, previous, 1, commands(previous + 1, 2)))
    assert peer.answer() == AppendReply(2, 5)
    assert peer.state.log.last_index == 5


def test_what_such_an_append_has_beyond_the_commit_is_taken():
    peer = filled(2, 2)
    peer.compact(3)
    peer.answers()
    peer.node.step("K1", Append(3, 1, 1, 4, (*commands(2, 2, 2), *commands(4, 3, 3))))
    assert peer.answer() == AppendReply(3, 5)
    assert (peer.state.log.last_index, peer.state.commit) == (5, 4)


def test_an_append_right_after_the_base_matches_by_the_bases_term():
    peer = filled(2, 2)
    peer.compact(3)
    peer.answers()
    peer.node.step("K1", Append(4, 3, 2, 3, commands(4, 4)))
    assert peer.answer() == AppendReply(4, 4)


def test_a_hint_never_points_before_what_is_committed():
    peer = lone(3, 2, 2, 3, 3, commit=3)
    peer.compact(3)
    peer.answers()
    peer.node.step("K1", Append(5, 5, 1, 3, commands(6, 5)))
    assert peer.answer() == AppendReply(5, 5, True, 3, 2)
    peer.node.step("K1", Append(5, 5, 2, 3, commands(6, 5)))
    assert peer.answer() == AppendReply(5, 5, True, 3, 2)


# Feeding from a log that was cut


def cut_leader():
    """K1 leads with entries up to 12 and has the last 3 in its log; K3 has been away since 2."""
    cluster = Cluster(3, settings=SETTINGS)
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    for i in range(10):
        leader.propose(b"%d" % i)
        cluster.settle()
    leader.compact(9)
    cluster.settle()
    return cluster, leader


def test_a_follower_within_the_log_is_fed_from_it():
    cluster, leader = cut_leader()
    cluster["K2"].crash()
    leader.propose(b"more")
    cluster.settle()
    cluster["K2"].restart()
    cluster.tick(4)
    assert leader.wanted == []
    assert cluster["K2"].applied == leader.applied


@pytest.mark.parametrize("answered", [True, False])
def test_a_fetch_while_the_log_is_cut(answered):
    """Whether the disk could still read the entries or not: they are before the log, a copy is needed."""
    cluster = Cluster(3, settings=replace(SETTINGS, tail_bytes=0))
    cluster.auto_snapshots = False
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K3")
    leader.node.unreachable("K3")
    for i in range(10):
        leader.propose(b"%d" % i)
        cluster.settle()
    cluster.heal()
    cluster.tick(2)
    (fetch,) = leader.fetches
    assert (fetch.peer, fetch.first) == ("K3", 3)
    entries = leader.disk.read(fetch.first, fetch.last) if answered else []
    leader.compact(8)
    cluster.settle()
    leader.node.fetched("K3", entries)
    cluster.settle()
    assert leader.wanted == ["K3"]
    assert next(p for p in leader.node.progress() if p.peer == "K3").state == "snapshot"


def test_a_new_leader_that_was_never_answered_does_not_go_back_to_the_beginning():
    """Nothing is known of K3 yet: that it was away is no reason to send it everything, or a copy."""
    cluster, leader = cut_leader()
    cluster["K3"].restart()
    cluster.tick(4)
    assert cluster["K3"].applied == leader.applied
    leader.crash()
    cluster["K3"].crash()
    cluster["K2"].compact(9)
    cluster["K2"].node.leader_lost("K1")
    leader.restart()
    cluster.elect("K2")
    cluster["K2"].node.unreachable("K3")
    cluster["K3"].restart()
    cluster["K2"].node.step("K3", HeartbeatReply(3, 0, 0))
    cluster.tick(4)
    assert cluster["K2"].wanted == []
    assert cluster["K3"].applied == cluster["K2"].applied
