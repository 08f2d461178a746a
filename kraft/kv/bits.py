"""Bits of values: what the commands SETBIT, BITOP, BITFIELD, BITCOUNT and BITPOS compute.

Bit 0 is the most significant bit of the first byte. Bits after the end of a value are zero.
"""

from collections.abc import Sequence

from kraft.int64 import INT64_MAX
from kraft.kv.commands import BitOperator, FieldAction, FieldOperation, Overflow
from kraft.kv.replies import Reply

_INVERTED = bytes(255 - byte for byte in range(256))


def bit_at(value: bytes, offset: int) -> int:
    """One bit of a value."""
    place = offset >> 3
    return value[place] >> (7 - (offset & 7)) & 1 if place < len(value) else 0


def with_bit(value: bytes, offset: int, bit: int) -> bytes:
    """A value with one bit set to `bit`, padded with zero bytes up to it."""
    place, mask = offset >> 3, 128 >> (offset & 7)
    data = bytearray(value.ljust(place + 1, b"\0"))
    data[place] = data[place] | mask if bit else data[place] & ~mask
    return bytes(data)


def bits_between(value: bytes, first: int, last: int) -> int:
    """The bits from `first` to `last`, both included and within the value, as a number."""
    part = int.from_bytes(value[first >> 3 : (last >> 3) + 1], "big") >> (7 - (last & 7))
    return part & ((1 << (last - first + 1)) - 1)


def combined(operator: int, values: Sequence[bytes]) -> bytes:
    """What BITOP stores: as long as the longest value."""
    if operator == BitOperator.NOT:
        return values[0].translate(_INVERTED)
    numbers = [int.from_bytes(value, "little") for value in values]  # the end of a value is its high part
    result = numbers[0]
    for number in numbers[1:]:
        if operator == BitOperator.AND:
            result &= number
        elif operator == BitOperator.OR:
            result |= number
        else:
            result ^= number
    return result.to_bytes(max(map(len, values)), "little")


def field_of(data: bytes | bytearray, operation: FieldOperation) -> int:
    """The integer in the operation's field."""
    first, width = operation.offset, operation.width
    last = first + width - 1
    part = data[first >> 3 : (last >> 3) + 1].ljust((last >> 3) - (first >> 3) + 1, b"\0")
    number = int.from_bytes(part, "big") >> (7 - (last & 7)) & ((1 << width) - 1)
    return number - (1 << width) if operation.signed and number >> (width - 1) else number


def end_of_writes(operations: Sequence[FieldOperation]) -> int:
    """How many bytes a value must have for all fields that are written."""
    ends = [o.offset + o.width for o in operations if o.action != FieldAction.GET]
    return (max(ends, default=0) + 7) >> 3


def run_fields(data: bytearray, operations: Sequence[FieldOperation]) -> tuple[list[Reply], bool]:
    """Run the operations on `data`, which has all bytes that they write.

    Returns the reply to each, and whether one of them wrote.
    """
    replies: list[Reply] = []
    wrote = False
    for operation in operations:
        before = field_of(data, operation)
        if operation.action == FieldAction.GET:
            replies.append(before)
            continue
        adds = operation.action == FieldAction.INCREMENT
        number = _fitted(operation, before + operation.amount if adds else operation.amount)
        if number is None:
            replies.append(None)
        else:
            _store(data, operation, number)
            replies.append(number if adds else before)
            wrote = True
    return replies, wrote


def _fitted(operation: FieldOperation, number: int) -> int | None:
    """The number as its field can hold it, None if the operation fails."""
    width = operation.width
    low = -(1 << (width - 1)) if operation.signed else 0
    high = low + (1 << width) - 1
    if low <= number <= high:
        return number
    if operation.overflow == Overflow.FAIL:
        return None
    if operation.overflow == Overflow.SATURATE:
        # As Redis, whose arithmetic of 64 bits takes what SET stores for a very large number if it is
        # negative and the field is unsigned, or if it is too far below the field.
        wraps = not operation.signed or high - number > INT64_MAX
        return high if number > high or (operation.action == FieldAction.SET and wraps) else low
    return (number - low) % (1 << width) + low


def _store(data: bytearray, operation: FieldOperation, number: int) -> None:
    first, width = operation.offset, operation.width
    last = first + width - 1
    place = slice(first >> 3, (last >> 3) + 1)
    shift = 7 - (last & 7)
    mask = (1 << width) - 1
    part = int.from_bytes(data[place], "big") & ~(mask << shift) | (number & mask) << shift
    data[place] = part.to_bytes((last >> 3) - (first >> 3) + 1, "big")
