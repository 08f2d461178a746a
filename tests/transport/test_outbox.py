"""The queues of one link: what is control, what is bulk, and what each may hold."""

from itertools import count
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.peerwire import codec
from kraft.peerwire.frames import BULK, CONTROL, HEADER_BYTES, LINK, PIECE_BYTES, PING, FrameReader, probe
from kraft.peerwire.messages import Forward, ForwardReply, Numbered, ReadIndex, SnapshotChunk, SnapshotRequest
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import Append, Heartbeat
from kraft.transport.outbox import Outbox

BEAT = Heartbeat(1, 0, 1)


def outbox(queue=1 << 30, control=1 << 20, message=1 << 30):
    return Outbox(queue, control, message)


def put(box, *messages):
    batch = [(0, message) for message in messages]
    return box.put(batch, codec.encode(batch))


def forward(size, request=1):
    return Forward(request, 0, b"x" * size)


def received(box):
    """All that leaves, as the peer sees it: (channel, messages)."""
    reader, seen = FrameReader(), []
    reader.open()
    while (data := box.next_frame()) is not None:
        assert len(data) <= PIECE_BYTES + HEADER_BYTES
        reader.feed(data)
        while (message := reader.next_message()) is not None:
            seen.append((message[0], [m for _, m in codec.decode(message[1])]))
    return seen


def test_control_goes_first_and_bulk_in_order():
    """Read rounds and heartbeats overtake; appends, forwards and their answers do not overtake each other."""
    box = outbox()
    empty, reply = Append(1, 0, 0, 0, ()), ForwardReply(1, 0, b"x")
    put(box, forward(10))
    put(box, empty)
    put(box, reply, BEAT)
    put(box, ReadIndex(1))

    assert received(box) == [
        (CONTROL, [BEAT]),
        (CONTROL, [ReadIndex(1)]),
        (BULK, [forward(10)]),
        (BULK, [empty]),
        (BULK, [reply]),
    ]
    assert box.is_empty


def test_a_message_with_numbers_waits_where_the_message_in_it_would():
    box = outbox()
    beat, entries = (
        Numbered(each, ReplicaNumber(2, 7), UNNUMBERED) for each in (BEAT, Append(1, 0, 0, 0, ()))
    )
    put(box, entries, beat)
    assert received(box) == [(CONTROL, [beat]), (BULK, [entries])]


def test_control_goes_between_pieces():
    """What is put while a large batch is on its way leaves next."""
    box = outbox()
    put(box, forward(PIECE_BYTES * 3))
    frames = [box.next_frame()]
    put(box, BEAT)
    frames.append(box.next_frame())

    assert [data[8] for data in frames] == [BULK, CONTROL]
    assert box.bulk_waiting > PIECE_BYTES


@given(st.lists(st.integers(0, 5 * PIECE_BYTES // 2), max_size=4))
def test_sizes_are_accounted_for(sizes):
    """What waits is counted exactly, and nothing is left when all has left."""
    box = outbox()
    batches = [forward(size, n) for n, size in enumerate(sizes)]
    for message in batches:
        assert put(box, message) is None
    assert box.bulk_waiting == sum(len(codec.encode([(0, message)])) for message in batches)

    assert [messages for _, messages in received(box)] == [[message] for message in batches]
    assert (box.bulk_waiting, box.control_waiting) == (0, 0)


@pytest.mark.parametrize("over", [0, 1])
def test_a_batch_at_the_edge_of_a_piece(over):
    """Exactly one piece is one frame, one byte more is two."""
    box = outbox()
    box.put([(0, forward(1))], b"x" * (PIECE_BYTES + over))

    frames = list(iter(box.next_frame, None))
    assert len(frames) == 1 + over


def test_bulk_beyond_its_bound_is_dropped_but_not_the_control_with_it():
    """The two bounds do not touch each other."""
    box = outbox(queue=1000)
    assert put(box, forward(600)) is None
    assert put(box, forward(600), BEAT) == "queue_full"
    assert put(box, forward(300)) is None

    assert [messages for _, messages in received(box)] == [[BEAT], [forward(600)], [forward(300)]]


def test_bulk_in_parts_is_taken_or_dropped_together():
    """Whatever part it is in. Control beside it leaves in any case."""
    box = outbox(queue=1000)
    parts = [[(0, forward(400, 1)), (0, BEAT)], [(0, BEAT), (0, forward(400, 2))]]
    encoded = [(part, codec.encode(part)) for part in parts]
    assert put(box, forward(300)) is None
    assert box.put_parts(encoded) == "queue_full"
    assert received(box) == [(CONTROL, [BEAT]), (CONTROL, [BEAT]), (BULK, [forward(300)])]
    assert box.put_parts(encoded) is None
    assert [messages for channel, messages in received(box) if channel == BULK] == [
        [forward(400, 1)],
        [forward(400, 2)],
    ]


def test_control_beyond_its_bound_is_dropped():
    """A peer that reads nothing costs no memory, by pings neither."""
    box = outbox(control=200)
    results = [put(box, BEAT) for _ in range(20)]
    assert results[0] is None
    assert results[-1] == "queue_full"
    while box.put_probe(probe(PING, 1)):
        pass
    assert box.control_waiting <= 200


def test_bulk_that_was_queued_is_not_called_dropped_with_the_control_beside_it():
    """The host forwards a dropped command again, so a wrong "dropped" would do it twice."""
    box = outbox(control=10)
    assert put(box, BEAT) == "queue_full"
    assert put(box, BEAT, forward(10)) is None
    assert [messages for _, messages in received(box)] == [[forward(10)]]


def test_a_large_batch_of_control_is_several_messages():
    """Control is never cut into pieces, so it is divided before."""
    box = outbox()
    beats = [BEAT] * 40_000
    put(box, *beats)

    seen = received(box)
    assert {channel for channel, _ in seen} == {CONTROL}
    assert sum(len(messages) for _, messages in seen) == len(beats)


def test_probes_are_link_messages():
    """They share the control queue."""
    box = outbox()
    box.put_probe(probe(PING, 1))
    assert box.next_frame()[8] == LINK


def test_message_ids_wrap():
    """A link that lives long does not break."""
    box = outbox()
    box.new_id = map(0xFFFF_FFFF.__and__, count(0xFFFF_FFFE)).__next__
    put(box, forward(PIECE_BYTES * 2))
    put(box, BEAT)
    assert len(received(box)) == 2


def chunk(size, place=b"a"):
    return SnapshotChunk(1, 1, None, b"x" * size, crc32(b"x" * size), place, False)


def test_chunks_leave_while_no_bulk_waits():
    """An Append waits for the piece that is on its way, not for the chunk, nor for those after it."""
    box = outbox()
    put(box, chunk(4 * PIECE_BYTES))
    put(box, chunk(10, b"b"))
    frames = [box.next_frame()]
    put(box, forward(2 * PIECE_BYTES))
    put(box, BEAT)
    reader = FrameReader()
    reader.open()
    reader.feed(frames[0])
    order = []
    while (data := box.next_frame()) is not None:
        reader.feed(data)
        while (message := reader.next_message()) is not None:
            order += [type(m) for _, m in codec.decode(message[1])]

    assert order == [Heartbeat, Forward, SnapshotChunk, SnapshotChunk]
    assert box.bulk_waiting == 0


def test_a_chunk_never_takes_the_place_of_bulk():
    """What a chunk may still fill is what bulk leaves of the bound; one chunk always fits, and is told of."""
    box = outbox(queue=1000)
    assert put(box, chunk(900)) is None
    assert put(box, forward(900)) is None
    assert put(box, chunk(50)) == "queue_full"
    assert put(box, chunk(50), BEAT) == "queue_full"
    assert put(box, forward(50), chunk(50)) is None
    assert [type(m) for _, messages in received(box) for m in messages] == [
        Heartbeat,
        Forward,
        Forward,
        SnapshotChunk,
    ]


def test_a_chunk_beyond_what_a_peer_puts_together_is_dropped(monkeypatch):
    """Its reader would close the link."""
    monkeypatch.setattr("kraft.transport.outbox.CHUNK_BYTES_MAX", 1000)
    box = outbox()
    assert put(box, chunk(1000)) == "too_large"
    assert put(box, chunk(900)) is None


def test_a_single_control_message_of_more_than_a_piece_goes_as_bulk():
    """A request with a long key; it can be cut there. Others of its batch stay control."""
    box = outbox()
    large = SnapshotRequest(1, 1, b"k" * PIECE_BYTES)
    assert put(box, BEAT, large, BEAT) is None

    assert received(box) == [(CONTROL, [BEAT]), (CONTROL, [BEAT]), (BULK, [large])]
