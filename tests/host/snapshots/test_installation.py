"""The receiver's disk, and the end of a transfer that puts the snapshot into use."""

import pytest

from kraft.host.snapshots.receiver import REFUSALS_MAX, SWITCH_SECONDS
from kraft.host.snapshots.sender import QUIET_SECONDS
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer
from tests.host.snapshot_files import (
    ROWS,
    File,
    Follower,
    pass_time,
    some_rows,
)

# -- the receiver's disk ------------------------------------------------------------------------------


def test_a_full_disk_delays_the_first_chunk(clock, network, leader, follower):
    follower.disk.full = True
    leader.offer("K2")
    pass_time(clock, 5.0, leader, follower)
    assert follower.tale.names() == ["snapshot_receive_stalled"]

    follower.disk.full = False
    pass_time(clock, 5.0, leader, follower)
    assert follower.rows == ROWS


def test_a_full_disk_delays_a_chunk_in_the_middle(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    slow.disk.full = True
    pass_time(clock, 10.0, leader, slow)
    slow.disk.full = False
    pass_time(clock, 10.0, leader, slow)

    assert slow.rows == ROWS
    assert len(slow.disk.writers) == 1
    assert slow.tale.names().count("snapshot_receive_stalled") == 1


def test_on_a_disk_that_stays_full_the_unfinished_file_is_removed(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    slow.disk.full = True
    pass_time(clock, 2.0 * REFUSALS_MAX, leader, slow)
    assert slow.disk.files_left == []
    assert slow.tale.last("snapshot_receive_failed")["reason"] == "the disk is full"

    slow.disk.full = False
    pass_time(clock, 10.0, leader, slow)
    assert slow.rows == ROWS


def test_a_disk_that_is_full_at_the_very_end_costs_no_second_transfer(clock, network, leader, follower):
    follower.disk.finish_problem = "the disk is full"
    leader.offer("K2")
    pass_time(clock, 2.5, leader, follower)
    follower.disk.finish_problem = ""
    pass_time(clock, 2.0, leader, follower)

    assert follower.rows == ROWS
    assert len(follower.disk.writers) == 1
    assert follower.tale.names().count("snapshot_receive_stalled") == 1


def test_a_stop_between_two_attempts_to_finish_leaves_no_file(clock, network, leader, follower):
    follower.disk.finish_problem = "the disk is full"
    leader.offer("K2")
    pass_time(clock, 2.5, leader, follower)
    follower.receiver.stop()
    pass_time(clock, 2.0, leader, follower)

    assert follower.disk.files_left == []
    assert follower.tale.transfers == [("receive", "abandoned")]


def test_a_snapshot_that_turns_out_wrong_is_fetched_again_later(clock, network, leader, follower):
    follower.disk.finish_problem = "the sum is wrong"
    leader.offer("K2")
    pass_time(clock, 30.0, leader, follower)
    assert follower.tale.transfers == [("receive", "failed")] * 3
    assert len(follower.disk.files_left) <= 1
    assert follower.tale.last("snapshot_receive_failed")["reason"] == "the sum is wrong"

    follower.disk.finish_problem = ""
    pass_time(clock, 60.0, leader, follower)
    assert follower.rows == ROWS


def test_offers_are_ignored_while_a_snapshot_is_finished(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader])
    leader.offer("K2")
    while len(network.messages(SnapshotChunk)) < 50:
        clock.advance(0.001)
    slow.disk.delay = 2.0
    pass_time(clock, 3.0, leader, slow)
    other = File(300, some_rows(5)).checkpoint
    newer = SnapshotOffer(other.base, other.revision, other.keys, other.size, other.sum)
    slow.receiver.offered("K1", newer, 0, False)
    pass_time(clock, 4.0, leader, slow)

    assert [r.checkpoint.base.index for r in slow.received_snapshots] == [100]
    assert len(slow.disk.writers) == 1


def test_a_complete_snapshot_is_not_fetched_again_before_it_is_in_use(clock, network, leader, follower):
    """A replica whose state is replaced stays fenced until that is durable, and offers go on meanwhile."""
    leader.offer("K2", reseed=True)
    follower.fenced = True
    pass_time(clock, 1.0, leader, follower)
    follower.fenced = True
    offer = network.messages(SnapshotOffer)[0]
    follower.receiver.offered("K1", offer, 0, True)
    clock.advance(0.1)
    assert len(follower.disk.writers) == 1

    clock.advance(SWITCH_SECONDS)
    follower.receiver.offered("K1", offer, 0, True)
    clock.advance(0.1)
    assert len(follower.disk.writers) == 2


def test_a_snapshot_that_is_not_taken_into_use_leaves_no_file(clock, network, leader, follower):
    follower.takes = False
    leader.offer("K2")
    pass_time(clock, 1.0, leader, follower)

    assert len(follower.disk.writers) == 1
    assert follower.disk.files_left == []


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_a_group_that_stops_in_the_middle_leaves_no_file(clock, network, leader, steps):
    """This holds whether the disk opens the file, writes, or verifies."""
    slow = Follower(clock, network, leaders=[leader], delay=0.04)
    leader.offer("K2")
    pass_time(clock, steps * 0.05, leader, slow)
    slow.receiver.stop()
    leader.sender.stop()
    pass_time(clock, 3.0, leader, slow)

    assert slow.disk.files_left == [] or slow.received_snapshots
    assert leader.disk.open_readers == []
    assert slow.receiver.status() == leader.sender.status() == ()
    offers = len(network.messages(SnapshotOffer))
    pass_time(clock, 3.0, leader, slow)
    assert len(network.messages(SnapshotOffer)) == offers


def test_a_view_that_opens_after_the_stop_is_closed(clock, network, leader):
    leader.disk.delay = 1.0
    leader.offer("K2")
    leader.sender.stop()
    clock.advance(2.0)

    assert len(leader.disk.readers) == 1
    assert leader.disk.open_readers == []


# -- replacing a wrong state --------------------------------------------------------------------------


def test_a_fenced_replica_takes_a_snapshot_older_than_its_own_log(clock, network, leader, follower):
    follower.commit, follower.fenced = 500, True
    leader.offer("K2", reseed=True)
    pass_time(clock, 1.0, leader, follower)

    assert follower.rows == ROWS
    assert follower.not_needed == 0


@pytest.mark.parametrize(("reseed", "fenced"), [(True, False), (False, True)])
def test_no_other_replica_takes_one(clock, network, leader, follower, reseed, fenced):
    follower.commit, follower.fenced = 500, fenced
    leader.offer("K2", reseed=reseed)
    pass_time(clock, 1.0, leader, follower)

    assert follower.disk.writers == []


def test_a_reseed_ends_when_no_more_requests_come(clock, network, leader, follower):
    """Consensus does not know of it: a replica that is loading could come back and ask again."""
    follower.commit, follower.fenced = 500, True
    leader.offer("K2", reseed=True)
    pass_time(clock, QUIET_SECONDS - 1.0, leader, follower)
    assert len(leader.sender.status()) == 1

    pass_time(clock, 2.0, leader, follower)

    assert leader.tale.transfers == [("send", "done")]
    assert leader.given_back == ["K2"]
    assert leader.disk.open_readers == []
