"""What is offered, and how receivers fetch it, one chunk after the other."""

from kraft.host.snapshots.sender import NO_CHECKPOINT_SECONDS, OFFER_SECONDS
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.node.status import TransferStatus
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest
from tests.host.snapshot_files import (
    ROWS,
    File,
    Follower,
    Leader,
    asked,
    nothing_arrives,
    pass_time,
    some_rows,
    without,
)

# -- the plain course ---------------------------------------------------------------------------------


def test_a_follower_fetches_the_whole_snapshot_chunk_by_chunk(clock, network, leader, follower):
    leader.offer("K2")
    pass_time(clock, 1.0, leader, follower)

    assert follower.rows == ROWS
    assert follower.received_snapshots[0].checkpoint == leader.disk.file.checkpoint
    assert len(network.messages(SnapshotChunk)) == 50
    assert len(network.messages(SnapshotOffer)) == 1
    assert len(network.messages(SnapshotRequest)) == len(network.messages(SnapshotChunk))


def test_both_sides_report_the_transfer(clock, network, leader, follower):
    leader.offer("K2")
    pass_time(clock, 1.0, leader, follower)

    assert leader.tale.names() == ["snapshot_send_started", "snapshot_send_ended"]
    assert follower.tale.names() == ["snapshot_receive_started", "snapshot_receive_ended"]
    assert leader.tale.transfers == [("send", "done")]
    assert follower.tale.transfers == [("receive", "done")]
    sent, received = leader.tale.last("snapshot_send_ended"), follower.tale.last("snapshot_receive_ended")
    assert (sent["peer"], received["peer"]) == ("K2", "K1")
    assert sent["index"] == received["index"] == 100
    assert sent["bytes"] == received["bytes"] > leader.disk.file.checkpoint.size
    assert sent["seconds"] > 0


def test_the_view_is_closed_with_its_last_receiver(clock, network, leader, follower):
    leader.offer("K2")
    clock.advance(0.01)
    assert leader.sender.index == 100

    pass_time(clock, 1.0, leader, follower)

    assert leader.disk.open_readers == []
    assert leader.sender.index is None
    assert leader.given_back == []


def test_an_empty_snapshot_is_one_chunk_without_rows(clock, network):
    leader = Leader(clock, network, File(7, {}))
    follower = Follower(clock, network, leaders=[leader])
    leader.offer("K2")
    pass_time(clock, 1.0, leader, follower)

    assert follower.rows == {}
    assert len(network.messages(SnapshotChunk)) == 1


def test_progress_is_visible_on_both_sides(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.1)
    leader.offer("K2")
    pass_time(clock, 1.0, leader, slow)

    [out], [in_] = leader.sender.status(), slow.receiver.status()
    size = leader.disk.file.checkpoint.size
    assert out == TransferStatus("K2", "send", 100, out.done_bytes, size, out.seconds)
    assert in_ == TransferStatus("K1", "receive", 100, in_.done_bytes, size, in_.seconds)
    assert 0 < in_.done_bytes <= out.done_bytes < size
    assert 0.5 < in_.seconds <= 1.1

    pass_time(clock, 60.0, leader, slow)
    assert leader.sender.status() == slow.receiver.status() == ()


def test_a_long_transfer_reports_progress(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=2.5)
    leader.offer("K2")
    pass_time(clock, 24.0, leader, slow)

    told = [fields["bytes"] for name, fields in slow.tale.events if name == "snapshot_receive_progress"]
    assert len(told) == 2
    assert told == sorted(told)


# -- what is offered, and when ------------------------------------------------------------------------


def test_an_offer_is_repeated_until_it_is_taken_up(clock, network, leader, follower):
    network.weather = without(SnapshotOffer)
    leader.offer("K2")
    pass_time(clock, 3.5 * OFFER_SECONDS, leader, follower)
    assert len(network.messages(SnapshotOffer)) == 4

    network.weather = lambda message: [(0.001, message)]
    pass_time(clock, 3.0, leader, follower)
    assert follower.rows == ROWS


def test_consensus_may_name_a_follower_again_and_again(clock, network, leader, follower):
    for _ in range(3):
        leader.offer("K2")
    pass_time(clock, 1.0, leader, follower)

    assert len(leader.disk.readers) == 1
    assert follower.tale.transfers == [("receive", "done")]


def test_without_a_checkpoint_one_is_wanted_and_offered_when_it_is_there(clock, network, leader, follower):
    file, leader.disk.file = leader.disk.file, None
    leader.offer("K2")
    pass_time(clock, 0.5, leader, follower)
    assert leader.wanted == 1

    leader.disk.file = file
    leader.sender.checkpointed()
    pass_time(clock, 1.0, leader, follower)

    assert follower.rows == ROWS
    assert leader.given_back == []


def test_without_a_checkpoint_the_follower_is_soon_given_back(clock, network, leader, follower):
    leader.disk.file = None
    leader.offer("K2")
    pass_time(clock, NO_CHECKPOINT_SECONDS + 0.1, leader, follower)

    assert leader.given_back == ["K2"]
    assert leader.tale.events == []
    assert leader.sender.status() == ()

    leader.offer("K2")
    pass_time(clock, 0.1, leader, follower)
    assert leader.wanted == 2


def test_a_newer_checkpoint_is_offered_while_nobody_fetches_the_old_one(clock, network, leader, follower):
    network.weather = nothing_arrives
    leader.offer("K2")
    pass_time(clock, 1.0, leader)
    leader.disk.file = File(200, some_rows(50, seed=2))
    leader.sender.checkpointed()
    pass_time(clock, 1.0, leader)

    assert leader.sender.index == 200
    assert len(leader.disk.open_readers) == 1


def test_a_newer_checkpoint_does_not_restart_a_transfer_under_way(clock, network, leader):
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    leader.offer("K2")
    pass_time(clock, 0.5, leader, slow)
    leader.disk.file = File(200, some_rows(50, seed=2))
    leader.sender.checkpointed()
    pass_time(clock, 5.0, leader, slow)

    assert [r.checkpoint.base.index for r in slow.received_snapshots] == [100]


def test_a_follower_that_has_the_index_already_says_so(clock, network, leader, follower):
    follower.commit = 100
    leader.offer("K2")
    pass_time(clock, 0.1, leader, follower)

    assert follower.not_needed == 1
    assert follower.disk.writers == []


def test_a_request_without_an_offer_is_not_answered(clock, network, leader, follower):
    leader.offer("K2")
    pass_time(clock, 0.01, leader)
    leader.sender.requested("K3", SnapshotRequest(100, 1, None))
    clock.advance(0.1)

    assert "K3" not in [to for _, to, _ in network.log]


# -- several receivers --------------------------------------------------------------------------------


def test_two_receivers_share_one_view(clock, network, leader, follower):
    other = Follower(clock, network, "K3", [leader], delay=0.01)
    leader.offer("K2")
    clock.advance(0.01)
    leader.offer("K3")
    pass_time(clock, 0.05, leader, follower, other)
    assert len(leader.sender.status()) == 2
    pass_time(clock, 3.0, leader, follower, other)

    assert follower.rows == other.rows == ROWS
    assert len(leader.disk.readers) == 1
    assert leader.disk.open_readers == []


def test_each_receiver_gets_its_own_share_of_the_speed(clock, network):
    """A second receiver does not slow the first one down."""
    settings = SnapshotSettings(chunk_bytes=100, bytes_per_second=1000, hold=60.0)
    leader = Leader(clock, network, File(100, ROWS), settings=settings)
    followers = [Follower(clock, network, id_, [leader]) for id_ in ("K2", "K3")]
    leader.offer("K2", "K3")
    pass_time(clock, 30.0, leader, *followers)

    for follower in followers:
        ended = follower.tale.last("snapshot_receive_ended")
        largest = max(len(c.rows) for c in network.messages(SnapshotChunk))
        assert (ended["bytes"] - largest) / 1000 <= ended["seconds"] <= ended["bytes"] / 1000 + 0.2


def test_a_throttled_chunk_is_not_read_before_its_turn(clock, network):
    """No chunk is kept in memory while it waits, however often it is requested."""
    settings = SnapshotSettings(chunk_bytes=100, bytes_per_second=10, hold=60.0)
    leader = Leader(clock, network, File(100, ROWS), settings=settings)
    follower = Follower(clock, network, leaders=[leader])
    leader.offer("K2")
    pass_time(clock, 8.0, leader, follower)

    assert leader.disk.reads == 1
    assert len(network.messages(SnapshotRequest)) > 2


def test_neither_side_holds_more_than_one_chunk(clock, network, leader):
    """Everything arrives twice: the disk still never has two pieces to read or to write at once.

    That there is one write at a time the writer itself checks.
    """
    leader.disk.delay = 0.02
    slow = Follower(clock, network, leaders=[leader], delay=0.05)
    network.weather = lambda message: [(0.001, message), (0.03, message)]
    leader.offer("K2")
    pass_time(clock, 20.0, leader, slow)

    assert slow.rows == ROWS
    assert leader.disk.reading_most == 1


def test_a_request_that_comes_while_the_disk_works_waits(clock, network, leader):
    leader.disk.delay = 0.02
    leader.offer("K2")
    clock.advance(0.1)
    asked(leader, None, b"key 0003")
    clock.advance(0.1)

    assert leader.disk.reading_most == 1
    assert [chunk.after for chunk in network.messages(SnapshotChunk)] == [None, b"key 0003"]


def test_a_late_copy_of_a_request_does_not_replace_a_newer_one(clock, network):
    settings = SnapshotSettings(chunk_bytes=100, bytes_per_second=100, hold=60.0)
    leader = Leader(clock, network, File(100, ROWS), settings=settings)
    leader.offer("K2")
    clock.advance(0.1)
    asked(leader, None, b"key 0003", None)
    clock.advance(10.0)

    assert [chunk.after for chunk in network.messages(SnapshotChunk)] == [None, b"key 0003"]


def test_a_receiver_that_is_throttled_is_not_given_back(clock, network):
    settings = SnapshotSettings(chunk_bytes=100, bytes_per_second=1, hold=10.0)
    leader = Leader(clock, network, File(100, ROWS), settings=settings)
    leader.offer("K2")
    clock.advance(0.1)
    asked(leader, None, b"key 0003")
    pass_time(clock, 20.0, leader)

    assert leader.given_back == []
    assert len(network.messages(SnapshotOffer)) > 10  # signs of life


def test_a_chunk_read_for_a_lost_link_is_not_sent(clock, network, leader):
    leader.disk.delay = 0.02
    leader.offer("K2")
    clock.advance(0.1)
    asked(leader, None)
    leader.sender.link_down("K2")
    asked(leader, b"key 0003")
    clock.advance(0.1)

    assert leader.disk.reading_most == 1
    assert [chunk.after for chunk in network.messages(SnapshotChunk)] == [b"key 0003"]
