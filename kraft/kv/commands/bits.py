"""Commands on the bits of strings. Bit 0 is the most significant bit of the first byte, as in Redis."""

from enum import IntEnum
from typing import ClassVar

import msgspec

from kraft.kv.commands.keys import UNBOUNDED
from kraft.kv.commands.strings import VALUE_BYTES_MAX

BITOP_VALUES = 16  # of the largest size may be the sources of one BITOP: it takes about 1 ms per MiB


class BitOperator(IntEnum):
    """What BITOP computes. NOT takes one source."""

    AND = 0
    OR = 1
    XOR = 2
    NOT = 3


class FieldAction(IntEnum):
    """What one operation of BITFIELD does."""

    GET = 0
    SET = 1
    INCREMENT = 2


class Overflow(IntEnum):
    """What becomes of a number that does not fit into its field."""

    WRAP = 0  # modulo 2 to the width
    SATURATE = 1  # the nearest number that fits
    FAIL = 2  # nothing is written, and the reply is None


class FieldOperation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One operation of BITFIELD on the `width` bits from `offset` on, an integer with or without a sign.

    `amount` is the number that is stored or added.
    """

    action: int
    signed: bool
    width: int
    offset: int
    amount: int = 0
    overflow: int = Overflow.WRAP


class SetBit(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """SETBIT: replies the bit before, and pads a shorter value with zero bytes.

    Replies CommandFailure.TOO_LARGE when the value would exceed `limit` bytes, and OUT_OF_MEMORY when all
    data would exceed `memory_limit` bytes. Both limits are those of the node that took the command.
    """

    since: ClassVar[int] = 3
    key: bytes
    offset: int
    bit: int
    limit: int = VALUE_BYTES_MAX
    memory_limit: int = UNBOUNDED


class BitOperation(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """BITOP: stores the result and replies its length, that of the longest source. Missing bytes are zero.

    An empty result removes the destination. Replies TOO_MUCH when the sources have more than BITOP_VALUES
    times `limit` bytes together, and OUT_OF_MEMORY as `SetBit`.
    """

    since: ClassVar[int] = 3
    operator: int
    destination: bytes
    sources: tuple[bytes, ...]
    limit: int = VALUE_BYTES_MAX
    memory_limit: int = UNBOUNDED


class BitField(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """BITFIELD: replies one number for each operation, None for one that failed.

    The value is padded with zero bytes up to the last field that an operation writes, even if that one fails.
    Replies TOO_LARGE and OUT_OF_MEMORY as `SetBit`.
    """

    since: ClassVar[int] = 3
    key: bytes
    operations: tuple[FieldOperation, ...]
    limit: int = VALUE_BYTES_MAX
    memory_limit: int = UNBOUNDED


BitCommand = SetBit | BitOperation | BitField
