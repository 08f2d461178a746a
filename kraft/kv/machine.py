"""The state machine: a stamp and a batch of commands change the keyspace and give replies.

`Machine.apply` is a function of the state, the stamp and the commands: no clock, no randomness, no
configuration, no iteration order. Every replica applies the same batches in the same order and ends in the
same state. First every key that is due at the stamp goes; then the commands run one after the other, each by
the function that one table names for its type. A command that changed something takes the next revision, and
the keys it changed carry it; a command that was refused, or found nothing to do, takes none. Expiry takes
none either: a key that is gone has revision 0.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

from kraft.int64 import INT64_MAX, INT64_MIN, parse_int64
from kraft.kv.checkpoint import Capture
from kraft.kv.commands import (
    AppendValue,
    ClearExpiry,
    Command,
    Condition,
    Delete,
    Expire,
    Expiry,
    GetDelete,
    Guard,
    Increment,
    Put,
    Set,
    SetMany,
    SetRange,
)
from kraft.kv.errors import BrokenInvariant
from kraft.kv.keyspace import Keyspace
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.versions import MACHINE_VERSION_MIN
from kraft.raft.membership.configuration import Base

EXPIRY_MS_MAX = INT64_MAX  # later expiries are cut to it: 292 million years


class Machine:
    """The state of one group.

    `stamp` is that of the last batch (Unix ms), `revision` that of the last change, `version` the machine
    version in force; `expired` counts the keys that fell due.
    """

    __slots__ = ("expired", "keyspace", "revision", "stamp", "version")

    def __init__(self) -> None:
        self.keyspace = Keyspace()
        self.stamp = 0
        self.revision = 0
        self.version = MACHINE_VERSION_MIN
        self.expired = 0

    @classmethod
    def restored(cls, keyspace: Keyspace, stamp: int, revision: int, version: int) -> "Machine":
        """The machine that a checkpoint was taken of."""
        machine = cls()
        machine.keyspace, machine.stamp, machine.revision = keyspace, stamp, revision
        machine.version = version
        return machine

    def capture(self, base: Base) -> Capture:
        """What a checkpoint at `base`, the index just applied, has to write. Costs nothing here and now."""
        return Capture(base, self.revision, self.keyspace.take_changes(), self.version)

    def digest(self) -> bytes:
        """A hash of the whole state: contents, expiries, revisions, stamp, version. Reads every key."""
        head = b"%d %d %d %d " % (self.stamp, self.revision, self.version, len(self.keyspace))
        return blake2b(head + self.keyspace.digest(), digest_size=32).digest()

    def apply(self, stamp: int, commands: Sequence[Command]) -> list[Reply]:
        """Expire what is due at `stamp`, then run the commands. Returns one reply for each."""
        if stamp < self.stamp:
            raise BrokenInvariant(f"stamp {stamp} is below the last one, {self.stamp}")
        self.stamp = stamp
        if self.keyspace.expiring:
            self.expired += self.keyspace.expire(stamp)
        replies: list[Reply] = []
        put, functions = self.keyspace.put, self._FUNCTIONS
        for command in commands:
            if type(command) is Put:  # most of all traffic: saves a call
                self.revision += 1
                put(command.key, command.value, self.revision)
                replies.append("OK")
            else:
                replies.append(functions[type(command)](self, command))
        return replies

    def raise_version(self, stamp: int, version: int) -> None:
        """Apply a VERSION entry: `version` is in force from here on. The host stops if it lacks it."""
        self.apply(stamp, ())
        self.version = max(self.version, version)

    def _set(self, command: Set) -> Reply:
        old = self.keyspace.records.get(command.key)
        before = None if old is None else old.value
        if not _CONDITIONS[command.condition](old is not None):
            return before if command.get else None
        if command.expiry in _TIMED:
            expires = self._due(command.expiry, command.expiry_ms)
        else:
            expires = old.expires if old is not None and command.expiry == Expiry.KEEP else 0
        if command.expiry in _TIMED and expires <= self.stamp:
            self._remove((command.key,))
        else:
            self._put(command.key, command.value, expires)
        return before if command.get else "OK"

    def _set_many(self, command: SetMany) -> Reply:
        pairs = command.pairs
        self.revision += bool(pairs)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.keyspace.put(key, value, self.revision)
        return "OK"

    def _get_delete(self, command: GetDelete) -> Reply:
        value = self.keyspace.get(command.key)
        self._remove((command.key,))
        return value

    def _append(self, command: AppendValue) -> Reply:
        value, expires = self._value_and_expiry(command.key)
        if len(value) + len(command.value) > command.limit:
            return CommandFailure.TOO_LARGE
        value += command.value
        self._put(command.key, value, expires)
        return len(value)

    def _set_range(self, command: SetRange) -> Reply:
        value, expires = self._value_and_expiry(command.key)
        if not command.value:
            return len(value)
        end = command.offset + len(command.value)
        if end > command.limit:
            return CommandFailure.TOO_LARGE
        before = value[: command.offset].ljust(command.offset, b"\0")
        value = before + command.value + value[end:]
        self._put(command.key, value, expires)
        return len(value)

    def _delete(self, command: Delete) -> Reply:
        return self._remove(command.keys)

    def _increment(self, command: Increment) -> Reply:
        value, expires = self._value_and_expiry(command.key, missing=b"0")
        number = parse_int64(value)
        if number is None:
            return CommandFailure.NOT_AN_INTEGER
        number += command.amount
        if not INT64_MIN <= number <= INT64_MAX:
            return CommandFailure.OVERFLOW
        self._put(command.key, b"%d" % number, expires)
        return number

    def _expire(self, command: Expire) -> Reply:
        record = self.keyspace.records.get(command.key)
        if record is None:
            return 0
        expires = self._due(command.expiry, command.expiry_ms)
        if not _GUARDS[command.guard](record.expires, expires):
            return 0
        if expires <= self.stamp:
            self._remove((command.key,))
        else:
            self._put(command.key, record.value, expires)
        return 1

    def _clear_expiry(self, command: ClearExpiry) -> Reply:
        record = self.keyspace.records.get(command.key)
        if record is None or not record.expires:
            return 0
        self._put(command.key, record.value)
        return 1

    def _put(self, key: bytes, value: bytes, expires: int = 0) -> None:
        """The one change of a command; it takes the next revision."""
        self.revision += 1
        self.keyspace.put(key, value, self.revision, expires)

    def _remove(self, keys: Sequence[bytes]) -> int:
        """Drop keys in one command, with one revision for all of them. Returns how many existed."""
        removed = sum([self.keyspace.remove(key) is not None for key in keys])
        self.revision += bool(removed)
        return removed

    def _value_and_expiry(self, key: bytes, missing: bytes = b"") -> tuple[bytes, int]:
        record = self.keyspace.records.get(key)
        return (missing, 0) if record is None else (record.value, record.expires)

    def _due(self, expiry: int, expiry_ms: int) -> int:
        due = self.stamp + expiry_ms if expiry == Expiry.RELATIVE else expiry_ms
        return min(due, EXPIRY_MS_MAX)

    _FUNCTIONS: ClassVar[dict[type, Callable[["Machine", Any], Reply]]] = {
        Set: _set,
        SetMany: _set_many,
        GetDelete: _get_delete,
        AppendValue: _append,
        SetRange: _set_range,
        Delete: _delete,
        Increment: _increment,
        Expire: _expire,
        ClearExpiry: _clear_expiry,
    }


_TIMED = (Expiry.RELATIVE, Expiry.ABSOLUTE)

# Whether SET takes effect, from whether the key exists.
_CONDITIONS: dict[int, Callable[[bool], bool]] = {
    Condition.ALWAYS: lambda _: True,
    Condition.IF_MISSING: lambda exists: not exists,
    Condition.IF_PRESENT: lambda exists: exists,
}

# Whether EXPIRE takes effect, from the key's present expiry (0: none, infinitely late) and the new one.
_GUARDS: dict[int, Callable[[int, int], bool]] = {
    Guard.ALWAYS: lambda _, __: True,
    Guard.IF_NONE: lambda old, _: not old,
    Guard.IF_SOME: lambda old, _: bool(old),
    Guard.IF_LATER: lambda old, new: 0 < old < new,
    Guard.IF_EARLIER: lambda old, new: not old or new < old,
    Guard.IF_SOME_AND_EARLIER: lambda old, new: bool(old) and new < old,
}
