"""One transfer at a time between a node with the state and a node that needs it, over a faulty network."""

from zlib import crc32

import msgspec
import pytest

from kraft.host.snapshots.receiver import REFUSALS_MAX, SWITCH_SECONDS
from kraft.host.snapshots.sender import NO_CHECKPOINT_SECONDS, OFFER_SECONDS, QUIET_SECONDS
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.node.status import TransferStatus
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest
from kraft.raft.membership.configuration import Base
from tests.host.fakes import Clock
from tests.host.snapshot_files import SETTINGS, File, Follower, Leader, Network, pass_time, some_rows

ROWS = some_rows(200)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def network(clock):
    return Network(clock)


@pytest.fixture
def leader(clock, network):
    return Leader(clock, network, File(100, ROWS))


@pytest.fixture
def follower(clock, network, leader):
    return Follower(clock, network, leaders=[leader])


def nothing_arrives(message):
    return []


def without(kind):
    """Weather in which messages of this kind are lost."""
    return lambda message: [] if isinstance(message, kind) else [(0.001, message)]


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


def asked(leader, *keys):
    """Request the chunks after these keys, one directly after the other."""
    for key in keys:
        leader.sender.requested("K2", SnapshotRequest(100, 1, key))


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
