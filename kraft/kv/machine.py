"""The state machine: a stamp and a batch of commands change the keyspace and give replies.

`Machine.apply` is a function of the state, the stamp and the commands: no clock, no randomness, no
configuration, no iteration order. Every replica applies the same batches in the same order and ends in the
same state. First every key that is due at the stamp goes; then the commands run one after the other, each by
the function that one table names for its type. A command that changed something takes the next revision, and
the keys it changed carry it; a command that was refused, or found nothing to do, takes none. Expiry takes
none either: a key that is gone has revision 0. A lock that is extended keeps its revision, which is its
token.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

from kraft.int64 import INT64_MAX, INT64_MIN, parse_int64
from kraft.kv.bits import bit_at, combined, end_of_writes, run_fields, with_bit
from kraft.kv.checkpoint import Capture
from kraft.kv.commands import (
    BITOP_VALUES,
    AppendValue,
    BitField,
    BitOperation,
    ClearExpiry,
    Command,
    CompareAndSet,
    Comparison,
    Condition,
    Copy,
    Delete,
    DeleteIf,
    Exec,
    Expire,
    Expiry,
    Flush,
    GetDelete,
    GetExpire,
    Guard,
    Guarded,
    Increment,
    IncrementFloat,
    Look,
    Put,
    Rename,
    Set,
    SetBit,
    SetIf,
    SetMany,
    SetManyIf,
    SetRange,
)
from kraft.kv.errors import BrokenInvariant
from kraft.kv.excerpt import Excerpts
from kraft.kv.keyspace import Keyspace
from kraft.kv.locks import FUNCTIONS as LOCK_FUNCTIONS
from kraft.kv.locks import holds
from kraft.kv.long_double import NotFinite, add, format_long_double, parse_long_double
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.values import Value
from kraft.kv.versions import MACHINE_VERSION_MIN
from kraft.raft.membership.configuration import Base

EXPIRY_MS_MAX = INT64_MAX  # later expiries are cut to it: 292 million years

_Timed = Set | SetIf | SetManyIf | GetExpire
"""A command that gives a key another expiry, besides what else it does."""


class Machine:
    """The state of one group.

    `stamp` is that of the last batch (Unix ms), `revision` that of the last change, `version` the machine
    version in force; `expired` counts the keys that fell due. One method for each command makes the class
    longer than 300 lines.
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
        keyspace.removals.forget(revision)
        return machine

    def capture(self, base: Base) -> Capture:
        """What a checkpoint at `base`, the index just applied, has to write. Costs nothing here and now."""
        cleared = self.keyspace.cleared
        return Capture(base, self.revision, self.keyspace.take_changes(), self.version, cleared)

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
        self.mark(stamp)
        self.version = max(self.version, version)

    def mark(self, stamp: int) -> None:
        """Apply an entry at which every replica takes a checkpoint, which does not hold `removals`."""
        self.apply(stamp, ())
        self.keyspace.removals.forget(self.revision)

    def _execute(self, command: Exec) -> Reply:
        if not self.keyspace.unchanged(command.watched):
            return None
        excerpts, functions = Excerpts(self.keyspace), self._FUNCTIONS
        before, changed = self.revision, False
        replies: list[Reply] = []
        for step in command.steps:
            self.revision = before  # every change of a transaction has the next one
            replies.append(excerpts.look(step) if type(step) is Look else functions[type(step)](self, step))
            changed = changed or self.revision > before
        self.revision = before + changed
        return excerpts.reply(self.stamp, replies)

    def _plain_set(self, command: Put) -> Reply:
        self._put(command.key, command.value)
        return "OK"

    def _set(self, command: Set) -> Reply:
        exists = command.key in self.keyspace
        return self._store(command, _CONDITIONS[command.condition](exists))

    def _set_if(self, command: SetIf) -> Reply:
        present = self.keyspace.get(command.key)
        return self._store(command, _COMPARISONS[command.comparison](present, command.operand))

    def _store(self, command: Set | SetIf, done: bool) -> Reply:
        old = self.keyspace.records.get(command.key)
        before, expires = (None, 0) if old is None else (old.value, old.expires)
        if done:
            due = self._new_expiry(command, expires)
            if due is None:
                self._remove((command.key,))
            else:
                self._put(command.key, command.value, due)
        if command.get:
            return before
        return "OK" if done else None

    def _set_many(self, command: SetMany) -> Reply:
        pairs = command.pairs
        self.revision += bool(pairs)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.keyspace.put(key, value, self.revision)
        return "OK"

    def _set_many_if(self, command: SetManyIf) -> Reply:
        space, keys = self.keyspace, command.pairs[::2]
        holds = _CONDITIONS[command.condition]
        if not all(holds(key in space) for key in keys):
            return 0
        expiries = [self._new_expiry(command, space.expires(key) or 0) for key in keys]
        if None in expiries:  # the same time for all, which has come
            self._remove(keys)
            return 1
        self.revision += bool(keys)
        for key, value, expires in zip(keys, command.pairs[1::2], expiries, strict=True):
            space.put(key, value, self.revision, expires or 0)
        return 1

    def _compare_and_set(self, command: CompareAndSet) -> Reply:
        if self.keyspace.revision(command.key) != command.revision:
            return None
        self._put(command.key, command.value)
        return self.revision

    def _get_expire(self, command: GetExpire) -> Reply:
        record = self.keyspace.records.get(command.key)
        if record is None:
            return None
        expires = self._new_expiry(command, record.expires)
        if expires is None:
            self._remove((command.key,))
        elif expires != record.expires:
            self._put(command.key, record.value, expires)
        return record.value

    def _get_delete(self, command: GetDelete) -> Reply:
        value = self.keyspace.get(command.key)
        self._remove((command.key,))
        return value

    def _append(self, command: AppendValue) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key)
        if len(value) + len(command.value) > command.limit:
            return CommandFailure.TOO_LARGE
        value += command.value
        self._put(command.key, value, expires)
        return len(value)

    def _set_range(self, command: SetRange) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key)
        if not command.value:
            return len(value)
        end = command.offset + len(command.value)
        if end > command.limit:
            return CommandFailure.TOO_LARGE
        before = value[: command.offset].ljust(command.offset, b"\0")
        value = before + command.value + value[end:]
        self._put(command.key, value, expires)
        return len(value)

    def _set_bit(self, command: SetBit) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key)
        end = (command.offset >> 3) + 1
        if end > command.limit:
            return CommandFailure.TOO_LARGE
        if not self.keyspace.has_room(command.key, end, command.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        before = bit_at(value, command.offset)
        if before != command.bit or end > len(value):
            self._put(command.key, with_bit(value, command.offset, command.bit), expires)
        return before

    def _bit_operation(self, command: BitOperation) -> Reply:
        values = [self.keyspace.get(key) or b"" for key in command.sources]
        if sum(map(len, values)) > BITOP_VALUES * command.limit:
            return CommandFailure.TOO_MUCH
        length = max(map(len, values), default=0)
        if not length:
            self._remove((command.destination,))
        elif not self.keyspace.has_room(command.destination, length, command.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        else:
            self._put(command.destination, combined(command.operator, values))
        return length

    def _bit_field(self, command: BitField) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key)
        end = end_of_writes(command.operations)
        if end > command.limit:
            return CommandFailure.TOO_LARGE
        if not self.keyspace.has_room(command.key, end, command.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        data = bytearray(value.ljust(end, b"\0"))
        replies, wrote = run_fields(data, command.operations)
        if wrote or end > len(value):
            self._put(command.key, bytes(data), expires)
        return replies

    def _delete(self, command: Delete) -> Reply:
        return self._remove(command.keys)

    def _delete_if(self, command: DeleteIf) -> Reply:
        value = self.keyspace.get(command.key)
        if not _COMPARISONS[command.comparison](value, command.operand):
            return 0
        return self._remove((command.key,))

    def _flush(self, _: Flush) -> Reply:
        self.revision += bool(len(self.keyspace))
        self.keyspace.clear()
        self.keyspace.removals.forget(self.revision)  # not each key: that would take time
        return "OK"

    def _rename(self, command: Rename) -> Reply:
        record = self.keyspace.records.get(command.source)
        if record is None:
            return CommandFailure.NO_SUCH_KEY
        if not command.replace and command.destination in self.keyspace:
            return 0
        if command.source != command.destination:
            self.keyspace.remove(command.source)
            self._put(command.destination, record.value, record.expires)
        return 1

    def _copy(self, command: Copy) -> Reply:
        record = self.keyspace.records.get(command.source)
        if record is None or (not command.replace and command.destination in self.keyspace):
            return 0
        if not self.keyspace.has_room(command.destination, len(record.value), command.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        self._put(command.destination, record.value, record.expires)
        return 1

    def _increment(self, command: Increment) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key, missing=b"0")
        number = parse_int64(value)
        if number is None:
            return CommandFailure.NOT_AN_INTEGER
        number += command.amount
        if not INT64_MIN <= number <= INT64_MAX:
            return CommandFailure.OVERFLOW
        self._put(command.key, b"%d" % number, expires)
        return number

    def _increment_float(self, command: IncrementFloat) -> Reply:
        value, expires = self.keyspace.value_and_expiry(command.key, missing=b"0")
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
        self._put(command.key, text, expires)
        return text

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

    def _guarded(self, command: Guarded) -> Reply:
        if not holds(self, command):
            return CommandFailure.LOCK_LOST
        return self._FUNCTIONS[type(command.command)](self, command.command)

    def _put(self, key: bytes, value: bytes, expires: int = 0) -> None:
        """The one change of a command; it takes the next revision."""
        self.revision += 1
        self.keyspace.put(key, value, self.revision, expires)

    def _remove(self, keys: Sequence[bytes]) -> int:
        """Drop keys in one command, with one revision for all of them. Returns how many existed."""
        removed = sum([self.keyspace.remove(key) is not None for key in keys])
        self.revision += bool(removed)
        return removed

    def _new_expiry(self, command: _Timed, present: int) -> int | None:
        """The expiry of a key with the `present` one after `command`; None when that time has come."""
        if command.expiry not in _TIMED:
            return present if command.expiry == Expiry.KEEP else 0
        due = self._due(command.expiry, command.expiry_ms)
        return due if due > self.stamp else None

    def _due(self, expiry: int, expiry_ms: int) -> int:
        due = self.stamp + expiry_ms if expiry == Expiry.RELATIVE else expiry_ms
        return min(due, EXPIRY_MS_MAX)

    _FUNCTIONS: ClassVar[dict[type, Callable[["Machine", Any], Reply]]] = {
        Exec: _execute,
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
        SetBit: _set_bit,
        BitOperation: _bit_operation,
        BitField: _bit_field,
        Delete: _delete,
        DeleteIf: _delete_if,
        Flush: _flush,
        Rename: _rename,
        Copy: _copy,
        Increment: _increment,
        IncrementFloat: _increment_float,
        Expire: _expire,
        ClearExpiry: _clear_expiry,
        Guarded: _guarded,
        **LOCK_FUNCTIONS,
    }


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
