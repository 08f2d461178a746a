"""A view of a state file that later checkpoints do not change, read in pieces in the order of the keys.

In production it is a connection of its own with one read transaction, which never checkpoints. On a disk
without shared memory, where there can be no second connection, it is a copy in memory.
"""

import apsw
import msgspec

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Rows
from kraft.storage.errors import DiskFailed
from kraft.storage.rows import DamagedRow
from kraft.storage.sqlite import abandon, explain, open_pinned
from kraft.storage.state import header
from kraft.storage.state.database import StateDatabase

ROW_OVERHEAD_BYTES = 16  # of a row in `Rows.data`: an array, two lengths, two numbers

_FIRST = "SELECT key, value, revision, expires FROM record ORDER BY key"
_AFTER = "SELECT key, value, revision, expires FROM record WHERE key > ? ORDER BY key"
_encode = msgspec.msgpack.Encoder().encode


class StateView:
    """One pinned view; `checkpoint` is what it holds. Raises `StorageError`."""

    def __init__(self, connection: apsw.Connection, place: str, checkpoint: Checkpoint) -> None:
        self._connection = connection
        self._place = place
        self.checkpoint = checkpoint

    def read(self, after: bytes | None, max_bytes: int) -> Rows:
        """The rows after the key `after` (None: from the first), about `max_bytes`, at least one if any."""
        rows: list[tuple[bytes, bytes, int, int]] = []
        size, end = 0, True
        cursor = self._connection.cursor()
        try:
            found = cursor.execute(_FIRST) if after is None else cursor.execute(_AFTER, (after,))
            for row in found:
                if rows and size + len(row[0]) + len(row[1]) + ROW_OVERHEAD_BYTES > max_bytes:
                    end = False
                    break
                rows.append(row)
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
    try:
        with connection.backup("main", database.connection, "main") as backup:
            backup.step()
    except apsw.Error as error:
        abandon(connection)
        raise explain(database.place, error) from error
    return _view(connection, database.place)


def _view(connection: apsw.Connection, place: str) -> StateView | None:
    try:
        held = header.read(connection)
    except apsw.Error as error:
        abandon(connection)
        raise explain(place, error) from error
    except DamagedRow as error:
        abandon(connection)
        raise DiskFailed(f"{place}: {error}") from error
    if held is None:
        abandon(connection)
        return None
    return StateView(connection, place, held[0])
