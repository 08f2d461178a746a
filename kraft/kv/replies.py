"""Replies as bytes, for writes that another node forwarded to the leader.

MessagePack says all of them but a `Failure`, which would turn into a plain integer: it travels as an
extension.
"""

from collections.abc import Sequence

import msgspec

from kraft.kv.commands import Failure, Reply

FAILURE_CODE = 1  # extension type of a Failure; its one byte is the number


def encode_replies(replies: Sequence[Reply]) -> bytes:
    """Replies as bytes."""
    return _encode([_outgoing(reply) if type(reply) in _CONVERTED else reply for reply in replies])


def decode_replies(data: bytes) -> list[Reply]:
    """Inverse of `encode_replies`. Raises `msgspec.DecodeError` on bad bytes and on values that are no
    replies.
    """
    try:
        replies: list[Reply] = _decoder.decode(data)
        _check(replies)
    except (RecursionError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return replies


def _outgoing(reply: Reply) -> object:
    if isinstance(reply, Failure):
        return msgspec.msgpack.Ext(FAILURE_CODE, bytes([reply]))
    if isinstance(reply, list):
        return [_outgoing(element) for element in reply]
    return reply


def _failure(code: int, data: memoryview) -> Failure:
    if code != FAILURE_CODE or len(data) != 1:
        raise ValueError(f"unknown extension {code} of {len(data)} bytes")
    return Failure(data[0])


def _check(replies: list[Reply]) -> None:
    for reply in replies:
        if type(reply) not in _KINDS:
            raise ValueError(f"{type(reply).__name__} is no reply")
        if isinstance(reply, list):
            _check(reply)


_CONVERTED = (Failure, list)
_KINDS = frozenset({str, bytes, int, type(None), Failure, list})
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list, ext_hook=_failure)
