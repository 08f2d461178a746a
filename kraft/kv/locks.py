"""What the commands on locks do to the state. `kraft.kv.commands.lock` says what a lock is."""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import Expiry, Extend, Lock, Unlock
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState


def holds(state: MachineState, name: bytes, token: int) -> bool:
    """Whether the lock is held with the token."""
    return token > 0 and state.keyspace.revision(name) == token


def _lock(state: MachineState, command: Lock) -> Reply:
    space, stamp = state.keyspace, state.stamp
    expires = state.due(Expiry.RELATIVE, command.ttl_ms)
    record = space.records.get(command.name)
    if record is None:
        state.revision += 1
        space.put(command.name, command.owner, state.revision, expires)
        return [1, state.revision, expires, stamp]
    if not command.owner or record.value != command.owner:
        return [0, record.revision, record.expires, stamp]
    space.put(command.name, record.value, record.revision, expires)
    return [1, record.revision, expires, stamp]


def _unlock(state: MachineState, command: Unlock) -> Reply:
    if not holds(state, command.name, command.token):
        return 0
    return state.remove((command.name,))


def _extend(state: MachineState, command: Extend) -> Reply:
    if not holds(state, command.name, command.token):
        return 0
    record = state.keyspace.records[command.name]
    expires = state.due(Expiry.RELATIVE, command.ttl_ms)
    state.keyspace.put(command.name, record.value, record.revision, expires)
    return 1


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {Lock: _lock, Unlock: _unlock, Extend: _extend}
"""The function of each command."""
