"""Replies of the state machine, and their encoding for writes that another node forwarded to the leader.

MessagePack has a form for every reply but a `CommandFailure`, which would turn into a plain integer: it
travels as an extension.
"""

from collections.abc import Sequence
from enum import IntEnum

import msgspec

FAILURE_CODE = 1  # extension type of a CommandFailure; its one byte is the number


class CommandFailure(IntEnum):
    """A command that the state machine, or the leader before it, refused: a reply, and nothing changed."""

    NOT_AN_INTEGER = 1
    OVERFLOW = 2
    TOO_LARGE = 3
    PREMATURE = 4  # by the leader, before the command is logged: log time would reach its expiry too early
    NOT_A_FLOAT = 5
    NOT_FINITE = 6
    NO_SUCH_KEY = 7
    OUT_OF_MEMORY = 8
    TOO_MUCH = 9  # work for one command
    SCRIPT_CONFLICT = 10  # what a script read has changed before its effects took place
    LOCK_LOST = 50  # the lock is not held with this token
    TOKEN_REUSED = 60  # the token of KRAFT ONCE came with another command
    TOO_MANY_TOKENS = 61
    LOCKED = 80  # certainly not done: a transaction over several groups has locked a key, or stands before it
    NOT_OWNER = 81  # certainly not done: the slot of a key belongs to another group
    TRANSACTION_TOO_LARGE = 82  # what it writes over several groups, by the node that computes it


Reply = str | bytes | int | None | CommandFailure | list["Reply"]
"""A reply: `str` is a status such as "OK", `bytes` a value, None a missing one."""


def encode_replies(replies: Sequence[Reply]) -> bytes:
    """The bytes of `ForwardReply.replies`."""
    return _encode([_outgoing(reply) if type(reply) in _CONVERTED else reply for reply in replies])


def decode_replies(data: bytes) -> list[Reply]:
    """Inverse of `encode_replies`. Raises `msgspec.DecodeError` on anything that is not a list of replies."""
    try:
        replies: list[Reply] = _decoder.decode(data)
        _check(replies)
    except (RecursionError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return replies


def _outgoing(reply: Reply) -> object:
    if isinstance(reply, CommandFailure):
        return msgspec.msgpack.Ext(FAILURE_CODE, bytes([reply]))
    if isinstance(reply, list):
        return [_outgoing(element) for element in reply]
    return reply


def _failure(code: int, data: memoryview) -> CommandFailure:
    if code != FAILURE_CODE or len(data) != 1:
        raise ValueError(f"unknown extension {code} of {len(data)} bytes")
    return CommandFailure(data[0])


def _check(replies: list[Reply]) -> None:
    for reply in replies:
        if type(reply) not in _KINDS:
            raise ValueError(f"{type(reply).__name__} is no reply")
        if isinstance(reply, list):
            _check(reply)


_CONVERTED = (CommandFailure, list)
_KINDS = frozenset({str, bytes, int, type(None), CommandFailure, list})
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list, ext_hook=_failure)
