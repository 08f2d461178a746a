"""The codec: every message there and back, later versions, and the gate."""

from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.peerwire.codec import BATCH_MESSAGES_MAX, GROUP_MAX, decode, encode, encode_pair, join_pairs
from kraft.peerwire.errors import WireError
from kraft.peerwire.messages import Forward, Message, Numbered, ReadIndex, SnapshotOffer
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import Append, Entry, Heartbeat, Vote
from tests.peerwire.strategies import BY_TYPE, MESSAGES

SECOND = ReplicaNumber(2, 7)


def test_every_kind_of_message_is_generated():
    """The tests of this file are about all messages there are."""
    assert set(BY_TYPE) == set(get_args(Message))


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
    beat, entry = [7, 4, 3, 2, 5, "later"], [1, 1, 5, 0, b"", "later"]
    wire = msgspec.msgpack.encode([[0, beat], [1, [5, 1, 0, 0, 0, [entry]]]])

    assert decode(wire) == [(0, Heartbeat(4, 3, 2, 5)), (1, Append(1, 0, 0, 0, (Entry(1, 1, 5, 0, b""),)))]


def test_messages_of_an_earlier_version_are_understood():
    """Without the fields that were appended since: a vote that is not a transfer, a heartbeat, a read."""
    wire = msgspec.msgpack.encode([[0, [3, 4, 3, 2]], [0, [7, 4, 3, 2]], [0, [34, 9]]])

    assert decode(wire) == [(0, Vote(4, 3, 2, transfer=False)), (0, Heartbeat(4, 3, 2, 0)), (0, ReadIndex(9))]


def test_an_offer_of_an_earlier_version_is_of_a_cluster_that_was_never_raised():
    """And one of ours is read by a program that knows no machine version in offers."""
    base = [9, 3, 1000, 4, [[["a", "x", "h:1"]], ["a"], [], [], [], None]]
    wire = msgspec.msgpack.encode([[0, [36, base, 7, 2, 20, bytes(16), True]]])
    [(_, offer)] = decode(wire)

    assert isinstance(offer, SnapshotOffer)
    assert (offer.reseed, offer.machine_version) == (True, 1)
    [[_, fields]] = msgspec.msgpack.decode(encode([(0, offer)]))
    assert fields[:7] == msgspec.msgpack.decode(wire)[0][1][:7]


def test_a_message_with_numbers_has_them_after_the_message():
    """The receiver's and the sender's. Messages without numbers are as they were before there were any."""
    [[_, fields]] = msgspec.msgpack.decode(encode([(3, Numbered(Heartbeat(4, 3, 2, 5), SECOND, UNNUMBERED))]))
    assert fields == [48, [7, 4, 3, 2, 5], [2, 7], [0, 0]]
    assert encode([(3, Heartbeat(4, 3, 2, 5))]) == msgspec.msgpack.encode([[3, [7, 4, 3, 2, 5]]])


@pytest.mark.parametrize("inner", [[48, [7, 4, 3, 2], [2, 7], [0, 0]], [34, 9], [32, 1, 1, b""]])
def test_only_messages_between_replicas_have_numbers(inner):
    with pytest.raises(WireError, match="not a batch"):
        decode(msgspec.msgpack.encode([[3, [48, inner, [2, 7], [0, 0]]]]))


def test_payloads_are_bytes():
    """Of their own: nothing that was decoded is a view into what was read."""
    [(_, message)] = decode(encode([(0, Forward(1, 2, b"command"))]))

    assert isinstance(message, Forward)
    assert type(message.commands) is bytes


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


@pytest.mark.parametrize("count", [0, 1, 15, 16, BATCH_MESSAGES_MAX])
def test_pairs_that_are_joined_are_a_batch(count):
    """The head of a batch grows with the number of its pairs."""
    pair = (3, ReadIndex(1))
    assert join_pairs([encode_pair(pair)] * count) == encode([pair] * count)
