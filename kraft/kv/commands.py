"""The closed, versioned set of commands of the state machine, and their encoding.

A command is a frozen value that the leader logs and every replica applies; its effect depends on the
state, the batch's stamp and these fields alone. Client requests are turned into commands by
`kraft.server`; nothing here knows their text. New commands get new tags and raise `MACHINE_VERSION`.
"""

from collections.abc import Sequence
from enum import IntEnum

import msgspec

MACHINE_VERSION = 1
FORMAT_VERSION = 1  # first byte of an encoded batch
VALUE_BYTES_MAX = 64 << 20  # the hard maximum of a value


class Condition(IntEnum):
    """When a `Set` takes effect."""

    ALWAYS = 0
    IF_MISSING = 1  # NX
    IF_PRESENT = 2  # XX


class Expiry(IntEnum):
    """How `Set.expiry_ms` is meant. A relative one is made absolute at apply: stamp + milliseconds."""

    NONE = 0  # the key loses any expiry it had
    RELATIVE = 1
    ABSOLUTE = 2  # Unix milliseconds
    KEEP = 3  # KEEPTTL


class Guard(IntEnum):
    """Option of EXPIRE and its kin."""

    ALWAYS = 0
    IF_NONE = 1  # NX: the key has no expiry
    IF_SOME = 2  # XX
    IF_LATER = 3  # GT: no expiry counts as infinitely late
    IF_EARLIER = 4  # LT
    IF_SOME_AND_EARLIER = 5  # XX LT


class Failure(IntEnum):
    """A command that was applied and refused by the state machine: a reply, and nothing changed."""

    NOT_AN_INTEGER = 1
    OVERFLOW = 2
    TOO_LARGE = 3


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Plain SET: reply "OK"."""

    key: bytes
    value: bytes


class Set(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """SET with options: reply "OK" or None; with `get` the old value or None, whatever the condition did."""

    key: bytes
    value: bytes
    condition: int = Condition.ALWAYS
    expiry: int = Expiry.NONE
    expiry_ms: int = 0
    get: bool = False


class SetMany(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """MSET: keys and values alternate; reply "OK"."""

    pairs: tuple[bytes, ...]


class GetDelete(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """GETDEL: reply the value or None."""

    key: bytes


class Append(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """APPEND: reply the new length, or Failure.TOO_LARGE when that would be above `limit`.

    The limit of the node that took the command travels with it: a replica's own settings must not count.
    """

    key: bytes
    value: bytes
    limit: int = VALUE_BYTES_MAX


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """DEL, UNLINK: reply how many keys existed."""

    keys: tuple[bytes, ...]


class Increment(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """INCR and its kin: reply the new value, or NOT_AN_INTEGER or OVERFLOW (64 bit signed)."""

    key: bytes
    amount: int


class Expire(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """EXPIRE and its kin: reply 1 when set (or deleted, for a time already past), else 0."""

    key: bytes
    expiry: int
    expiry_ms: int
    guard: int = Guard.ALWAYS


class Persist(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """PERSIST: reply 1 when an expiry was removed, else 0."""

    key: bytes


Command = Put | Set | SetMany | GetDelete | Append | Delete | Increment | Expire | Persist

Reply = str | bytes | int | None | Failure | list["Reply"]
"""A reply: `str` is a status such as "OK", `bytes` a value, None a missing one."""


def encode(commands: Sequence[Command]) -> bytes:
    """A batch as the bytes of a COMMANDS entry."""
    return _VERSION + _encode(commands)


def decode(data: bytes) -> list[Command]:
    """Inverse of `encode`. Raises `UnknownFormat` on another version, `msgspec.DecodeError` on bad bytes."""
    if data[:1] != _VERSION:
        raise UnknownFormat(data[:1])
    return _decoder.decode(memoryview(data)[1:])


class UnknownFormat(Exception):
    """A batch of a format version this machine does not know: the group must stop."""


_VERSION = bytes([FORMAT_VERSION])
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Command])
