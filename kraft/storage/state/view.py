"""A view of a state file that later checkpoints do not change, read in pieces in the order of the keys.

In production it is a connection of its own with one read transaction, which never checkpoints. On a disk
without shared memory, where there can be no second connection, it is a copy in memory.
"""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Rows
from kraft.storage.errors import DiskFailed
from kraft.storage.rows import DamagedRow
from kraft.storage.sqlite import abandon, abandoned_on_error, explain, open_pinned, single
from kraft.storage.state import header
from kraft.storage.state.database import LEDGER_SCHEMA, StateDatabase

ROW_OVERHEAD_BYTES = 16  # of a row in `Rows.data`: an array, two lengths, two numbers

_RECORDS = "SELECT key, value, revision, expires, 0 AS ledger FROM record %s"
_LEDGER = "SELECT key, value, revision, expires, 1 FROM ledger %s ORDER BY key, ledger"
_BOTH = " UNION ALL ".join((_RECORDS, _LEDGER))
_AFTER = "WHERE key > ?1"
_encode = msgspec.msgpack.Encoder().encode


class StateView:
    """One pinned view; `checkpoint` is what it holds. Raises `StorageError`.

    A row of a snapshot is (key, value, revision, expires), and 1 as a fifth element if it is of the ledger.
    The rows of both tables are in the order of their keys; two rows of the same key are in the same piece.
    """

    def __init__(self, connection: apsw.Connection, place: str, checkpoint: Checkpoint) -> None:
        self._connection = connection
        self._place = place
        self.checkpoint = checkpoint
        self._has_ledger = int(single(connection, "PRAGMA user_version")) >= LEDGER_SCHEMA

    def read(self, after: bytes | None, max_bytes: int) -> Rows:
        """The rows after the key `after` (None: from the first), about `max_bytes`, at least one if any."""
        rows: list[Sequence[Any]] = []
        size, end = 0, True
        cursor = self._connection.cursor()
        condition, places = ("", ()) if after is None else (_AFTER, (after,))
        query = _BOTH % (condition, condition) if self._has_ledger else _RECORDS % condition + " ORDER BY key"
        try:
            for row in cursor.execute(query, places):
                big = size + len(row[0]) + len(row[1]) + ROW_OVERHEAD_BYTES > max_bytes
                if rows and big and row[0] != rows[-1][0]:
                    end = False
                    break
                rows.append(row if row[4] else row[:4])
                size += len(row[0]) + len(row[1]) + ROW_OVERHEAD_BYTES
        except apsw.Error as error:
            raise explain(self._place, error) from error
        finally:
            cursor.close()
        return Rows(_encode(rows), rows[-1][0] if rows else after or b"", end)

    def close(self) -> None:
        """Unpin the file."""
        abandon(self._connection)


def pinned_view(place: str, *, vfs: str = "") -> StateView | None:
    """A view on a connection of its own; None when the file holds no checkpoint yet."""
    return _view(open_pinned(place, vfs=vfs), place)


def copied_view(database: StateDatabase) -> StateView | None:
    """A view of a copy in memory, made through the file's only connection."""
    connection = apsw.Connection(":memory:")
    with (
        abandoned_on_error(connection, database.place),
        connection.backup("main", database.connection, "main") as backup,
    ):
        backup.step()
    return _view(connection, database.place)


def _view(connection: apsw.Connection, place: str) -> StateView | None:
    with abandoned_on_error(connection, place):
        try:
            held = header.read(connection)
        except DamagedRow as error:
            raise DiskFailed(f"{place}: {error}") from error
    if held is None:
        abandon(connection)
        return None
    return StateView(connection, place, held[0])
