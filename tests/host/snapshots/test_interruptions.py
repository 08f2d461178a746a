"""Transfers over a bad network, with other senders, other snapshots and a lack of patience."""

from zlib import crc32

import msgspec
import pytest

from kraft.host.snapshots.sender import OFFER_SECONDS
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest
from kraft.raft.membership.configuration import Base
from tests.host.snapshot_files import (
    ROWS,
    SETTINGS,
    File,
    Follower,
    Leader,
    nothing_arrives,
    pass_time,
    some_rows,
    without,
)

# -- faults of the network ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SnapshotRequest, SnapshotChunk])
def test_a_lost_message_is_repeated(clock, network, leader, follower, kind):
    lost = []

    def weather(message):
        if isinstance(message, kind) and message.after and message not in lost:
            lost.append(message)
            return []
        return [(0.001, message)]

    network.weather = weather
    leader.offer("K2")
    pass_time(clock, 60.0, leader, follower)

    assert len(lost) == 49
    assert follower.rows == ROWS


def test_a_late_copy_of_a_chunk_is_not_written_again(clock, network, leader, follower):
    network.weather = lambda message: [(0.001, message), (0.0305, message), (0.31, message)]
    leader.offer("K2")
    pass_time(clock, 3.0, leader, follower)

    assert follower.rows == ROWS
    assert "snapshot_receive_stalled" not in follower.tale.names()


def test_a_request_is_repeated_less_and_less_often(clock, network, leader, follower):
    """Over a slow link the chunk is on its way, and each copy would delay it further."""
    network.weather = without(SnapshotChunk)
    leader.offer("K2")
    pass_time(clock, 40.0, leader, follower)

    assert len(network.messages(SnapshotRequest)) == 6  # after 0, 1, 3, 7, 15 and 30 seconds


def test_on_a_slow_link_no_chunk_is_sent_twice(clock, network, leader, follower):
    """This holds from the second chunk on: the first one shows that a chunk takes 4 seconds."""
    network.weather = lambda m: [(4.0 if isinstance(m, SnapshotChunk) else 0.01, m)]
    leader.offer("K2")
    pass_time(clock, 300.0, leader, follower)

    sent = [chunk.after for chunk in network.messages(SnapshotChunk) if chunk.after]
    assert follower.rows == ROWS
    assert len(sent) == len(set(sent))


def test_patience_grows_when_a_link_becomes_slow(clock, network, leader, follower):
    """At first every chunk is sent several times, then only once."""
    leader.offer("K2")
    clock.advance(0.02)
    network.weather = lambda m: [(4.0 if isinstance(m, SnapshotChunk) else 0.01, m)]
    pass_time(clock, 300.0, leader, follower)

    sent = [chunk.after for chunk in network.messages(SnapshotChunk)]
    assert follower.rows == ROWS
    assert len(sent) - len(set(sent)) < 10


def test_a_damaged_chunk_is_fetched_again(clock, network, leader, follower):
    flipped: list[SnapshotChunk] = []

    def weather(message):
        if isinstance(message, SnapshotChunk) and message.after and not flipped:
            rows = bytearray(message.rows)
            rows[len(rows) // 2] ^= 1
            flipped.append(message)
            message = msgspec.structs.replace(message, rows=bytes(rows))
        return [(0.001, message)]

    network.weather = weather
    leader.offer("K2")
    pass_time(clock, 5.0, leader, follower)

    assert flipped
    assert follower.rows == ROWS
    assert follower.tale.names().count("snapshot_receive_stalled") == 1


def test_chunks_that_do_not_advance_are_refused(clock, network, leader, follower):
    """Repeated rows could keep a receiver busy forever; a chunk without rows can only be the last."""
    network.weather = without(SnapshotChunk)
    leader.offer("K2")
    pass_time(clock, 0.1, leader, follower)
    empty = SnapshotChunk(100, 1, None, b"", crc32(b""), b"", end=False)
    follower.receiver.chunk("K1", empty)

    assert follower.tale.names()[-1] == "snapshot_receive_stalled"


@pytest.mark.parametrize(
    "stranger",
    [
        {"sender": "K3"},
        {"index": 99},
        {"term": 2},
        {"after": b"somewhere"},
    ],
)
def test_only_the_requested_chunk_is_written(clock, network, leader, follower, stranger):
    network.weather = without(SnapshotChunk)
    leader.offer("K2")
    pass_time(clock, 0.1, leader, follower)
    chunk = network.messages(SnapshotChunk)[0]
    sender = stranger.pop("sender", "K1")
    follower.receiver.chunk(sender, msgspec.structs.replace(chunk, **stranger))
    clock.advance(0.1)
    assert follower.disk.writers[0].rows == {}

    follower.receiver.chunk("K1", chunk)
    clock.advance(0.1)
    assert follower.disk.writers[0].rows != {}


def test_a_broken_link_costs_no_chunk_that_was_written(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    network.weather = nothing_arrives
    leader.sender.link_down("K2")
    slow.receiver.link_down("K1")
    pass_time(clock, 20.0, leader, slow)
    written = set(slow.disk.writers[0].rows)
    assert written

    network.weather = lambda message: [(0.001, message)]
    network.log.clear()
    pass_time(clock, 5.0, leader, slow)

    assert slow.rows == ROWS
    assert len(slow.disk.writers) == 1
    assert min(chunk.after for chunk in network.messages(SnapshotChunk)) >= max(written)


def test_after_a_broken_link_one_offer_resumes_the_transfer(clock, network, leader, follower):
    """This holds however long the receiver has learned to wait."""
    network.weather = without(SnapshotChunk)
    leader.offer("K2")
    pass_time(clock, 31.0, leader, follower)
    leader.sender.link_down("K2")
    follower.receiver.link_down("K1")
    network.weather = lambda message: [(0.001, message)]
    pass_time(clock, OFFER_SECONDS + 0.5, leader, follower)

    assert follower.rows == ROWS


# -- other senders and other snapshots -------------------------------------------------------------------


def test_a_new_leader_with_an_equal_snapshot_resumes_the_transfer(clock, network, leader):
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    leader.sender.stop()
    written = set(slow.disk.writers[0].rows)

    successor = Leader(clock, network, File(100, ROWS), "K3")
    slow.leaders = [successor]
    successor.offer("K2")
    network.log.clear()
    pass_time(clock, 10.0, successor, slow)

    assert slow.rows == ROWS
    assert len(slow.disk.writers) == 1
    assert min(chunk.after for chunk in network.messages(SnapshotChunk)) >= max(written)
    assert leader.tale.transfers == [("send", "abandoned")]
    assert leader.disk.open_readers == []


def test_another_sender_of_an_equal_snapshot_waits_while_chunks_come(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    offer = network.messages(SnapshotOffer)[0]
    for _ in range(5):
        slow.receiver.offered("K3", offer, 0, False)
        pass_time(clock, 0.2, leader, slow)

    assert "K3" not in [to for _, to, _ in network.log]


def test_a_newer_snapshot_of_a_restarted_sender_is_fetched_from_the_start(clock, network, leader):
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)

    rows = some_rows(50, seed=2)
    again = Leader(clock, network, File(200, rows))
    slow.leaders = [again]
    again.offer("K2")
    pass_time(clock, 10.0, again, slow)

    assert slow.rows == rows
    assert slow.tale.transfers == [("receive", "abandoned"), ("receive", "done")]
    assert len(slow.disk.files_left) == 1


def test_a_request_for_a_snapshot_that_is_gone_is_answered_by_an_offer(clock, network, leader, follower):
    leader.offer("K2")
    clock.advance(0.01)
    network.log.clear()
    leader.sender.requested("K2", SnapshotRequest(50, 1, b"key 0003"))

    assert [type(message) for _, _, message in network.log] == [SnapshotOffer]


def test_old_offers_do_not_disturb_a_transfer_under_way(clock, network, leader):
    """They come from another sender, or from this one long ago. To follow each would end in fetching none."""
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.2, leader, slow)
    old = File(50, some_rows(10)).checkpoint
    stale = SnapshotOffer(old.base, old.revision, old.keys, old.size, old.sum)
    for _ in range(20):
        slow.receiver.offered("K1", stale, slow.commit, False)
        slow.receiver.offered("K3", msgspec.structs.replace(stale, base=Base(90, 2)), slow.commit, False)
        pass_time(clock, 0.1, leader, slow)
    pass_time(clock, 3.0, leader, slow)

    assert [r.checkpoint.base.index for r in slow.received_snapshots] == [100]
    assert len(slow.disk.writers) == 1


def test_another_snapshot_is_fetched_when_the_sender_is_silent(clock, network, leader):
    """Even an older snapshot is fetched: the new leader has no other."""
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    leader.sender.stop()
    rows = some_rows(10)
    successor = Leader(clock, network, File(50, rows), "K3")
    slow.leaders = [successor]
    successor.offer("K2")
    pass_time(clock, 10.0, successor, slow)

    assert slow.rows == rows


def test_a_transfer_ends_when_the_log_has_caught_up(clock, network, leader):
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    slow.commit = 100
    pass_time(clock, 1.0, leader, slow)

    assert slow.receiver.status() == ()
    assert slow.disk.files_left == []
    assert slow.tale.last("snapshot_receive_ended")["outcome"] == "abandoned"


def test_a_receiver_that_no_longer_needs_the_snapshot_is_not_served(clock, network, leader):
    """Consensus says so: the receiver was removed, or has the snapshot of a former leader."""
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    leader.needy.clear()
    pass_time(clock, 1.0, leader)

    assert leader.tale.transfers == [("send", "abandoned")]
    assert leader.disk.open_readers == []
    assert leader.given_back == []


# -- the end of patience ------------------------------------------------------------------------------


def test_a_silent_receiver_is_given_back_after_the_hold(clock, network, leader):
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    network.weather = nothing_arrives
    pass_time(clock, SETTINGS.hold - 1.0, leader)
    assert leader.disk.open_readers

    pass_time(clock, 2.0, leader)

    assert leader.given_back == ["K2"]
    assert leader.disk.open_readers == []
    assert leader.tale.transfers == [("send", "failed")]


def test_a_silent_sender_is_given_up_after_the_hold(clock, network, leader):
    slow = Follower(clock, network, delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    leader.sender.stop()
    pass_time(clock, SETTINGS.hold - 1.0, slow)
    assert slow.disk.files_left

    pass_time(clock, 2.0, slow)

    assert slow.disk.files_left == []
    assert slow.tale.last("snapshot_receive_failed")["reason"] == "K1 stopped sending"


def test_a_transfer_longer_than_the_hold_is_not_given_up(clock, network):
    """Neither side gives up while the speed limit makes it wait."""
    settings = SnapshotSettings(chunk_bytes=2000, bytes_per_second=100, hold=10.0)
    leader = Leader(clock, network, File(100, ROWS), settings=settings)
    follower = Follower(clock, network, leaders=[leader], settings=settings)
    leader.offer("K2")
    pass_time(clock, 300.0, leader, follower, step=0.25)

    assert follower.rows == ROWS
    assert leader.given_back == []
    assert len(follower.disk.writers) == 1
