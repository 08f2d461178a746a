"""SQL of the rows that say where each group's log begins and which state file holds what came before.

A base is kept in the place of the rows it stands for, with the checksum that the first row behind it
continues. So a log that lost rows in front is noticed like one that lost any other row.
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


class Replica(msgspec.Struct, frozen=True):
    """One group: its state file's number (0 none), the base of its log, the checksum that the first entry
    behind the base continues, and whether the state is known to be wrong.
    """

    state: int
    base: Base
    chain: int
    fenced: bool = False

    @property
    def empty_head(self) -> Head:
        """The head of the log while no row is behind the base."""
        return Head(self.base.index, self.base.term, self.chain)


def unwritten(incarnation: str, group: int) -> Replica:
    """A group without a row: no state file, and a log that begins at index 1."""
    return Replica(0, START, entries.empty_head(incarnation, group).checksum)


def rebase(
    cursor: apsw.Cursor, group: int, replica: Replica, head: Head, base: Base, incarnation: str
) -> tuple[Replica, Head]:
    """Let the log begin behind `base`; the row itself is written by `write`.

    Rows behind `base` stay when the entry at its index is the base's own. Otherwise the whole log goes, and
    the next entry follows the base. Raises `OutOfOrder` when it would have to leave other rows behind.
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
            raise OutOfOrder(f"group {group}: entries would stay behind another base at {base.index}")
    entries.truncate(cursor, group, 0, replica.empty_head)
    moved = _moved(replica, base, zlib.crc32(_encode(base), entries.empty_head(incarnation, group).checksum))
    return moved, moved.empty_head


def _moved(replica: Replica, base: Base, chain: int) -> Replica:
    return Replica(replica.state, base, chain, replica.fenced)


def write(cursor: apsw.Cursor, group: int, replica: Replica) -> None:
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


def read_all(connection: apsw.Connection) -> dict[int, Replica]:
    """Every group that has a row. Raises `DamagedRow`."""
    replicas = {}
    for row in select(connection, _SELECT, "a row of a base and state file"):
        fields = unseal(row, f"group {row[0]}: the row of its base and state file is damaged")
        group, state, index, term, stamp, configuration_index, configuration, chain, fenced = fields
        base = Base(index, term, stamp, configuration_index, decode(configuration))
        replicas[group] = Replica(state, base, chain, bool(fenced))
    return replicas


def read_starts(connection: apsw.Connection) -> int:
    """How often this directory was started. Raises `DamagedRow`."""
    rows = select(connection, _SELECT_STARTS, "the row that counts the starts")
    if not rows or zlib.crc32(str(rows[0][0]).encode()) != rows[0][1]:
        raise DamagedRow("the row that counts the starts is missing or damaged")
    return int(rows[0][0])


def write_starts(cursor: apsw.Cursor, count: int) -> None:
    """Replace the count of starts."""
    cursor.execute(_INSERT_STARTS, (count, zlib.crc32(b"%d" % count)))
