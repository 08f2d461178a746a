"""What the commands on keys of any type do to the state. `kraft.kv.commands.keys` says what they are."""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import ClearExpiry, Copy, Delete, Expire, Flush, Guard, Rename
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.state import MachineState


def _delete(state: MachineState, command: Delete) -> Reply:
    return state.remove(command.keys)


def _flush(state: MachineState, _: Flush) -> Reply:
    state.revision += bool(len(state.keyspace))
    state.clear()
    return "OK"


def _rename(state: MachineState, command: Rename) -> Reply:
    record = state.keyspace.records.get(command.source)
    if record is None:
        return CommandFailure.NO_SUCH_KEY
    if not command.replace and command.destination in state.keyspace:
        return 0
    if command.source != command.destination:
        state.keyspace.remove(command.source)
        state.put(command.destination, record.value, record.expires)
    return 1


def _copy(state: MachineState, command: Copy) -> Reply:
    record = state.keyspace.records.get(command.source)
    if record is None or (not command.replace and command.destination in state.keyspace):
        return 0
    if not state.keyspace.has_room(command.destination, len(record.value), command.memory_limit):
        return CommandFailure.OUT_OF_MEMORY
    state.put(command.destination, record.value, record.expires)
    return 1


def _expire(state: MachineState, command: Expire) -> Reply:
    record = state.keyspace.records.get(command.key)
    if record is None:
        return 0
    expires = state.due(command.expiry, command.expiry_ms)
    if not _GUARDS[command.guard](record.expires, expires):
        return 0
    if expires <= state.stamp:
        state.remove((command.key,))
    else:
        state.put(command.key, record.value, expires)
    return 1


def _clear_expiry(state: MachineState, command: ClearExpiry) -> Reply:
    record = state.keyspace.records.get(command.key)
    if record is None or not record.expires:
        return 0
    state.put(command.key, record.value)
    return 1


# Whether EXPIRE takes effect, from the key's present expiry (0: none, infinitely late) and the new one.
_GUARDS: dict[int, Callable[[int, int], bool]] = {
    Guard.ALWAYS: lambda _, __: True,
    Guard.IF_NONE: lambda old, _: not old,
    Guard.IF_SOME: lambda old, _: bool(old),
    Guard.IF_LATER: lambda old, new: 0 < old < new,
    Guard.IF_EARLIER: lambda old, new: not old or new < old,
    Guard.IF_SOME_AND_EARLIER: lambda old, new: bool(old) and new < old,
}

FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    Delete: _delete,
    Flush: _flush,
    Rename: _rename,
    Copy: _copy,
    Expire: _expire,
    ClearExpiry: _clear_expiry,
}
"""The function of each command."""
