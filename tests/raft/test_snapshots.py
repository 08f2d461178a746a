"""Snapshots replace entries that are gone: the follower's side and the leader's."""

import pytest

from kraft.raft.errors import InvariantViolation
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Append, AppendReply, Entry, EntryKind, HardState, Heartbeat
from tests.raft.builder import lone
from tests.raft.disk import Image
from tests.raft.network import Cluster
from tests.raft.values import BASE, EMPTY, TRIO, commands, configuration


def base(index, term, config=TRIO, configuration_index=1):
    return Base(index, term, 0, configuration_index, config)


def image(index, *terms, config=TRIO, configuration_index=1):
    """A copy at `index` made of entries of `terms` after the bootstrap entry."""
    applied = (*BASE.tail, *commands(2, *terms))
    assert len(applied) == index
    return Image(base(index, applied[-1].term, config, configuration_index), applied)


# The follower


def test_a_copy_takes_the_place_of_a_log_that_ends_before_it():
    peer = lone(3, 2, 2, commit=2)
    peer.node.step("K1", Heartbeat(3, 2, 0))
    peer.answers()
    assert peer.install(image(6, 2, 2, 2, 3, 3))
    ready = peer.ready()
    assert ready is not None
    assert ready.persist is not None
    assert ready.restored == ready.persist.base == base(6, 3)
    assert ready.persist.state_file == 1
    assert ready.apply == ()
    assert (peer.state.log.first_index, peer.state.log.last_index) == (7, 6)
    assert (peer.state.commit, peer.state.applied, len(peer.applied)) == (6, 6, 6)
    peer.finish_write()
    assert peer.answer() == AppendReply(3, 6)
    assert (peer.disk.entries, peer.disk.base, peer.state.log.durability.durable) == ([], base(6, 3), 6)


def test_the_leader_is_told_only_when_the_copy_is_in_force_on_disk():
    peer = lone(3, 2)
    peer.node.step("K1", Heartbeat(3, 1, 0))
    peer.answers()
    peer.install(image(4, 2, 2, 3))
    ready = peer.ready()
    assert ready is not None
    assert ready.send_now == ()
    assert [o.message for o in ready.send_after_persist] == [AppendReply(3, 4)]


def test_entries_after_a_matching_copy_stay():
    """This node may have acknowledged them (RP 7)."""
    peer = lone(3, 2, 2, 3, 3)
    peer.node.step("K1", Heartbeat(3, 1, 0))
    peer.answers()
    assert peer.install(image(4, 2, 2, 3))
    peer.answers()
    assert (peer.state.log.first_index, peer.state.log.last_index, peer.state.commit) == (
        5,
        5,
        4,
    )
    assert [e.index for e in peer.disk.entries] == [5]
    peer.node.step("K1", Heartbeat(3, 5, 0))
    peer.answers()
    assert [e.index for e in peer.applied] == [1, 2, 3, 4, 5]


def test_a_log_with_a_conflicting_entry_at_the_copys_last_index_goes_as_a_whole():
    """Kept it would be refused and the same copy sent for ever."""
    peer = lone(3, 2, 2, 2, 2)
    peer.node.step("K1", Heartbeat(4, 1, 0))
    peer.answers()
    assert peer.install(image(4, 2, 2, 3))
    peer.answers()
    assert (peer.state.log.first_index, peer.state.log.last_index) == (5, 4)
    assert peer.disk.entries == []
    peer.node.step("K1", Append(4, 4, 3, 4, commands(5, 4)))
    assert peer.answer() == AppendReply(4, 5)


@pytest.mark.parametrize("index", [1, 2, 3])
def test_a_copy_of_what_is_committed_here_is_no_news(index):
    peer = lone(3, 2, 2, 2, commit=3)
    assert not peer.install(image(index, *(2, 2)[: index - 1]))
    assert peer.ready() is None
    assert peer.state.log.base.index == 0


def test_a_leader_takes_no_copy():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    assert not leader.install(image(9, *(2,) * 8))


def test_a_campaign_gives_way_to_a_copy():
    peer = lone(3, 2)
    peer.node.campaign()
    assert peer.install(image(5, 2, 2, 2, 2))
    assert peer.state.role == "follower"


def test_a_copy_brings_its_term():
    """A log's last term is never above the node's own."""
    peer = lone(3, 2)
    assert peer.install(image(5, 2, 2, 2, 7))
    peer.answers()
    assert peer.state.term == 7
    assert peer.disk.hard_state == HardState(7)
    peer.restart()
    assert (peer.state.term, peer.state.log.last_index) == (7, 5)


def test_a_new_member_begins_with_a_copy():
    peer = lone(restored=EMPTY)
    peer.node.step("K1", Append(3, 9, 3, 9, ()))
    assert peer.answer() == AppendReply(3, 9, True, 0, 0)
    assert peer.install(image(4, 2, 2, 3))
    assert peer.answer() == AppendReply(3, 4)
    assert peer.state.configuration == TRIO
    assert peer.state.role == "follower"


def test_what_was_being_written_when_a_copy_came_does_not_look_durable():
    """The late notice of a write of entries that went with the log (the ABA trap)."""
    peer = lone(3)
    peer.node.step("K1", Append(3, 1, 1, 1, commands(2, 3, 3, 3, 3)))
    peer.ready()
    peer.node.step("K3", Heartbeat(5, 1, 0))
    peer.cluster.wires.clear()
    peer.install(image(3, 2, 4))
    peer.node.step("K3", Append(5, 3, 4, 3, commands(4, 5)))
    peer.ready()
    peer.finish_write()
    assert peer.state.log.durability.durable == 1
    peer.finish_write()
    assert peer.state.log.durability.durable == 4
    assert [e.term for e in peer.disk.entries] == [5]


def test_what_was_acknowledged_before_a_copy_stays_acknowledged():
    peer = lone(3)
    peer.node.step("K1", Append(3, 1, 1, 1, commands(2, 3, 3)))
    peer.ready()
    peer.install(image(9, *(3,) * 8))
    peer.finish_write()  # the checker sees that this answer is true
    assert [m for _, m in peer.answers()] == [AppendReply(3, 3), AppendReply(3, 9)]


def test_a_crash_before_the_switch_finds_the_old_pair_and_after_it_the_new_one():
    peer = lone(3, 2, 2, commit=3)
    peer.checkpoint()
    peer.install(image(6, 2, 2, 2, 3, 3))
    peer.ready()
    peer.restart()
    assert (peer.state.log.last_index, peer.state.log.base.index, len(peer.applied)) == (3, 0, 3)
    peer.install(image(6, 2, 2, 2, 3, 3))
    peer.answers()
    peer.restart()
    assert (peer.state.log.last_index, peer.state.log.base.index, len(peer.applied)) == (6, 6, 6)
    assert peer.state.commit == 6


# Configurations


def test_configurations_up_to_a_copy_are_replaced_by_its_own():
    newer = configuration("K1", "K2", "K3", learners=("K4",))
    peer = lone(3, 2)
    peer.install(image(5, 2, 2, 3, 3, config=newer, configuration_index=4))
    assert (peer.state.configuration, peer.state.configuration_index) == (newer, 4)


def test_an_uncommitted_configuration_does_not_outlive_a_copy_that_conflicts_with_it():
    peer = lone(2)
    entry = Entry(2, 2, 0, EntryKind.CONFIGURATION, configuration("K1").encode())
    peer.node.step("K1", Append(2, 1, 1, 1, (entry, *commands(3, 2))))
    peer.answers()
    assert peer.state.configuration == configuration("K1")
    peer.install(image(3, 3, 3))
    assert (peer.state.configuration, peer.state.configuration_index) == (TRIO, 1)


def test_an_uncommitted_configuration_after_a_matching_copy_stays_in_force():
    peer = lone(2)
    entry = Entry(3, 2, 0, EntryKind.CONFIGURATION, configuration("K1", "K2").encode())
    peer.node.step("K1", Append(2, 1, 1, 1, (*commands(2, 2), entry)))
    peer.install(image(2, 2))
    assert (peer.state.configuration, peer.state.configuration_index) == (
        configuration("K1", "K2"),
        3,
    )
    peer.answers()
    peer.node.step("K1", Append(3, 2, 2, 2, commands(3, 3)))
    assert peer.state.configuration == TRIO  # the copy's


def test_a_copy_carries_the_committed_configuration_only():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    leader.reconfigure(configuration("K1", "K2", "K3"))
    leader.checkpoint()
    assert leader.disk.image.base.configuration == configuration("K1", "K2", "K3", learners=("K4",))


# Reseeding


def test_a_new_state_leaves_the_log_alone():
    peer = lone(3, 2, 2, 2, 3, commit=5)
    good = image(3, 2, 2)
    peer.node.reseed(good.base, peer.disk.add_state(good))
    ready = peer.ready()
    assert ready is not None
    assert ready.persist is not None
    assert ready.restored == good.base
    assert (ready.persist.state_file, ready.persist.base, ready.apply) == (1, None, ())
    assert (peer.state.applied, peer.state.commit, peer.state.log.first_index) == (5, 5, 1)
    peer.finish_write()
    assert peer.disk.state == 1
    assert [e.index for e in peer.applied] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("wrong", [base(1, 1), base(6, 3), base(4, 3)])
def test_a_new_state_must_be_of_the_committed_log(wrong):
    peer = lone(3, 2, 2, 2, 3, commit=5)
    peer.compact(2)
    with pytest.raises(InvariantViolation):
        peer.node.reseed(wrong, 1)


# The leader


def left_without_entries(learners=()):
    """K1 leads, K3 came back, and what it lacks was cut off; no copy was made yet."""
    cluster = Cluster(3, learners=learners)
    cluster.auto_snapshots = False
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    for i in range(10):
        leader.propose(b"%d" % i)
        cluster.settle()
    leader.compact(9)
    leader.node.unreachable("K3")
    cluster.settle()
    cluster["K3"].restart()
    cluster.tick(2)
    return cluster, leader


def follower(leader, name="K3"):
    return next(p for p in leader.node.progress() if p.peer == name)


def test_a_follower_whose_next_entry_is_gone_is_named_once_and_gets_heartbeats_only():
    cluster, leader = left_without_entries()
    assert leader.wanted == ["K3"]
    assert follower(leader).state == "snapshot"
    leader.propose(b"more")
    cluster.tick(20)
    leader.node.unreachable("K3")
    cluster.tick(20)
    assert leader.wanted == ["K3"]
    assert follower(leader).state == "snapshot"
    assert follower(leader).inflight == 0
    assert (cluster["K3"].state.leader, cluster["K3"].state.log.last_index) == ("K1", 2)


def test_a_copy_brings_the_follower_back_into_step():
    cluster, leader = left_without_entries()
    assert leader.copy_to("K3")
    cluster.settle()
    assert follower(leader).state == "replicate"
    assert cluster["K3"].applied == leader.applied
    leader.propose(b"more")
    cluster.settle()
    assert follower(leader).match == leader.state.log.last_index


def test_a_copy_that_failed_is_wanted_again_when_the_follower_answers():
    cluster, leader = left_without_entries()
    cluster["K3"].crash()
    leader.wanted.clear()
    leader.node.snapshot_ended("K3")
    cluster.settle()
    assert follower(leader).state == "probe"
    assert leader.wanted == []  # it is not there
    cluster["K3"].restart()
    cluster.tick(4)
    assert leader.wanted == ["K3"]


def test_a_follower_that_has_what_is_needed_after_all_is_fed_without_a_copy():
    cluster, leader = left_without_entries()
    leader.node.step("K3", AppendReply(2, 9))
    cluster.checker.sees_all = False
    assert (follower(leader).state, follower(leader).next) == ("replicate", 10)


@pytest.mark.parametrize("reply", [AppendReply(2, 2), AppendReply(2, 8), AppendReply(2, 11, True, 2, 2)])
def test_old_answers_do_not_end_the_wait(reply):
    _, leader = left_without_entries()
    leader.node.step("K3", reply)
    leader.ready()
    assert follower(leader).state == "snapshot"
    assert leader.wanted == ["K3"]


def test_who_waits_for_a_copy_still_confirms_reads():
    cluster, leader = left_without_entries()
    cluster["K2"].crash()
    leader.node.read(5)
    cluster.settle()
    assert leader.reads == [(5, 12)]


def test_a_new_learner_is_fed_by_a_copy():
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    for i in range(10):
        leader.propose(b"%d" % i)
        cluster.settle()
    leader.compact(11)
    leader.reconfigure(configuration("K1", "K2", "K3", learners=("K4",)))
    cluster.tick(4)
    assert cluster["K4"].applied == leader.applied
    assert cluster["K4"].state.log.first_index > 1
    assert cluster["K4"].state.role == "learner"


def test_only_a_leader_names_followers_and_ends_copies():
    cluster, _ = left_without_entries()
    cluster["K2"].node.snapshot_ended("K3")
    assert cluster["K2"].node.take_ready() is None


def test_heartbeats_tell_how_far_the_leader_is():
    _, leader = left_without_entries()
    leader.node.tick()
    leader.node.tick()
    assert leader.answers() == [("K2", Heartbeat(2, 12, 0, 12)), ("K3", Heartbeat(2, 2, 0, 12))]
