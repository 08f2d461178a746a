"""Keys and their records, with an account of the memory they take.

The keyspace knows neither commands nor stamps: `kraft.kv.machine` decides, this stores. Records are
immutable, so whoever holds one keeps what it saw. Nothing here depends on the order of the dictionary.
"""

from collections.abc import Iterable
from hashlib import blake2b
from zlib import adler32

import msgspec

from kraft.kv.expiry import DueTimes

# Memory of one key beside its bytes and its value's, CPython 3.11 on 64 bit, in bytes: dictionary slot 45
# (24 for the entry and 4 for the index at a fill of 1/3 to 2/3), two bytes objects of 33 rounded up to 16
# (41 each on average), the record 48, its revision 32.
RECORD_OVERHEAD_BYTES = 207
# An expiry: the integer 32, the pair in the heap 72, its place in the list 8, and as much again for a
# garbage pair.
EXPIRY_OVERHEAD_BYTES = 192


class Record(msgspec.Struct, frozen=True, gc=False):
    """What a key holds. `revision` is that of its last change; `expires` is in Unix ms, 0 for never.

    `key` is the very object that the keyspace holds it by, so that a change does not keep a second copy.
    """

    key: bytes
    value: bytes
    revision: int
    expires: int = 0


def row_sum(key: bytes, value: bytes, revision: int, expires: int) -> int:
    """A checksum of 32 bits of one row, cheap enough for a start: other where one bit is.

    Adler-32 of key and value, begun with what the two numbers leave modulo its prime: no power of two, nor
    three times one, is a multiple of that, so a changed bit of theirs changes it as well.
    """
    return adler32(value, adler32(key, (revision + 3 * expires) % _ADLER_BASE))


class Keyspace:
    """All keys of a group. Treat `records` as read-only outside this class."""

    __slots__ = ("_changes", "_due", "bytes", "records")

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self._changes: dict[bytes, Record | None] = {}  # since they were last taken; None for a removed key
        self.bytes = 0  # approximate memory of all records
        self._due = DueTimes(self._expiry_of)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, key: bytes) -> bool:
        return key in self.records

    def get(self, key: bytes) -> bytes | None:
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

    @property
    def expiring(self) -> int:
        """How many keys have an expiry."""
        return self._due.live

    def next_expiry(self) -> int | None:
        """The earliest expiry in Unix milliseconds, None when no key has one."""
        return self._due.next()

    def put(self, key: bytes, value: bytes, revision: int, expires: int = 0) -> None:
        """Store a record in place of the key's old one, if any."""
        old = self.records.get(key)
        if old is not None:
            key = old.key
        self.records[key] = self._changes[key] = Record(key, value, revision, expires)
        if old is None:
            self.bytes += RECORD_OVERHEAD_BYTES + len(key) + len(value)
            if expires:
                self._expiry_changed(key, 0, expires)
        else:
            self.bytes += len(value) - len(old.value)
            if expires or old.expires:
                self._expiry_changed(key, old.expires, expires)

    def remove(self, key: bytes) -> Record | None:
        """Drop the key; its record, or None when it was missing."""
        old = self.records.pop(key, None)
        if old is not None:
            self._changes[old.key] = None
            self.bytes -= RECORD_OVERHEAD_BYTES + len(key) + len(old.value)
            if old.expires:
                self._expiry_changed(key, old.expires, 0)
        return old

    def expire(self, stamp: int) -> int:
        """Drop every key whose expiry is not above `stamp`; how many these were."""
        count = 0
        while (key := self._due.due(stamp)) is not None:
            self.remove(key)
            count += 1
        return count

    def load(self, rows: Iterable[tuple[bytes, bytes, int, int]], size: int | None = None) -> int:
        """Fill an empty keyspace with (key, value, revision, expiry); none of it counts as a change.

        `size` are the bytes of all keys and values, where the caller knows them. Returns the sum of the rows'
        `row_sum`.
        """
        records = self.records
        checks = 0
        expiring = []
        for key, value, revision, expires in rows:  # a million times at a start: no call too many
            records[key] = Record(key, value, revision, expires)
            checks += adler32(value, adler32(key, (revision + 3 * expires) % _ADLER_BASE))
            if expires:
                expiring.append((expires, key))
        if size is None:
            size = sum([len(key) + len(record.value) for key, record in records.items()])
        self.bytes = size + RECORD_OVERHEAD_BYTES * len(records) + EXPIRY_OVERHEAD_BYTES * len(expiring)
        self._due.fill(expiring)
        return checks

    def take_changes(self) -> dict[bytes, Record | None]:
        """What every key changed since the last call holds now, None for those removed; costs nothing.

        The dictionary is the caller's: it is not touched again. A record that he keeps takes memory beside
        the one that overwrites it.
        """
        taken, self._changes = self._changes, {}
        return taken

    def give_back(self, changes: dict[bytes, Record | None]) -> None:
        """Changes that were taken have not been written after all. Takes 0.4 us a key.

        What the keys hold now counts: the caller may have let go of the records.
        """
        self._changes = dict(zip(changes, map(self.records.get, changes), strict=True)) | self._changes

    @property
    def changed(self) -> int:
        """How many keys changed since changes were taken."""
        return len(self._changes)

    def digest(self) -> bytes:
        """A hash (32 bytes) of all keys and records, whatever order they came in: the sum of a hash of
        each.
        """
        total = 0
        for key, record in self.records.items():
            head = b"%d %d %d %d " % (len(key), len(record.value), record.revision, record.expires)
            hashed = blake2b(head, digest_size=32)
            hashed.update(key)
            hashed.update(record.value)
            total += int.from_bytes(hashed.digest(), "big")
        return (total & _DIGEST_MASK).to_bytes(32, "big")

    def _expiry_changed(self, key: bytes, old: int, new: int) -> None:
        self.bytes += EXPIRY_OVERHEAD_BYTES * ((new > 0) - (old > 0))
        self._due.changed(key, old, new)

    def _expiry_of(self, key: bytes) -> int:
        record = self.records.get(key)
        return 0 if record is None else record.expires


_DIGEST_MASK = (1 << 256) - 1
_ADLER_BASE = 65521  # the largest prime below 2^16, as in RFC 1950
