"""Frames: fed in every way, cut into pieces, damaged, and beyond each bound."""

import tracemalloc
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.peerwire.errors import WireError
from kraft.peerwire.frames import (
    BULK,
    CONTROL,
    CUT_BYTES_MIN,
    GREETING,
    HEADER_BYTES,
    LINK,
    PIECE_BYTES,
    PING,
    PONG,
    FrameReader,
    frame,
    parse_probe,
    probe,
)


def opened(**bounds):
    reader = FrameReader(**bounds)
    reader.open()
    return reader


def drain(reader):
    return list(iter(reader.next_message, None))


def pieces(payload, message_id, size=PIECE_BYTES):
    cuts = range(0, len(payload), size)
    return [frame(BULK, message_id, payload[at : at + size], last=at == cuts[-1]) for at in cuts]


STREAM = [(CONTROL, b"one"), (BULK, b"y" * 300), (LINK, probe(PING, 7)), (CONTROL, b""), (BULK, b"z")]
WIRE = b"".join(frame(channel, number, payload) for number, (channel, payload) in enumerate(STREAM))


@pytest.mark.parametrize("size", [1, 2, HEADER_BYTES, HEADER_BYTES + 3, 100, len(WIRE)])
def test_messages_come_out_whatever_the_reads(size):
    """Whole, byte by byte, and with the next message trailing."""
    reader, seen = opened(), []

    for at in range(0, len(WIRE), size):
        reader.feed(WIRE[at : at + size])
        seen += drain(reader)

    assert seen == STREAM
    assert reader.buffered_bytes == 0


def test_control_goes_between_the_pieces_of_bulk():
    """A control message is complete before the bulk message that began first."""
    large = bytes(range(256)) * 1024
    first, *rest = pieces(large, 1)
    reader = opened()

    reader.feed(first + frame(CONTROL, 2, b"beat") + b"".join(rest))

    assert drain(reader) == [(CONTROL, b"beat"), (BULK, large)]


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_interleaved_messages_are_put_together_by_id(payloads, piece_size, read_size, dice):
    """Pieces of several messages in any merge of their orders, read in any sizes."""
    queues = [pieces(payload, number, piece_size) for number, payload in enumerate(payloads)]
    wire = b""
    while waiting := [queue for queue in queues if queue]:
        wire += dice.choice(waiting).pop(0)
    reader, seen = opened(), []
    for at in range(0, len(wire), read_size):
        reader.feed(wire[at : at + read_size])
        seen += drain(reader)

    assert sorted(payload for _, payload in seen) == sorted(payloads)
    assert reader.buffered_bytes == 0


def large_stream():
    """Messages around each bound of a cut frame, with control between their pieces; and their bytes."""
    dice = Random(5)
    sizes = (CUT_BYTES_MIN - 1, CUT_BYTES_MIN, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5, 40_000)
    messages = [(BULK, dice.randbytes(size)) for size in sizes]
    wire, seen = b"", []
    for number, (channel, payload) in enumerate(messages):
        for cut in pieces(payload, number):
            wire += frame(CONTROL, 100, b"beat") + cut
            seen.append((CONTROL, b"beat"))
        seen.append((channel, payload))
    return seen, wire


@pytest.mark.parametrize("size", [7, 1000, CUT_BYTES_MIN, PIECE_BYTES, PIECE_BYTES + HEADER_BYTES, 10**6])
def test_large_messages_come_out_whatever_the_reads(size):
    """They stay in the parts in which they were read; nothing of a part is lost or doubled."""
    seen, wire = large_stream()
    reader, found = opened(), []
    for at in range(0, len(wire), size):
        reader.feed(wire[at : at + size])
        while reader.unread and (message := reader.next_message()) is not None:
            found.append(message)
    assert found == seen
    assert reader.buffered_bytes == 0


def test_several_reads_may_come_before_a_message_is_taken():
    """The rest of a cut frame is not taken for what was read before it."""
    payload = Random(6).randbytes(CUT_BYTES_MIN + 100)
    wire = frame(BULK, 1, payload) + frame(CONTROL, 2, b"one") + frame(CONTROL, 3, b"two")
    reader = opened()
    reader.feed(wire[:2000])
    assert drain(reader) == []
    for at in range(2000, len(wire), 1500):
        reader.feed(wire[at : at + 1500])
    assert drain(reader) == [(BULK, payload), (CONTROL, b"one"), (CONTROL, b"two")]


def test_bytes_of_a_cut_frame_are_counted():
    wire = frame(BULK, 1, b"x" * 50_000)
    reader = opened()
    for at in range(0, 30_000, 10_000):
        reader.feed(wire[at : at + 10_000])
        assert reader.next_message() is None
    assert reader.buffered_bytes == 30_000 - HEADER_BYTES


@pytest.mark.parametrize("at", [8, 9, 10, HEADER_BYTES, 20_000, HEADER_BYTES + 49_999])
@pytest.mark.parametrize("size", [10_000, 30_000])
def test_a_flipped_bit_of_a_cut_frame_never_passes(at, size):
    """In the beginning, in a part that comes later, and in the last byte."""
    damaged = bytearray(frame(BULK, 3, b"x" * 50_000))
    damaged[at] ^= 0x10
    reader, found = opened(), []

    def read():
        for start in range(0, len(damaged), size):
            reader.feed(bytes(damaged[start : start + size]))
            found.extend(drain(reader))

    with pytest.raises(WireError):
        read()
    assert found == []


def test_a_stranger_cannot_begin_anything_but_a_greeting():
    """Not even a frame that never ends."""
    reader = FrameReader()
    reader.feed(frame(BULK, 0, b"x" * 50_000)[:10_000])
    with pytest.raises(WireError, match="before the handshake"):
        drain(reader)


def test_small_reads_of_large_messages_take_little_memory():
    """A slow network delivers a few bytes at a time, and each part costs memory until they are joined."""
    reader, size = opened(), 30 * PIECE_BYTES
    wire = b"".join(pieces(bytes(size), 1)[:-1])
    tracemalloc.start()
    try:
        for at in range(0, len(wire), 64):
            reader.feed(wire[at : at + 64])
            assert drain(reader) == []
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert reader.partial_bytes == size - PIECE_BYTES
    assert held < 1.2 * size


def test_a_part_does_not_keep_what_was_read_with_it():
    """A cut frame begins at the end of a read whose other messages are gone."""
    reader, before = opened(), frame(CONTROL, 1, bytes(60_000))
    tracemalloc.start()
    try:
        for number in range(100):
            cut = frame(BULK, 2, bytes(CUT_BYTES_MIN), last=False)
            reader.feed(before + cut[:1000])
            assert drain(reader) == [(CONTROL, bytes(60_000))]
            reader.feed(cut[1000:])
            assert drain(reader) == [], number
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2.5 * reader.partial_bytes + 100_000


@pytest.mark.parametrize("at", range(HEADER_BYTES + 5))
def test_a_flipped_bit_never_passes(at):
    """Any byte of a frame may be damaged: an error, or a wait for bytes that do not come."""
    damaged = bytearray(frame(CONTROL, 3, b"hello"))
    damaged[at] ^= 0x10
    reader = opened()
    reader.feed(bytes(damaged))

    with suppress(WireError):
        assert drain(reader) == []


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"PING\r\n" * 3, "frame of .* bytes"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaa", "frame of .* bytes"),
        (frame(9, 1, b"x"), "unknown channel 9"),
        (frame(GREETING, 1, b"x"), "handshake message on an open link"),
        (frame(CONTROL, 1, b"x", last=False), "only bulk"),
        (frame(LINK, 1, b"x", last=False), "only bulk"),
        (frame(BULK, 1, b"", last=False), "empty piece"),
        (frame(BULK, 1, b"x", last=False) + frame(CONTROL, 1, b"x"), "two messages of one id"),
        (frame(CONTROL, 1, b"x" * (PIECE_BYTES + 1)), "frame of 65537 bytes"),
    ],
)
def test_what_no_peer_sends_is_an_error(wire, reason):
    """Another protocol, an unknown channel, pieces where there are none."""
    reader = opened()
    reader.feed(wire)

    with pytest.raises(WireError, match=reason):
        drain(reader)


def test_before_the_handshake_only_greetings_of_one_frame_pass():
    """A stranger can make us hold one frame and no more."""
    reader = FrameReader()
    reader.feed(frame(GREETING, 0, b"hello"))
    assert drain(reader) == [(GREETING, b"hello")]

    reader.feed(frame(CONTROL, 0, b"batch"))
    with pytest.raises(WireError, match="before the handshake"):
        drain(reader)


def test_a_batch_that_follows_the_handshake_in_one_read_is_kept():
    """The reader may be opened between two messages of one read."""
    reader = FrameReader()
    reader.feed(frame(GREETING, 0, b"welcome") + frame(CONTROL, 0, b"batch"))

    assert reader.next_message() == (GREETING, b"welcome")
    reader.open()
    assert reader.next_message() == (CONTROL, b"batch")


def test_a_message_has_a_largest_size():
    """Exactly at it is fine."""
    reader = opened(message_bytes=100)
    reader.feed(frame(BULK, 1, b"x" * 60, last=False) + frame(BULK, 1, b"x" * 40))
    assert drain(reader) == [(BULK, b"x" * 100)]

    reader.feed(frame(BULK, 2, b"x" * 60, last=False) + frame(BULK, 2, b"x" * 41, last=False))
    with pytest.raises(WireError, match="message of more than 100 bytes"):
        drain(reader)


def test_unfinished_messages_together_have_a_largest_size():
    """A batch and a chunk may be on their way at once; exactly at the bound is fine."""
    reader = opened(message_bytes=100, partial_bytes=130)
    reader.feed(frame(BULK, 1, b"x" * 90, last=False) + frame(BULK, 2, b"x" * 40, last=False))
    assert drain(reader) == []
    assert reader.buffered_bytes == 130

    reader.feed(frame(BULK, 2, b"x", last=False))
    with pytest.raises(WireError, match="unfinished messages of more than 130 bytes"):
        drain(reader)


def test_few_messages_may_be_unfinished():
    """One more than the bound is an error."""
    reader = opened(partial_messages=2)
    reader.feed(frame(BULK, 1, b"x", last=False) + frame(BULK, 2, b"x", last=False))
    assert drain(reader) == []

    reader.feed(frame(BULK, 3, b"x", last=False))
    with pytest.raises(WireError, match="more than 2 unfinished"):
        drain(reader)


def test_probes_say_what_they_are():
    """Kind and token come back; a later version may append, a short one is an error."""
    assert parse_probe(probe(PONG, (1 << 64) - 1) + b"later") == (PONG, (1 << 64) - 1)
    with pytest.raises(WireError, match="short"):
        parse_probe(b"\x01")
