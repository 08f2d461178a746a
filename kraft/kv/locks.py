"""What the commands on locks do to the state. `kraft.kv.commands.lock` says what a lock is."""

from collections.abc import Callable
from typing import Any, Protocol

from kraft.int64 import INT64_MAX
from kraft.kv.commands import Extend, Guarded, Lock, Unlock
from kraft.kv.keyspace import Keyspace
from kraft.kv.replies import Reply


class LockState(Protocol):
    """What `Machine` has: the keys, the stamp of the batch (Unix ms), and the revision of the last change."""

    keyspace: Keyspace
    stamp: int
    revision: int


def holds(state: LockState, command: Unlock | Extend | Guarded) -> bool:
    """Whether the lock is held with the command's token."""
    return command.token > 0 and state.keyspace.revision(command.name) == command.token


def _lock(state: LockState, command: Lock) -> Reply:
    space, stamp = state.keyspace, state.stamp
    expires = _end(state, command.ttl_ms)
    record = space.records.get(command.name)
    if record is None:
        state.revision += 1
        space.put(command.name, command.owner, state.revision, expires)
        return [1, state.revision, expires, stamp]
    if not command.owner or record.value != command.owner:
        return [0, record.revision, record.expires, stamp]
    space.put(command.name, record.value, record.revision, expires)
    return [1, record.revision, expires, stamp]


def _unlock(state: LockState, command: Unlock) -> Reply:
    if not holds(state, command):
        return 0
    state.revision += 1
    state.keyspace.remove(command.name)
    return 1


def _extend(state: LockState, command: Extend) -> Reply:
    if not holds(state, command):
        return 0
    record = state.keyspace.records[command.name]
    state.keyspace.put(command.name, record.value, record.revision, _end(state, command.ttl_ms))
    return 1


def _end(state: LockState, ttl_ms: int) -> int:
    return min(state.stamp + ttl_ms, INT64_MAX)


FUNCTIONS: dict[type, Callable[[Any, Any], Reply]] = {Lock: _lock, Unlock: _unlock, Extend: _extend}
"""The function of each command, of a `LockState` and the command."""
