"""Bits of values: what the commands SETBIT, BITOP, BITFIELD, BITCOUNT and BITPOS compute and change.

Bit 0 is the most significant bit of the first byte. Bits after the end of a value are zero.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kraft.int64 import INT64_MAX
from kraft.kv.commands import (
    BITOP_VALUES,
    BitField,
    BitOperation,
    BitOperator,
    FieldAction,
    FieldOperation,
    Overflow,
    SetBit,
)
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.state import MachineState

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


def _set_bit(state: MachineState, command: SetBit) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key)
    end = (command.offset >> 3) + 1
    if end > command.limit:
        return CommandFailure.TOO_LARGE
    if not state.keyspace.has_room(command.key, end, command.memory_limit):
        return CommandFailure.OUT_OF_MEMORY
    before = bit_at(value, command.offset)
    if before != command.bit or end > len(value):
        state.put(command.key, with_bit(value, command.offset, command.bit), expires)
    return before


def _bit_operation(state: MachineState, command: BitOperation) -> Reply:
    values = [state.keyspace.get(key) or b"" for key in command.sources]
    if sum(map(len, values)) > BITOP_VALUES * command.limit:
        return CommandFailure.TOO_MUCH
    length = max(map(len, values), default=0)
    if not length:
        state.remove((command.destination,))
    elif not state.keyspace.has_room(command.destination, length, command.memory_limit):
        return CommandFailure.OUT_OF_MEMORY
    else:
        state.put(command.destination, combined(command.operator, values))
    return length


def _bit_field(state: MachineState, command: BitField) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key)
    end = end_of_writes(command.operations)
    if end > command.limit:
        return CommandFailure.TOO_LARGE
    if not state.keyspace.has_room(command.key, end, command.memory_limit):
        return CommandFailure.OUT_OF_MEMORY
    data = bytearray(value.ljust(end, b"\0"))
    replies, wrote = run_fields(data, command.operations)
    if wrote or end > len(value):
        state.put(command.key, bytes(data), expires)
    return replies


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    SetBit: _set_bit,
    BitOperation: _bit_operation,
    BitField: _bit_field,
}
"""The function of each command."""
