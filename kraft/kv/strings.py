"""What the commands on strings do to the state. `kraft.kv.commands.strings` says what they are."""

from collections.abc import Callable
from typing import Any

from kraft.int64 import INT64_MAX, INT64_MIN, parse_int64
from kraft.kv.commands import (
    AppendValue,
    CompareAndSet,
    Comparison,
    Condition,
    DeleteIf,
    Expiry,
    GetDelete,
    GetExpire,
    Increment,
    IncrementFloat,
    Put,
    Set,
    SetIf,
    SetMany,
    SetManyIf,
    SetRange,
)
from kraft.kv.digest import digest_of
from kraft.kv.long_double import NotFinite, add, format_long_double, parse_long_double
from kraft.kv.record import Record
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.state import MachineState
from kraft.kv.values import Value

_Timed = Set | SetIf | SetManyIf | GetExpire
"""A command that gives a key another expiry, besides what else it does."""


def _plain_set(state: MachineState, command: Put) -> Reply:
    state.put(command.key, command.value)
    return "OK"


def _set(state: MachineState, command: Set) -> Reply:
    old = state.keyspace.records.get(command.key)
    done = command.condition == Condition.ALWAYS or _CONDITIONS[command.condition](old is not None)
    return _store(state, command, old, done)


def _set_if(state: MachineState, command: SetIf) -> Reply:
    old = state.keyspace.records.get(command.key)
    present = None if old is None else old.value
    return _store(state, command, old, _COMPARISONS[command.comparison](present, command.operand))


def _store(state: MachineState, command: Set | SetIf, old: Record | None, done: bool) -> Reply:
    before, expires = (None, 0) if old is None else (old.value, old.expires)
    if done:
        due = _new_expiry(state, command, expires)
        if due is None:
            state.remove((command.key,))
        else:
            state.put(command.key, command.value, due)
    if command.get:
        return before
    return "OK" if done else None


def _set_many(state: MachineState, command: SetMany) -> Reply:
    pairs = command.pairs
    state.revision += bool(pairs)
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        state.keyspace.put(key, value, state.revision)
    return "OK"


def _set_many_if(state: MachineState, command: SetManyIf) -> Reply:
    space, keys = state.keyspace, command.pairs[::2]
    holds = _CONDITIONS[command.condition]
    if not all(holds(key in space) for key in keys):
        return 0
    expiries = [_new_expiry(state, command, space.expires(key) or 0) for key in keys]
    if None in expiries:  # the same time for all, which has come
        state.remove(keys)
        return 1
    state.revision += bool(keys)
    for key, value, expires in zip(keys, command.pairs[1::2], expiries, strict=True):
        space.put(key, value, state.revision, expires or 0)
    return 1


def _compare_and_set(state: MachineState, command: CompareAndSet) -> Reply:
    if state.keyspace.revision(command.key) != command.revision:
        return None
    state.put(command.key, command.value)
    return state.revision


def _get_expire(state: MachineState, command: GetExpire) -> Reply:
    record = state.keyspace.records.get(command.key)
    if record is None:
        return None
    expires = _new_expiry(state, command, record.expires)
    if expires is None:
        state.remove((command.key,))
    elif expires != record.expires:
        state.put(command.key, record.value, expires)
    return record.value


def _get_delete(state: MachineState, command: GetDelete) -> Reply:
    value = state.keyspace.get(command.key)
    state.remove((command.key,))
    return value


def _append(state: MachineState, command: AppendValue) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key)
    if len(value) + len(command.value) > command.limit:
        return CommandFailure.TOO_LARGE
    value += command.value
    state.put(command.key, value, expires)
    return len(value)


def _set_range(state: MachineState, command: SetRange) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key)
    if not command.value:
        return len(value)
    end = command.offset + len(command.value)
    if end > command.limit:
        return CommandFailure.TOO_LARGE
    before = value[: command.offset].ljust(command.offset, b"\0")
    value = before + command.value + value[end:]
    state.put(command.key, value, expires)
    return len(value)


def _delete_if(state: MachineState, command: DeleteIf) -> Reply:
    value = state.keyspace.get(command.key)
    if not _COMPARISONS[command.comparison](value, command.operand):
        return 0
    return state.remove((command.key,))


def _increment(state: MachineState, command: Increment) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key, missing=b"0")
    number = parse_int64(value)
    if number is None:
        return CommandFailure.NOT_AN_INTEGER
    number += command.amount
    if not INT64_MIN <= number <= INT64_MAX:
        return CommandFailure.OVERFLOW
    state.put(command.key, b"%d" % number, expires)
    return number


def _increment_float(state: MachineState, command: IncrementFloat) -> Reply:
    value, expires = state.keyspace.value_and_expiry(command.key, missing=b"0")
    try:
        number = parse_long_double(value)
        amount = None if number is None else parse_long_double(command.amount)
        if number is None or amount is None:
            return CommandFailure.NOT_A_FLOAT
        text = format_long_double(add(number, amount))
    except NotFinite:
        return CommandFailure.NOT_FINITE
    if len(text) > command.limit:
        return CommandFailure.TOO_LARGE
    state.put(command.key, text, expires)
    return text


def _new_expiry(state: MachineState, command: _Timed, present: int) -> int | None:
    """The expiry of a key with the `present` one after `command`; None when that time has come."""
    if command.expiry not in _TIMED:
        return present if command.expiry == Expiry.KEEP else 0
    due = state.due(command.expiry, command.expiry_ms)
    return due if due > state.stamp else None


_TIMED = (Expiry.RELATIVE, Expiry.ABSOLUTE)

# Whether SET takes effect, from whether the key exists.
_CONDITIONS: dict[int, Callable[[bool], bool]] = {
    Condition.ALWAYS: lambda _: True,
    Condition.IF_MISSING: lambda exists: not exists,
    Condition.IF_PRESENT: lambda exists: exists,
}

# The same from the value (None: the key is missing) and the command's operand.
_COMPARISONS: dict[int, Callable[[Value | None, bytes], bool]] = {
    Comparison.EQUAL: lambda value, operand: value == operand,
    Comparison.DIFFERENT: lambda value, operand: value != operand,
    Comparison.DIGEST_EQUAL: lambda value, operand: value is not None and digest_of(value) == operand,
    Comparison.DIGEST_DIFFERENT: lambda value, operand: value is None or digest_of(value) != operand,
}

FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    Put: _plain_set,
    Set: _set,
    SetIf: _set_if,
    SetMany: _set_many,
    SetManyIf: _set_many_if,
    CompareAndSet: _compare_and_set,
    GetExpire: _get_expire,
    GetDelete: _get_delete,
    AppendValue: _append,
    SetRange: _set_range,
    DeleteIf: _delete_if,
    Increment: _increment,
    IncrementFloat: _increment_float,
}
"""The function of each command."""
