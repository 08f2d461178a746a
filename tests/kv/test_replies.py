"""Replies over a peer link: equal in value and type at the other end, or refused."""

import msgspec
import pytest

from kraft.kv.replies import CommandFailure, decode_replies, encode_replies

REPLIES = [
    "OK",
    b"value",
    b"",
    0,
    -(2**63),
    2**63 - 1,
    None,
    *CommandFailure,
    ["OK", None, CommandFailure.OVERFLOW, [1, b"x"]],
    [],
]


def test_round_trip_keeps_values_and_types():
    back = decode_replies(encode_replies(REPLIES))
    assert back == REPLIES
    assert [type(reply) for reply in back] == [type(reply) for reply in REPLIES]
    nested = back[-2]
    assert isinstance(nested, list)
    assert type(nested[2]) is CommandFailure


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode("OK"),
        msgspec.msgpack.encode([{"a": 1}]),
        msgspec.msgpack.encode([1.5]),
        msgspec.msgpack.encode([[True]]),
        msgspec.msgpack.encode([msgspec.msgpack.Ext(2, b"\x01")]),
        msgspec.msgpack.encode([msgspec.msgpack.Ext(1, b"\x01\x01")]),
        msgspec.msgpack.encode([msgspec.msgpack.Ext(1, b"\xee")]),
        b"\x91" * 100_000 + b"\x01",
        encode_replies(REPLIES)[:-3],
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(msgspec.DecodeError):
        decode_replies(data)
