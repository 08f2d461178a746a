"""Keys and their records, with an account of the memory they take.

The keyspace knows no stamps, and of commands only what WATCH saw: `kraft.kv.machine` decides, this stores.
Records are immutable, so a reader that holds one keeps what it saw. Nothing here depends on the order of the
dictionary.
"""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any
from zlib import adler32

from kraft.kv.commands.exec import Watched
from kraft.kv.due_times import DueTimes
from kraft.kv.garbage import Garbage
from kraft.kv.key_index import KeyIndex
from kraft.kv.key_order import KeyOrder
from kraft.kv.layered_records import LayeredRecords
from kraft.kv.ledger import Ledger
from kraft.kv.noted_changes import Changes, NotedKeys, noting
from kraft.kv.record import (
    ADLER_BASE,
    CHANGE_BYTES,
    EXPIRY_OVERHEAD_BYTES,
    RECORD_OVERHEAD_BYTES,
    Record,
    record_bytes,
)
from kraft.kv.removals import Removals
from kraft.kv.slot_index import SlotIndex
from kraft.kv.slots import SlotTable
from kraft.kv.transaction_index import TransactionIndex
from kraft.kv.values import Value, type_of
from kraft.untracked import untracked

INDEXED_KEYS = 128  # in one step of building the index: 0.4 ms
MERGED_KEYS = 512

AnyIndex = KeyIndex | KeyOrder | SlotIndex
IndexType = type[KeyIndex] | type[KeyOrder] | type[SlotIndex]


class Keyspace:
    """All keys of a group. Treat `records` as read-only outside this class.

    `cleared` means that all keys were removed since `take_changes`: changes are those after that. What they
    were is `garbage` for the owner to free. `removals` are the records that were removed, and `due` says when
    keys expire. `ledger` is what the state holds beside the keys, and `transactions` follows from it: keys
    that they lock do not expire. `slots` follows from it as well: None as long as no slot has come or gone.
    """

    __slots__ = (
        "_changes",
        "_indexed",
        "_indexes",
        "_noted",
        "bytes",
        "cleared",
        "due",
        "garbage",
        "ledger",
        "records",
        "removals",
        "slots",
        "transactions",
    )

    def __init__(self) -> None:
        self.records: MutableMapping[bytes, Record] = untracked({})
        self._changes: Changes = {}  # since they were last taken; None for a removed key
        self._noted: NotedKeys | None = None
        self.bytes = 0  # approximate memory of all records
        self.due = DueTimes()
        self.cleared = False
        self.garbage = Garbage()
        self.removals = Removals()
        self.ledger = Ledger()
        self.transactions = TransactionIndex()
        self.slots: SlotTable | None = None
        self._indexes: dict[IndexType, AnyIndex] = {}  # those that are complete
        self._indexed: tuple[AnyIndex, ...] = ()  # the same, and the one that is being built

    def __len__(self) -> int:
        """The number of keys, without hidden ones."""
        slots = self.slots
        return len(self.records) if slots is None else max(0, len(self.records) - slots.hidden)

    def __contains__(self, key: bytes) -> bool:
        return key in self.records

    def get(self, key: bytes) -> Value | None:
        """The key's value, None when it is missing."""
        record = self.records.get(key)
        return None if record is None else record.value

    def expires(self, key: bytes) -> int | None:
        """When the key expires in Unix milliseconds, 0 for never, None when it is missing."""
        record = self.records.get(key)
        return None if record is None else record.expires

    def revision(self, key: bytes) -> int:
        """The revision of the key's last change, 0 when it is missing."""
        record = self.records.get(key)
        return 0 if record is None else record.revision

    def unchanged(self, watched: Sequence[Watched]) -> bool:
        """Whether no watched key has changed: in doubt, not."""
        for watch in watched:
            if self.revision(watch.key) != watch.revision:
                return False
            if not watch.revision and self.removals.possible(watch.key, watch.seen):
                return False
        return True

    def value_and_expiry(self, key: bytes, missing: Value = b"") -> tuple[Value, int]:
        """The key's value and expiry (as `expires`); `missing` and 0 when it is missing."""
        record = self.records.get(key)
        return (missing, 0) if record is None else (record.value, record.expires)

    def has_room(self, key: bytes, length: int, memory_limit: int) -> bool:
        """Whether all data stays within `memory_limit` bytes when the key's value grows to `length` bytes.

        A short command can add megabytes, so the account of the last tick is too old to admit many of them.
        This is `memory` without what depends on the checkpoints of one replica: all replicas agree.
        """
        record = self.records.get(key)
        present = len(record.value) if record is not None else -RECORD_OVERHEAD_BYTES - len(key)
        total = self.bytes + length - present
        return length <= present or total + (total >> 4) <= memory_limit

    def memory_of(self, key: bytes) -> int | None:
        """The part of `bytes` that is for one key, None when it is missing."""
        record = self.records.get(key)
        return None if record is None else record_bytes(record)

    def due_by(self, stamp: int) -> set[bytes]:
        """The keys that `expire` would drop."""
        due = self.due.due_by(stamp) if self.due.live else set()
        if due and self.transactions.prepared:
            due = {key for key in due if not self.transactions.locks.holds(key)}
        slots = self.slots
        return due if slots is None else {key for key in due if slots.owns(key)}

    def put(self, key: bytes, value: Value, revision: int, expires: int = 0) -> None:
        """Store a record in place of the key's old one, if any."""
        old = self.records.get(key)
        if old is not None:
            key = old.key
        self.records[key] = self._changes[key] = Record(key, value, revision, expires)
        if old is None:
            self.bytes += RECORD_OVERHEAD_BYTES + len(key) + len(value)
            if self._indexed:
                for index in self._indexed:
                    index.add(key)
            if expires:
                self._expiry_changed(key, 0, expires)
        else:
            self.bytes += len(value) - len(old.value)
            if expires != old.expires:
                self._expiry_changed(key, old.expires, expires)

    def remove(self, key: bytes) -> Record | None:
        """Drop the key. Returns its record, None when it was missing."""
        old = self.records.pop(key, None)
        if old is not None:
            self._changes[old.key] = None
            self.removals.add(key, old.revision)
            self.bytes -= RECORD_OVERHEAD_BYTES + len(key) + len(old.value)
            if self._indexed:
                for index in self._indexed:
                    index.remove(key)
            if old.expires:
                self._expiry_changed(key, old.expires, 0)
        return old

    def expire(self, stamp: int) -> int:
        """Drop every key whose expiry is at or before `stamp`, unless it is locked, frozen, or hidden.

        Returns how many.
        """
        count = 0
        transactions, slots = self.transactions, self.slots
        while due := self.due.due(stamp):
            for key in due:
                if transactions.prepared and transactions.locks.holds(key):
                    self.due.park(key, self.records[key].expires)
                elif slots is not None and not slots.owns(key):
                    self.due.set_aside(key, self.records[key].expires)
                else:
                    self.remove(key)
                    count += 1
        return count

    def release(self, transaction: bytes) -> None:
        """A transaction over several groups lets go of its locks: its keys may expire again."""
        self.transactions.release(transaction)
        self.due.unpark()

    def clear(self) -> None:
        """Drop all keys at once, however many there are."""
        records: Any = self.records
        if isinstance(records, LayeredRecords):
            records.discard(self.garbage, self.bytes)
        else:
            self.garbage.add(records, self.bytes)
        for index in self._indexed:
            index.discard(self.garbage)
        self._indexes = {type(index): type(index)() for index in self._indexed}
        self._indexed = tuple(self._indexes.values())
        self.garbage.add(self._changes, CHANGE_BYTES * len(self._changes))
        self.due.discard(self.garbage)
        self.records, self._changes, self.bytes = untracked({}), noting(self._noted, {}), 0
        if self._noted is not None:
            self._noted.cleared = True
        self.due = DueTimes()
        self.cleared = True

    @property
    def index(self) -> KeyIndex | None:
        """The index in the order of hashes, None unless somebody has built it."""
        index = self._indexes.get(KeyIndex)
        return index if isinstance(index, KeyIndex) else None

    @property
    def order(self) -> KeyOrder | None:
        """The index in the order of bytes, None unless somebody has built it."""
        order = self._indexes.get(KeyOrder)
        return order if isinstance(order, KeyOrder) else None

    @property
    def slot_index(self) -> SlotIndex | None:
        """The index by slots, None unless somebody has built it."""
        index = self._indexes.get(SlotIndex)
        return index if isinstance(index, SlotIndex) else None

    def has_index(self, kind: IndexType) -> bool:
        """Whether the index of this type is complete."""
        return kind in self._indexes

    def build_index(self, kind: IndexType) -> Iterator[None]:
        """Build the index of a type, one short step at a time. No other one may be built meanwhile."""
        index = kind(len(self.records))
        self._indexed = (*self._indexed, index)
        base: Any = self.records
        layers = LayeredRecords(base)
        self.records = layers
        rows = iter(base.items())
        while piece := list(islice(rows, INDEXED_KEYS)):
            index.fill([key for key, record in piece if record is not None])
            yield
            if index not in self._indexed:
                return  # everything was cleared, and there is an index of what came after that
        del rows, piece
        while layers.merge(MERGED_KEYS):
            yield
            if index not in self._indexed:
                return
        self.records = base
        self._indexes[kind] = index

    def drop_index(self, kind: IndexType) -> None:
        """Nobody needs the index of this type for the time being."""
        index = self._indexes.pop(kind, None)
        if index is not None:
            index.discard(self.garbage)
            self._indexed = tuple(each for each in self._indexed if each is not index)

    def load(self, rows: Iterable[tuple[bytes, bytes, int, int]], size: int | None = None) -> int:
        """Fill an empty keyspace with (key, value, revision, expiry) rows; none of them counts as a change.

        `size` is the number of bytes of all keys and values, if the caller knows it. Returns the sum of
        `row_sum` over the rows.
        """
        records = self.records
        checks = 0
        expiring, times = [], []
        for key, value, revision, expires in rows:  # a million times at startup: no needless call
            records[key] = Record(key, value, revision, expires)
            checks += adler32(value, adler32(key, (revision + 3 * expires) % ADLER_BASE))
            if expires:
                expiring.append(key)
                times.append(expires)
        if size is None:
            size = sum([len(key) + len(record.value) for key, record in records.items()])
        self.bytes = size + RECORD_OVERHEAD_BYTES * len(records) + EXPIRY_OVERHEAD_BYTES * len(expiring)
        self.due.load(expiring, times)
        return checks

    def take_changes(self) -> dict[bytes, Record | None]:
        """What every key changed since the last call holds now, None for a removed one. Costs nothing.

        The dictionary belongs to the caller: the keyspace does not touch it again. A record that the caller
        keeps takes memory in addition to the one that replaces it.
        """
        taken, self._changes, self.cleared = self._changes, noting(self._noted, {}), False
        return taken

    def note(self, noted: NotedKeys | None) -> None:
        """Note from now on every key that changes, in `noted` alone; None ends that."""
        self._noted, self._changes = noted, noting(noted, self._changes)

    def give_back(self, changes: dict[bytes, Record | None], *, cleared: bool = False) -> None:
        """Undo `take_changes`, because the changes were not written after all. Takes 0.4 us per key.

        The keys count with what they hold now: the caller may have dropped the records. `cleared` is what it
        was before `take_changes`.
        """
        if not self.cleared:  # else all that was taken is gone
            given = dict(zip(changes, map(self.records.get, changes), strict=True)) | self._changes
            self._changes = noting(self._noted, given)
            self.cleared = cleared

    @property
    def memory(self) -> int:
        """An upper estimate of the memory that all of this takes in the process, in bytes.

        One sixteenth is for what the allocator loses between objects: measured, up to 6 % for values of 1 to
        100 kB (tests/kv/test_memory.py).
        """
        held = self.bytes + (self.garbage.bytes if self.garbage else 0) + self.ledger.memory
        held += self.transactions.memory
        for index in self._indexed:
            held += index.memory
        return held + (held >> 4) + CHANGE_BYTES * len(self._changes)

    @property
    def changed(self) -> int:
        """How many changes no checkpoint has: keys, rows of the ledger, and one for all that were cleared."""
        return len(self._changes) + self.cleared + self.ledger.changed

    def digest(self) -> bytes:
        """A hash (32 bytes) of all keys and records, in whatever order they came: a sum of hashes."""
        total = sum([_digest(key, record) for key, record in self.records.items()])
        return (total & _DIGEST_MASK).to_bytes(32, "big")

    def _expiry_changed(self, key: bytes, old: int, new: int) -> None:
        self.bytes += EXPIRY_OVERHEAD_BYTES * ((new > 0) - (old > 0))
        self.due.changed(key, old, new)


def _digest(key: bytes, record: Record) -> int:
    kind = type_of(record.value)
    size = kind.size(record.value)
    head = b"%d %d %d %d " % (len(key), size, record.revision, record.expires)
    hashed = blake2b(head, digest_size=32)
    hashed.update(key)
    for row in kind.rows(record.value):
        hashed.update(row)
    return int.from_bytes(hashed.digest(), "big")


_DIGEST_MASK = (1 << 256) - 1
