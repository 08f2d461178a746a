"""What the state holds beside the keys: rows of several kinds, which clients do not see and no flush removes.

A row has the form of a record. Its key in the ledger is the byte of its kind and then its own name. So one
table of the state file, one stream of rows in a snapshot, and one sum cover all kinds.
"""

from collections.abc import Iterable
from enum import IntEnum
from hashlib import blake2b

from kraft.kv.due_times import DueTimes
from kraft.kv.noted_changes import Changes, NotedKeys, noting
from kraft.kv.record import (
    CHANGE_BYTES,
    EXPIRY_OVERHEAD_BYTES,
    RECORD_OVERHEAD_BYTES,
    Record,
    row_sum,
)
from kraft.untracked import untracked


class LedgerKind(IntEnum):
    """The kinds of rows: a number is never given to another kind."""

    TOKEN = 1  # of KRAFT ONCE: the reply to the first use
    SCRIPT = 2  # the cache of scripts: `kraft.kv.scripts`
    LIBRARY = 3  # libraries of functions: `kraft.kv.libraries`
    PREPARED = 4  # transactions over several groups: `kraft.kv.transactions`
    DECISION = 5
    FINISHED = 6
    MARK = 7
    USER = 8  # users and their rights: `kraft.kv.users`
    SLOTS = 9  # slots that move between groups: `kraft.kv.slots`
    MOVE = 10
    MAP = 11  # the slots of all groups, in group 0: `kraft.kv.slot_map`
    GROUP = 12  # groups created since the cluster was formed, in group 0: `kraft.kv.created_groups`
    PLACEMENT = 13  # where the votes of all groups should be, in group 0: `kraft.kv.placement`


_KINDS = max(LedgerKind) + 1


class Ledger:
    """All rows by key. `counts` and `sizes` are the number of rows, and their memory in bytes, by kind.

    Treat `rows` as read-only outside this class.
    """

    __slots__ = ("_changes", "_due", "_noted", "counts", "rows", "sizes")

    def __init__(self) -> None:
        self.rows: dict[bytes, Record] = untracked({})
        self.counts = [0] * _KINDS
        self.sizes = [0] * _KINDS
        self._changes: Changes = {}
        self._noted: NotedKeys | None = None
        self._due = DueTimes()

    def get(self, kind: LedgerKind, name: bytes) -> Record | None:
        """The row of that name, None when there is none."""
        return self.rows.get(ledger_key(kind, name))

    def put(self, kind: LedgerKind, name: bytes, data: bytes, revision: int, expires: int = 0) -> None:
        """Store a row, which `forget` removes when the stamp has reached `expires` (Unix ms, 0 for never)."""
        self.remove(kind, name)
        key = ledger_key(kind, name)
        row = self.rows[key] = self._changes[key] = Record(key, data, revision, expires)
        self._count(row, 1)
        self._due.changed(key, 0, expires)

    def remove(self, kind: LedgerKind, name: bytes) -> bool:
        """Drop a row. Returns whether it was there."""
        return self._remove(ledger_key(kind, name))

    def forget(self, stamp: int, most: int) -> int:
        """Drop rows whose time has come at `stamp`, at most so many. Returns how many those were."""
        count = 0
        while count < most and (due := self._due.due(stamp)):
            for key in sorted(due)[: most - count]:  # the same ones on every replica
                self._remove(key)
                count += 1
        return count

    def load(self, rows: Iterable[tuple[bytes, bytes, int, int]]) -> int:
        """Fill an empty ledger; none of the rows counts as a change. Returns the sum of their `row_sum`."""
        checks = 0
        keys, times = [], []
        for key, data, revision, expires in rows:
            row = self.rows[key] = Record(key, data, revision, expires)
            self._count(row, 1)
            checks += row_sum(key, data, revision, expires)
            if expires:
                keys.append(key)
                times.append(expires)
        self._due.load(keys, times)
        return checks

    def take_changes(self) -> dict[bytes, Record | None]:
        """As `Keyspace.take_changes`."""
        taken, self._changes = self._changes, noting(self._noted, {})
        return taken

    def note(self, noted: NotedKeys | None) -> None:
        """As `Keyspace.note`."""
        self._noted, self._changes = noted, noting(noted, self._changes)

    def give_back(self, changes: dict[bytes, Record | None]) -> None:
        """As `Keyspace.give_back`."""
        given = dict(zip(changes, map(self.rows.get, changes), strict=True)) | self._changes
        self._changes = noting(self._noted, given)

    @property
    def changed(self) -> int:
        """How many rows changed since `take_changes`."""
        return len(self._changes)

    @property
    def memory(self) -> int:
        """An estimate of the memory of all rows, in bytes."""
        return sum(self.sizes) + CHANGE_BYTES * len(self._changes)

    def digest(self) -> bytes:
        """A hash (32 bytes) of all rows."""
        hashed = blake2b(digest_size=32)
        for key, row in sorted(self.rows.items()):
            hashed.update(b"%d %d %d %d " % (len(key), len(row.value), row.revision, row.expires))
            hashed.update(key)
            hashed.update(row.value)
        return hashed.digest()

    def _remove(self, key: bytes) -> bool:
        row = self.rows.pop(key, None)
        if row is None:
            return False
        self._changes[key] = None
        self._count(row, -1)
        self._due.changed(key, row.expires, 0)
        return True

    def _count(self, row: Record, sign: int) -> None:
        kind = row.key[0]
        self.counts[kind] += sign
        self.sizes[kind] += sign * ledger_bytes(row.key, row.value, row.expires)


def ledger_key(kind: LedgerKind, name: bytes) -> bytes:
    """The key of a row in the ledger."""
    return bytes([kind]) + name


def ledger_bytes(key: bytes, data: bytes, expires: int) -> int:
    """The memory of one row."""
    return RECORD_OVERHEAD_BYTES + len(key) + len(data) + (EXPIRY_OVERHEAD_BYTES if expires else 0)
