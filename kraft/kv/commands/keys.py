"""Commands on keys of any type: they are removed, renamed or copied, or their expiry changes."""

from enum import IntEnum
from typing import ClassVar

import msgspec

from kraft.int64 import INT64_MAX

UNBOUNDED = INT64_MAX  # as a limit in bytes


class Expiry(IntEnum):
    """How `expiry_ms` of a command is meant. Apply makes a relative time absolute: stamp + milliseconds."""

    NONE = 0  # the key loses any expiry it had
    RELATIVE = 1
    ABSOLUTE = 2  # Unix milliseconds
    KEEP = 3  # KEEPTTL


class Guard(IntEnum):
    """When EXPIRE and its kin take effect."""

    ALWAYS = 0
    IF_NONE = 1  # NX: the key has no expiry
    IF_SOME = 2  # XX
    IF_LATER = 3  # GT: no expiry counts as infinitely late
    IF_EARLIER = 4  # LT
    IF_SOME_AND_EARLIER = 5  # XX LT


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """DEL, UNLINK: replies how many keys existed."""

    since: ClassVar[int] = 1
    keys: tuple[bytes, ...]


class Expire(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """EXPIRE and its kin: replies 1 when the expiry was set (or the key deleted, for a past time), else 0."""

    since: ClassVar[int] = 1
    key: bytes
    expiry: int
    expiry_ms: int
    guard: int = Guard.ALWAYS


class ClearExpiry(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """PERSIST: replies 1 when an expiry was removed, else 0."""

    since: ClassVar[int] = 1
    key: bytes


class Rename(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """RENAME, and RENAMENX without `replace`: replies 1, or 0 without effect when `destination` exists.

    The expiry goes along. Replies CommandFailure.NO_SUCH_KEY when `source` is missing. The same name twice
    changes nothing: with `replace` the reply is 1.
    """

    since: ClassVar[int] = 3
    source: bytes
    destination: bytes
    replace: bool = True


class Copy(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """COPY: replies 1 when the key was copied with its expiry, else 0.

    Replies CommandFailure.OUT_OF_MEMORY when all data would exceed `memory_limit` bytes, which is the limit
    of the node that took the command.
    """

    since: ClassVar[int] = 3
    source: bytes
    destination: bytes
    replace: bool = False
    memory_limit: int = UNBOUNDED


class Flush(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """FLUSHALL, FLUSHDB: removes every key, and replies "OK"."""

    since: ClassVar[int] = 3


KeyCommand = Delete | Expire | ClearExpiry | Rename | Copy | Flush
