"""A keyspace over another one, which it leaves as it is.

What one command or script changes is apart from what came before, until it is kept or dropped. Keys that the
stamp lets expire count as missing from the beginning; keys under locks do not expire.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import Ledger, LedgerKind, ledger_key
from kraft.kv.lock_table import LockTable
from kraft.kv.record import EXPIRY_OVERHEAD_BYTES, Record, record_bytes
from kraft.kv.removals import Removals, bucket_of
from kraft.kv.values import Value

_ABSENT: Any = object()


class OverlaidRecords(MutableMapping[bytes, Record]):
    """The records of `base` that live at `stamp`, and changes of them: `kept` ones, and those since then.

    `touched` has what was found for each key that was looked at since `keep`, None for a missing one, and
    `now` what such a key holds now. The journal has what changed keys were before, since `keep`, `hold` or
    `drop`: None as the key stands for all of them.
    """

    __slots__ = (
        "_added",
        "_base",
        "_changed",
        "_cleared",
        "_held_touched",
        "_journal",
        "_kept",
        "_kept_cleared",
        "_locks",
        "_stamp",
        "now",
        "touched",
    )

    def __init__(
        self,
        base: MutableMapping[bytes, Record],
        stamp: int = 0,
        due: int = 0,
        locks: LockTable | None = None,
    ) -> None:
        """So many keys of `base` are `due` at the stamp. Keys that are locked in `locks` never are."""
        self.touched: dict[bytes, Record | None] = {}
        self.now: dict[bytes, Record | None] = {}
        self._base = base
        self._locks = locks
        self._stamp = stamp
        self._kept: dict[bytes, Record | None] = {}
        self._kept_cleared = False
        self._changed: dict[bytes, Record | None] = {}
        self._cleared = False
        self._added = [-due, -due]  # how many more keys there are than in `base`: as held, and now
        self._journal: list[tuple[bytes | None, Any, Any]] = []
        self._held_touched = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        """The record of a key."""
        record = self.now.get(key, _ABSENT)
        if record is _ABSENT:
            record = self.look(key)
        return default if record is None else record

    def peek(self, key: bytes) -> Record | None:
        """The record of a key, which does not count as looked at by that."""
        record: Record | None = self._changed.get(key, _ABSENT)
        if record is _ABSENT:
            return None if self._cleared else self._before(key)
        return record

    def look(self, key: bytes) -> Record | None:
        """The record of a key that is not in `now`."""
        if self._cleared:  # whatever was there
            return None
        record = self.now[key] = self.touched[key] = self._before(key)
        return record

    def _before(self, key: bytes) -> Record | None:
        record = self._kept.get(key, _ABSENT)
        if record is _ABSENT:
            record = None if self._kept_cleared else self._base.get(key)
            if record is not None and 0 < record.expires <= self._stamp:
                return record if self._locks is not None and self._locks.holds(key) else None
        found: Record | None = record
        return found

    @property
    def changed(self) -> Mapping[bytes, Record | None]:
        """What changed keys hold now, None for a removed one; of all keys that are left if `cleared`."""
        return self._changed

    @property
    def changes(self) -> dict[bytes, Record | None]:
        """As `changed`, of those keys that have changed since `hold`, in the order of their first changes."""
        return {key: self._changed[key] for key, _, _ in self._journal if key is not None}

    @property
    def cleared(self) -> bool:
        """Whether every record was removed, before what `changed` has."""
        return self._cleared

    def __getitem__(self, key: bytes) -> Record:
        record: Record | None = self.get(key)
        if record is None:
            raise KeyError(key)
        return record

    def __setitem__(self, key: bytes, record: Record) -> None:
        self.change(key, self.get(key), record)

    def __delitem__(self, key: bytes) -> None:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        self.change(key, found, None)

    def change(self, key: bytes, found: Record | None, record: Record | None) -> None:
        """Put a record in place of the one that `get` has found. None is a missing one."""
        changed = self._changed
        self._journal.append((key, changed.get(key, _ABSENT), found))
        self.now[key] = changed[key] = record
        if found is None or record is None:
            self._added[1] += (found is None) - (record is None)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self.get(key) is not None

    def __len__(self) -> int:
        return len(self._base) + self._added[1]

    def __iter__(self) -> Iterator[bytes]:
        below: Mapping[bytes, Any] = {} if self._cleared or self._kept_cleared else self._base
        keys = {**below, **self._kept, **self._changed}
        return iter([key for key in keys if self.get(key) is not None])

    def names(self) -> Iterator[bytes]:
        """The keys, of which none counts as looked at."""
        changed, kept = self._changed, self._kept
        yield from [key for key, record in changed.items() if record is not None]
        if self._cleared:
            return
        yield from [key for key, record in kept.items() if record is not None and key not in changed]
        if self._kept_cleared:
            return
        for key, record in self._base.items():
            if key not in changed and key not in kept and (not record.expires or self._before(key)):
                yield key

    def clear(self) -> None:
        """Remove every record, without a look at them."""
        self._journal.append((None, (self._changed, self._cleared), self.now))
        self._changed, self.now = {}, {}
        self._cleared = True
        self._added[1] = -len(self._base)

    def keep(self) -> None:
        """What changed is what comes before from now on."""
        if not (self.now or self._cleared):  # nothing has been looked at
            return
        if self._cleared:
            self._kept, self._kept_cleared = self._changed, True
            self._changed, self._cleared = {}, False
        elif self._changed:
            self._kept.update(self._changed)
            self._changed = {}
        self.touched, self.now = {}, {}
        self.hold()

    def hold(self) -> None:
        """`drop` goes back to here."""
        if self._journal:
            self._journal = []
            self._added[0] = self._added[1]
        self._held_touched = len(self.touched)

    def drop(self) -> None:
        """Nothing has changed since `keep` or `hold`."""
        for key, before, found in reversed(self._journal):
            if key is None:
                self._changed, self._cleared = before
                self.now = found
                continue
            self.now[key] = found
            if before is _ABSENT:
                del self._changed[key]
            else:
                self._changed[key] = before
        self._journal = []
        self._added[1] = self._added[0]
        while len(self.touched) > self._held_touched:
            del self.now[self.touched.popitem()[0]]


class OverlaidRemovals(Removals):
    """The removals of `base` and those since then, also of what is due. In doubt one is possible.

    There are few: they are kept by bucket in a dictionary, which takes less than an array to make.
    """

    __slots__ = ("_base", "_buckets", "_stamp")

    def __init__(self, base: Keyspace, stamp: int) -> None:
        super().__init__()
        self._base = base
        self._stamp = stamp
        self._buckets: dict[int, int] = {}

    def add(self, key: bytes, revision: int) -> None:
        """As of `Removals`."""
        bucket = bucket_of(key)
        self._buckets[bucket] = max(self._buckets.get(bucket, 0), revision)

    def possible(self, key: bytes, revision: int) -> bool:
        """As of `Removals`."""
        record = self._base.records.get(key)
        due = record is not None and 0 < record.expires <= self._stamp and record.revision > revision
        since = self._buckets.get(bucket_of(key), 0) > revision
        return due or since or super().possible(key, revision) or self._base.removals.possible(key, revision)


class OverlaidLedger(Ledger):
    """The rows of `base`, with changes of its own. Tokens of ONCE that are due are still there: no script
    reads them, and at their limit a use is refused here that finds room in its place.
    """

    __slots__ = ("_found", "_held", "overlaid")

    def __init__(self, base: Ledger) -> None:
        super().__init__()
        self._found: dict[bytes, Record | None] = {}  # by `get`, since a row has changed
        self.overlaid = OverlaidRecords(base.rows)
        self.rows = self.overlaid  # type: ignore[assignment]  # in place of a dictionary
        self.counts, self.sizes = list(base.counts), list(base.sizes)
        self._held: tuple[list[int], list[int]] | None = None  # what these were, if a row has changed since

    def get(self, kind: LedgerKind, name: bytes) -> Record | None:
        """As of `Ledger`. No script watches a row, and all scripts of a batch may need the same one."""
        key = ledger_key(kind, name)
        row = self._found.get(key, _ABSENT)
        if row is _ABSENT:
            row = self._found[key] = self.overlaid.peek(key)
        found: Record | None = row
        return found

    def keep(self) -> None:
        """As of `OverlaidRecords`, like the next two."""
        self._held = None
        self.overlaid.keep()

    def hold(self) -> None:
        self._held = None
        self.overlaid.hold()

    def drop(self) -> None:
        self.overlaid.drop()
        self._found.clear()
        if self._held is not None:
            (self.counts, self.sizes), self._held = self._held, None

    def _count(self, row: Record, sign: int) -> None:
        self._found.clear()
        if self._held is None:
            self._held = list(self.counts), list(self.sizes)
        super()._count(row, sign)


class OverlaidKeyspace(Keyspace):
    """The keys of `base` that live at `stamp`, with changes of its own.

    All that happens here has that stamp, at which no key falls due that is put here. So there is no account
    of due times, nor of changes for a checkpoint.
    """

    __slots__ = ("_hidden", "overlaid", "rows")

    def __init__(self, base: Keyspace, stamp: int) -> None:
        super().__init__()
        due = base.due_by(stamp)
        self.records = self.overlaid = OverlaidRecords(base.records, stamp, len(due), base.transactions.locks)
        self.removals = OverlaidRemovals(base, stamp)
        self._hidden = 0 if base.slots is None else base.slots.hidden
        self.ledger = self.rows = OverlaidLedger(base.ledger)
        self.bytes = base.bytes - sum([base.memory_of(key) or 0 for key in due])

    def __len__(self) -> int:
        """As of `Keyspace`."""
        return len(self.records) - self._hidden

    def put(self, key: bytes, value: Value, revision: int, expires: int = 0) -> None:
        """As of `Keyspace`."""
        overlaid = self.overlaid
        found = overlaid.now.get(key, _ABSENT)  # as `get`, without the call
        if found is _ABSENT:
            found = overlaid.look(key)
        if found is None:
            record = Record(key, value, revision, expires)
            self.bytes += record_bytes(record)
        else:
            record = Record(found.key, value, revision, expires)
            self.bytes += len(value) - len(found.value)
            if expires != found.expires:
                self.bytes += EXPIRY_OVERHEAD_BYTES * ((expires > 0) - (found.expires > 0))
        overlaid.change(key, found, record)

    def remove(self, key: bytes) -> Record | None:
        """As of `Keyspace`."""
        found: Record | None = self.overlaid.get(key)
        if found is not None:
            self.overlaid.change(key, found, None)
            self.removals.add(key, found.revision)
            self.bytes -= record_bytes(found)
        return found

    def clear(self) -> None:
        """Drop all keys at once."""
        self.overlaid.clear()
        self.bytes = self._hidden = 0
