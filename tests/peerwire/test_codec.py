"""The codec: every message there and back, later versions, and the gate."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.peerwire.codec import BATCH_MESSAGES_MAX, GROUP_MAX, NUMBER_MAX, decode, encode
from kraft.peerwire.errors import WireError
from kraft.peerwire.messages import DONE, NOT_PROPOSED, Forward, ForwardReply, ReadIndex, ReadIndexReply
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)

NUMBER = st.integers(0, NUMBER_MAX)
TERM = st.integers(1, NUMBER_MAX)


@st.composite
def appends(draw):
    prev_index = draw(st.integers(0, NUMBER_MAX - 5))
    terms = sorted(draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))
    stamps = sorted(draw(st.lists(NUMBER, min_size=len(terms), max_size=len(terms))))
    entries = tuple(
        Entry(prev_index + 1 + n, term, stamp, draw(st.integers(0, 2)), draw(st.binary(max_size=20)))
        for n, (term, stamp) in enumerate(zip(terms, stamps, strict=True))
    )
    keep = draw(st.integers(0, len(entries)))
    return Append(terms[-1], prev_index, draw(st.integers(0, terms[0])), draw(NUMBER), entries[:keep])


@st.composite
def append_replies(draw):
    term, index = draw(NUMBER), draw(NUMBER)
    hint_index, hint_term = draw(st.integers(0, index)), draw(st.integers(0, term))
    return AppendReply(term, index, draw(st.booleans()), hint_index, hint_term)


def asking(kind):
    return TERM.flatmap(lambda term: st.builds(kind, st.just(term), NUMBER, st.integers(0, term - 1)))


MESSAGES = st.one_of(
    asking(PreVote),
    asking(Vote),
    appends(),
    append_replies(),
    st.builds(PreVoteReply, NUMBER, st.booleans()),
    st.builds(VoteReply, NUMBER, st.booleans(), NUMBER),
    st.builds(Heartbeat, TERM, NUMBER, NUMBER),
    st.builds(HeartbeatReply, NUMBER, NUMBER, NUMBER),
    st.builds(Forward, NUMBER, NUMBER, st.binary(max_size=50)),
    st.builds(ForwardReply, NUMBER, st.just(DONE), st.binary(max_size=50)),
    st.builds(ForwardReply, NUMBER, st.integers(1, 2), st.just(b"")),
    st.builds(ReadIndex, NUMBER),
    st.builds(ReadIndexReply, NUMBER, NUMBER, NUMBER),
)


@given(st.lists(st.tuples(st.integers(0, GROUP_MAX), MESSAGES), max_size=5))
def test_every_message_comes_back(batch):
    """What a correct peer sends is decoded to equal values, and passes the gate."""
    assert decode(encode(batch)) == batch


@given(st.binary(max_size=100))
def test_garbage_is_a_wire_error(data):
    """Nothing else than WireError comes out of the gate."""
    with suppress(WireError):
        decode(data)


@given(st.lists(st.tuples(st.integers(0, 9), MESSAGES), min_size=1, max_size=3), st.data())
def test_damage_is_a_wire_error_or_a_value(batch, data):
    """Damaged batches too."""
    wire = bytearray(encode(batch))
    wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        decode(bytes(wire))


def test_fields_of_a_later_version_are_ignored():
    """In a message and in an entry."""
    beat, entry = [7, 4, 3, 2, "later"], [1, 1, 5, 0, b"", "later"]
    wire = msgspec.msgpack.encode([[0, beat], [1, [5, 1, 0, 0, 0, [entry]]]])

    assert decode(wire) == [(0, Heartbeat(4, 3, 2)), (1, Append(1, 0, 0, 0, (Entry(1, 1, 5, 0, b""),)))]


def test_payloads_are_bytes():
    """Of their own: nothing that was decoded is a view into what was read."""
    [(_, message)] = decode(encode([(0, Forward(1, 2, b"command"))]))

    assert isinstance(message, Forward)
    assert type(message.commands) is bytes


def entries(*fields):
    return tuple(Entry(index, term, stamp, kind, b"") for index, term, stamp, kind in fields)


@pytest.mark.parametrize(
    "message",
    [
        Vote(0, 0, 0),
        Vote(3, 5, 3),
        Vote(-1, 0, 0),
        PreVote(1, -1, 0),
        PreVoteReply(-1, True),
        VoteReply(1, True, -5),
        VoteReply(NUMBER_MAX + 1, True, 0),
        Heartbeat(0, 0, 0),
        Heartbeat(1, -1, 0),
        HeartbeatReply(1, 1, -1),
        AppendReply(1, -1),
        AppendReply(1, 5, True, 6, 0),
        AppendReply(1, 5, True, 4, 2),
        Append(0, 0, 0, 0, ()),
        Append(1, 0, 2, 0, ()),
        Append(1, -1, 0, 0, ()),
        Append(1, 0, 0, -1, ()),
        Append(2, 5, 1, 0, entries((7, 2, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 0), (8, 2, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 0), (7, 1, 0, 0))),
        Append(2, 5, 2, 0, entries((6, 1, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 3, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 9, 0), (7, 2, 8, 0))),
        Append(2, 5, 1, 0, entries((6, 2, -1, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 3))),
        Append(2, 0, 0, 0, entries((1, 0, 0, 0))),
        Append(2, NUMBER_MAX, 1, 0, entries((NUMBER_MAX + 1, 2, 0, 0))),
        Forward(-1, 0, b""),
        Forward(0, -1, b""),
        ForwardReply(0, 3, b""),
        ForwardReply(0, NOT_PROPOSED, b"x"),
        ReadIndex(-1),
        ReadIndexReply(0, -1, 0),
    ],
)
def test_impossible_messages_stop_at_the_gate(message):
    """What no correct replica sends never reaches the core."""
    with pytest.raises(WireError, match=type(message).__name__):
        decode(encode([(0, message)]))


@pytest.mark.parametrize("group", [-1, GROUP_MAX + 1])
def test_groups_are_small_numbers(group):
    """A group id that cannot be is an error of the batch."""
    with pytest.raises(WireError, match="group"):
        decode(encode([(group, ReadIndex(1))]))


def test_a_batch_has_a_largest_number_of_messages():
    """At the bound is fine, one more is an error."""
    batch = [(0, ReadIndex(1))] * BATCH_MESSAGES_MAX
    assert len(decode(encode(batch))) == BATCH_MESSAGES_MAX
    with pytest.raises(WireError, match="batch of"):
        decode(encode([*batch, batch[0]]))


def test_unknown_messages_are_an_error():
    """The wire version says what may be sent; more than that is no message."""
    with pytest.raises(WireError, match="not a batch"):
        decode(msgspec.msgpack.encode([[0, [99, 1]]]))
