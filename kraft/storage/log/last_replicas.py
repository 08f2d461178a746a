"""SQL of the rows that say which replica of a group the node had last, and whether it has it still."""

from collections.abc import Mapping

import apsw

from kraft.node.values import LastReplica
from kraft.raft.membership.replica_number import ReplicaNumber
from kraft.storage import migrations
from kraft.storage.log import entries
from kraft.storage.rows import seal, select, unseal
from kraft.storage.sqlite import single

_INSERT = "INSERT OR REPLACE INTO last_replica VALUES (?,?,?,?,?)"
_SELECT = "SELECT * FROM last_replica ORDER BY replica"
_DELETE = ("DELETE FROM hard_state WHERE replica = ?", "DELETE FROM replica WHERE replica = ?")


def write(connection: apsw.Connection, cursor: apsw.Cursor, group: int, last: LastReplica) -> None:
    """Delete what is there of the group, inside a transaction, and note its last replica."""
    migrations.raise_schema(connection, migrations.LEFT_GROUPS)
    entries.drop(cursor, group, entries.INDEX_MASK)
    for statement in _DELETE:
        cursor.execute(statement, (group,))
    cursor.execute(_INSERT, seal((group, last.number.term, last.number.index, int(last.held))))


def read_all(connection: apsw.Connection) -> Mapping[int, LastReplica]:
    """The row of every group that has one. Raises `DamagedRow`."""
    if single(connection, "PRAGMA user_version") < migrations.LEFT_GROUPS:
        return {}
    found = {}
    for row in select(connection, _SELECT, "a row of a last replica"):
        group, term, index, held = unseal(row, f"group {row[0]}: the row of its last replica is damaged")
        found[group] = LastReplica(ReplicaNumber(term, index), bool(held))
    return found
