"""SQL of the rows that say where each group's log begins and which state file holds what came before.

A base stands for the entries up to its index, which are no longer in the log. Its row keeps the checksum that
the first entry after it continues, so a log that lost entries at its beginning is noticed like one that lost
any other entry.
"""

import zlib

import apsw
import msgspec

from kraft.raft.membership.configuration import START, Base, decode
from kraft.storage.errors import OutOfOrder
from kraft.storage.log import entries
from kraft.storage.log.entries import Head
from kraft.storage.rows import DamagedRow, seal, select, unseal

_INSERT = "INSERT OR REPLACE INTO replica VALUES (?,?,?,?,?,?,?,?,?,?)"
_SELECT = "SELECT * FROM replica ORDER BY replica"
_SELECT_STARTS = "SELECT count, checksum FROM starts"
_INSERT_STARTS = "INSERT OR REPLACE INTO starts (only, count, checksum) VALUES (1,?,?)"

_encode = msgspec.msgpack.Encoder().encode


class ReplicaRow(msgspec.Struct, frozen=True):
    """One group: its state file's number (0 for none), the base of its log, the checksum that the first entry
    after the base continues, and whether the state is known to be wrong.
    """

    state: int
    base: Base
    chain: int
    fenced: bool = False

    @property
    def empty_head(self) -> Head:
        """The head of the log while it has no entry after the base."""
        return Head(self.base.index, self.base.term, self.chain)


def unwritten(incarnation: str, group: int) -> ReplicaRow:
    """A group without a row: no state file, and a log that begins at index 1."""
    return ReplicaRow(0, START, entries.empty_head(incarnation, group).checksum)


def rebase(
    cursor: apsw.Cursor, group: int, replica: ReplicaRow, head: Head, base: Base, incarnation: str
) -> tuple[ReplicaRow, Head]:
    """Let the log begin after `base`. Returns the new row, to be written by `write`, and the new head.

    Entries after `base` stay when the log's entry at its index has the base's term. Otherwise the whole log
    goes, and the next entry follows the base. Raises `OutOfOrder` when entries after another base would
    have to stay.
    """
    if base.index < replica.base.index:
        raise OutOfOrder(f"group {group}: a base at {base.index} was to follow one at {replica.base.index}")
    if base.index == replica.base.index and base.term == replica.base.term:
        return replica, head
    if base.index <= head.last_index:
        found = entries.head_at(cursor, group, base.index)
        if found is not None and found.last_term == base.term:
            entries.drop(cursor, group, base.index)
            return _moved(replica, base, found.checksum), head
        if base.index < head.last_index:
            raise OutOfOrder(f"group {group}: entries would stay after another base at {base.index}")
    entries.truncate(cursor, group, 0, replica.empty_head)
    moved = _moved(replica, base, zlib.crc32(_encode(base), entries.empty_head(incarnation, group).checksum))
    return moved, moved.empty_head


def _moved(replica: ReplicaRow, base: Base, chain: int) -> ReplicaRow:
    return ReplicaRow(replica.state, base, chain, replica.fenced)


def write(cursor: apsw.Cursor, group: int, replica: ReplicaRow) -> None:
    """Replace the row of a group."""
    base = replica.base
    fields = (
        group,
        replica.state,
        base.index,
        base.term,
        base.stamp,
        base.configuration_index,
        base.configuration.encode(),
        replica.chain,
        int(replica.fenced),
    )
    cursor.execute(_INSERT, seal(fields))


def read_all(connection: apsw.Connection) -> dict[int, ReplicaRow]:
    """Every group that has a row. Raises `DamagedRow`."""
    replicas = {}
    for row in select(connection, _SELECT, "a row of a base and state file"):
        fields = unseal(row, f"group {row[0]}: the row of its base and state file is damaged")
        group, state, index, term, stamp, configuration_index, configuration, chain, fenced = fields
        base = Base(index, term, stamp, configuration_index, decode(configuration))
        replicas[group] = ReplicaRow(state, base, chain, bool(fenced))
    return replicas


def read_starts(connection: apsw.Connection) -> int:
    """How many processes were started on this directory. Raises `DamagedRow`."""
    rows = select(connection, _SELECT_STARTS, "the row that counts the starts")
    if not rows or zlib.crc32(str(rows[0][0]).encode()) != rows[0][1]:
        raise DamagedRow("the row that counts the starts is missing or damaged")
    return int(rows[0][0])


def write_starts(cursor: apsw.Cursor, count: int) -> None:
    """Replace the count of starts."""
    cursor.execute(_INSERT_STARTS, (count, zlib.crc32(b"%d" % count)))
