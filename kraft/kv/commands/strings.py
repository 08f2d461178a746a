"""Commands on strings."""

from enum import IntEnum
from typing import ClassVar

import msgspec

from kraft.kv.commands.keys import Expiry

VALUE_BYTES_MAX = 64 << 20  # the hard maximum of a value


class Condition(IntEnum):
    """When a `Set` or a `SetManyIf` takes effect."""

    ALWAYS = 0
    IF_MISSING = 1  # NX
    IF_PRESENT = 2  # XX


class Comparison(IntEnum):
    """When a `SetIf` or a `DeleteIf` takes effect."""

    EQUAL = 0  # IFEQ: the key exists and has this value
    DIFFERENT = 1  # IFNE: it does not
    DIGEST_EQUAL = 2  # IFDEQ: the key exists and its value has this digest (`kraft.kv.digest`)
    DIGEST_DIFFERENT = 3  # IFDNE: it does not


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Plain SET: replies "OK"."""

    since: ClassVar[int] = 1
    key: bytes
    value: bytes


class Set(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """SET with options: replies "OK" or None; with `get` the old value or None, whether or not it was set."""

    since: ClassVar[int] = 1
    key: bytes
    value: bytes
    condition: int = Condition.ALWAYS
    expiry: int = Expiry.NONE
    expiry_ms: int = 0
    get: bool = False


class SetMany(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """MSET: keys and values alternate; replies "OK"."""

    since: ClassVar[int] = 1
    pairs: tuple[bytes, ...]


class GetDelete(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """GETDEL: replies the value or None."""

    since: ClassVar[int] = 1
    key: bytes


class AppendValue(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """APPEND: replies the new length, or CommandFailure.TOO_LARGE when that would exceed `limit` bytes.

    The limit is that of the node that took the command: it travels with the command, because replicas may be
    configured differently and must still do the same.
    """

    since: ClassVar[int] = 1
    key: bytes
    value: bytes
    limit: int = VALUE_BYTES_MAX


class Increment(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """INCR and its kin: replies the new value, or NOT_AN_INTEGER or OVERFLOW (64-bit signed)."""

    since: ClassVar[int] = 1
    key: bytes
    amount: int


class SetRange(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """SETRANGE: overwrites from `offset` on (not negative) and pads with zero bytes up to it.

    Replies the new length, or CommandFailure.TOO_LARGE when that would exceed `limit` bytes, which travels
    with the command as in `AppendValue`. An empty `value` changes nothing, creates no key, and replies the
    present length.
    """

    since: ClassVar[int] = 2
    key: bytes
    offset: int
    value: bytes
    limit: int = VALUE_BYTES_MAX


class SetIf(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """SET with IFEQ or IFNE: the present value is compared with `operand`. Replies as `Set`."""

    since: ClassVar[int] = 3
    key: bytes
    value: bytes
    comparison: int
    operand: bytes
    expiry: int = Expiry.NONE
    expiry_ms: int = 0
    get: bool = False


class DeleteIf(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """DELEX, DELIFEQ: replies 1 when the key was deleted, else 0. A key that is missing is not deleted."""

    since: ClassVar[int] = 3
    key: bytes
    comparison: int
    operand: bytes


class GetExpire(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """GETEX: replies the value or None, and changes the expiry, unless that is Expiry.KEEP."""

    since: ClassVar[int] = 3
    key: bytes
    expiry: int = Expiry.KEEP
    expiry_ms: int = 0


class SetManyIf(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """MSETNX, MSETEX: keys and values alternate. Replies 1 when all keys were set, else 0: none was set.

    The condition holds if it does for every key.
    """

    since: ClassVar[int] = 3
    pairs: tuple[bytes, ...]
    condition: int = Condition.ALWAYS
    expiry: int = Expiry.NONE
    expiry_ms: int = 0


class IncrementFloat(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """INCRBYFLOAT: replies the new value as text, or NOT_A_FLOAT, NOT_FINITE or TOO_LARGE.

    `amount` is the client's text. Every replica computes the same digits (`kraft.kv.long_double`).
    """

    since: ClassVar[int] = 3
    key: bytes
    amount: bytes
    limit: int = VALUE_BYTES_MAX


class CompareAndSet(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """KRAFT CAS: sets the value if the key has this `revision` (0: if it is missing), and ends its expiry.

    Replies the new revision, or None when the key has another one.
    """

    since: ClassVar[int] = 3
    key: bytes
    revision: int
    value: bytes


StringCommand = (
    Put
    | Set
    | SetMany
    | GetDelete
    | AppendValue
    | Increment
    | SetRange
    | SetIf
    | DeleteIf
    | GetExpire
    | SetManyIf
    | IncrementFloat
    | CompareAndSet
)
