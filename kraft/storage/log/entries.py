"""SQL of log entries: rows with chained checksums are appended, truncated, dropped, read and verified.

A row's checksum continues that of the row before it, so a missing, changed, swapped or foreign row breaks the
chain at that row. A group's chain starts from a seed made of the node's incarnation and the group. When the
log begins after a base, it starts from the checksum of the last row that was dropped, or, after a snapshot,
from a seed made with the base. The caller keeps the head of each chain, so appending reads nothing.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import apsw

from kraft.raft.log.log import entry_bytes
from kraft.raft.messages import Entry
from kraft.storage.errors import OutOfOrder

GROUP_SHIFT = 48
INDEX_MASK = (1 << GROUP_SHIFT) - 1
GROUP_MAX = (1 << 15) - 1  # group << 48 stays a positive 64-bit integer

_HEADER = struct.Struct(">5Q")  # position, term, stamp, kind, committed
_pack = _HEADER.pack

_INSERT = "INSERT INTO entry (position, term, stamp, kind, committed, checksum, data) VALUES (?,?,?,?,?,?,?)"
_DELETE = "DELETE FROM entry WHERE position BETWEEN ? AND ?"
_HEAD = "SELECT term, checksum FROM entry WHERE position = ?"
_LAST = (
    "SELECT position, term, checksum FROM entry WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1"
)
_COLUMNS = "SELECT position, term, stamp, kind, committed, checksum, data FROM entry"
_RANGE = _COLUMNS + " WHERE position BETWEEN ? AND ? ORDER BY position"
_ALL = _COLUMNS + " ORDER BY position"

EntryRow = tuple[int, int, int, int, int, int, bytes]


class Head(NamedTuple):
    """The last entry of a group's log, and the checksum that the next entry continues."""

    last_index: int
    last_term: int
    checksum: int


class BrokenChain(Exception):
    """A row does not continue the row before it; the argument says which."""


def empty_head(incarnation: str, group: int) -> Head:
    """The head of a log without entries. Raises `OutOfOrder` for a group that has no place in the key."""
    if not 0 <= group <= GROUP_MAX:
        raise OutOfOrder(f"group {group} is not in 0 to {GROUP_MAX}")
    return Head(0, 0, zlib.crc32(incarnation.encode(), group))


def chain(checksum: int, position: int, term: int, stamp: int, kind: int, committed: int, data: bytes) -> int:
    """The checksum of a row that follows one with `checksum`."""
    return zlib.crc32(data, zlib.crc32(_pack(position, term, stamp, kind, committed), checksum))


def append(cursor: apsw.Cursor, group: int, head: Head, entries: Iterable[Entry], committed: int) -> Head:
    """Insert `entries`, which must follow `head` without a gap, and return the new head."""
    base = group << GROUP_SHIFT
    index, term, checksum = head
    rows = []
    for entry in entries:
        if entry.index != index + 1:
            raise OutOfOrder(f"group {group}: entry {entry.index} was to follow entry {index}")
        index, term = entry.index, entry.term
        position = base + index
        checksum = chain(checksum, position, term, entry.stamp, entry.kind, committed, entry.data)
        rows.append((position, term, entry.stamp, entry.kind, committed, checksum, entry.data))
    if len(rows) == 1:
        cursor.execute(_INSERT, rows[0])
    else:
        cursor.executemany(_INSERT, rows)
    return Head(index, term, checksum)


def truncate(cursor: apsw.Cursor, group: int, first: int, empty: Head) -> Head:
    """Delete the rows from `first` on; the head that remains.

    `empty` is the head of the group's log without any row. Raises `BrokenChain`.
    """
    base = group << GROUP_SHIFT
    cursor.execute(_DELETE, (base + first, base + INDEX_MASK))
    if first <= empty.last_index + 1:
        return empty
    head = head_at(cursor, group, first - 1)
    if head is None:
        raise BrokenChain(f"group {group}: entry {first - 1} is missing")
    return head


def drop(cursor: apsw.Cursor, group: int, last: int) -> None:
    """Delete the rows up to `last`."""
    base = group << GROUP_SHIFT
    cursor.execute(_DELETE, (base, base + last))


def head_at(cursor: apsw.Cursor, group: int, index: int) -> Head | None:
    """The head of the log if it ended at `index`; None when there is no such row."""
    row = cursor.execute(_HEAD, ((group << GROUP_SHIFT) + index,)).fetchone()
    return None if row is None else Head(index, row[0], row[1])


def last(connection: apsw.Connection, group: int, empty: Head) -> Head:
    """The head of a group's log, not verified; `empty` is that of a log without any row."""
    base = group << GROUP_SHIFT
    row = connection.execute(_LAST, (base, base + INDEX_MASK)).fetchone()
    return empty if row is None else Head(row[0] & INDEX_MASK, row[1], row[2])


def read(
    connection: apsw.Connection, group: int, first: int, last: int, max_bytes: int, empty: Head
) -> tuple[Entry, ...]:
    """Entries `first` to at most `last`, verified: about `max_bytes` (`entry_bytes`), at least one entry.

    Empty only when the log begins after `first` or ends before it. `empty` is the head of the group's log
    without any row. Raises `BrokenChain`.
    """
    if first <= empty.last_index:
        return ()
    base = group << GROUP_SHIFT
    index, checksum, size = max(first - 2, empty.last_index), empty.checksum, 0
    entries = []
    cursor = connection.cursor()
    try:
        for row in cursor.execute(_RANGE, (base + index + 1, base + last)):
            index += 1
            if index < first:  # the row before the first: its checksum is where the chain is taken up
                checksum = row[5] if row[0] == base + index else -1
                continue
            checksum = verified(row, base + index, checksum)
            entries.append(Entry(index, row[1], row[2], row[3], row[6]))
            size += entry_bytes(entries[-1])
            if size >= max_bytes:
                break
    finally:
        cursor.close()  # an unfinished SELECT would keep checkpoints from completing
    return tuple(entries)


def verified(row: EntryRow, position: int, checksum: int) -> int:
    """The checksum of a row that must be at `position` and continue `checksum`. Raises `BrokenChain`."""
    found, term, stamp, kind, committed, stored, data = row
    if found != position:
        raise BrokenChain(f"group {position >> GROUP_SHIFT}: entry {position & INDEX_MASK} is missing")
    try:
        intact = checksum >= 0 and chain(checksum, position, term, stamp, kind, committed, data) == stored
    except (TypeError, struct.error):  # a column has not even its type
        intact = False
    if not intact:
        raise BrokenChain(
            f"group {position >> GROUP_SHIFT}: the checksum of entry {position & INDEX_MASK} does not match"
        )
    return stored


def all_rows(connection: apsw.Connection) -> Iterable[EntryRow]:
    """Every row, by group and index."""
    return connection.execute(_ALL)
