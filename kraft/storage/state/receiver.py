"""A state file that arrives in pieces: written aside, compared with what was promised, verified, loaded.

Nothing points to the file until a commit switches to it, so a crash leaves an orphan that the next start
removes, and pieces need no sync of their own: only SQLite's checkpoints sync, which keeps the WAL short and
the disk evenly busy. What arrives comes from the network and is checked like it.
"""

from typing import Annotated

import apsw
import msgspec

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Received
from kraft.storage.errors import NoSpace, StorageError
from kraft.storage.ports import Directory, Settings
from kraft.storage.sqlite import explain, is_full, set_pragma
from kraft.storage.state import header
from kraft.storage.state.database import PIECE_KEYS, DamagedStateFile, StateDatabase, stored_row
from kraft.storage.state.header import Totals

DISK_FULL = "the disk is full"
INT64_MAX = (1 << 63) - 1

_Number = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
_Row = tuple[bytes, bytes, _Number, _Number]
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


class StateReceiver:
    """The file with this number, to hold `checkpoint`; `finished` when it does, durably.

    Raises `StorageError` when the disk fails.
    """

    def __init__(
        self,
        directory: Directory,
        names: tuple[str, ...],
        number: int,
        checkpoint: Checkpoint,
        *,
        settings: Settings,
        vfs: str,
        shared: bool,
    ) -> None:
        self._directory = directory
        self._names = names  # the file's own, then those of its companions
        self.number = number
        self._checkpoint = checkpoint
        self._wal_bytes = settings.wal_bytes
        self._totals = Totals(None, 0)
        self._last: bytes | None = None
        self.finished = False
        self._remove()
        self._database: StateDatabase | None = StateDatabase(
            directory.path(names[0]),
            vfs=vfs,
            shared=shared,
            wal_bytes_max=settings.wal_bytes_max,
            machine_version=checkpoint.machine_version,
        )
        set_pragma(self._database.connection, "synchronous", "NORMAL", 1)

    def write(self, data: bytes) -> str:
        """Add rows, behind all before them; '' or what is wrong, and then none of them is in the file."""
        if self._database is None:
            return "the file was given up"
        try:
            rows = _decode(data)
        except msgspec.DecodeError as error:
            return f"not rows: {error}"
        if wrong := self._out_of_place(rows):
            return wrong
        if not self._insert(self._database, rows):
            return DISK_FULL
        if self._database.wal_bytes > self._wal_bytes and not self._database.flush():
            return ""  # the rows are in the WAL; where there is no space, the next ones will say so
        return ""

    def _out_of_place(self, rows: list[_Row]) -> str:
        last = self._last
        size = 0
        for key, value, revision, _ in rows:
            if last is not None and key <= last:
                return "rows out of order"
            if revision > self._checkpoint.revision:
                return f"a revision above {self._checkpoint.revision}"
            last = key
            size += len(key) + len(value)
        if (
            self._totals.keys + len(rows) > self._checkpoint.keys
            or self._totals.size + size > self._checkpoint.size
        ):
            return "more rows than were promised"
        return ""

    def _insert(self, database: StateDatabase, rows: list[_Row]) -> bool:
        kept = self._totals.copy()
        try:
            database.connection.execute("BEGIN IMMEDIATE")
            for at in range(0, len(rows), PIECE_KEYS):
                database.put([stored_row(*row) for row in rows[at : at + PIECE_KEYS]], self._totals)
            database.connection.execute("COMMIT")
        except apsw.Error as error:
            if not is_full(error):
                raise explain(database.place, error) from error
            self._totals = kept
            database.roll_back()
            return False
        if rows:
            self._last = rows[-1][0]
        return True

    def finish(self) -> Received | str:
        """Compare with what was promised, make it durable, load it; a text says what is wrong."""
        database, promised = self._database, self._checkpoint
        if database is None:
            return "the file was given up"
        found = self._totals.checkpoint(promised.base, promised.revision, promised.machine_version)
        if found != promised:
            return "the rows are not those that were promised"
        try:
            set_pragma(database.connection, "synchronous", "FULL", 2)
            if not self._seal(database):
                return DISK_FULL
            keyspace = database.load()
            database.close()
        except DamagedStateFile as error:
            self.abandon()
            return f"what was written does not read back: {error}"
        self._database = None
        self.finished = True
        self._directory.sync()
        return Received(self.number, promised, keyspace)

    def _seal(self, database: StateDatabase) -> bool:
        try:
            with database.connection:
                header.write(database.connection, self._checkpoint, self._totals.adlers)
        except apsw.Error as error:
            if not is_full(error):
                raise explain(database.place, error) from error
            return False
        database.checkpoint, database.adlers = self._checkpoint, self._totals.adlers
        return database.flush()

    def abandon(self) -> None:
        """Remove the file, also when it was finished and is not in use."""
        self.leave()
        self._remove()

    def leave(self) -> None:
        """Let go of the file as it is."""
        if self._database is not None:
            self._database.abandon()
            self._database = None

    def _remove(self) -> None:
        for name in reversed(self._names):
            self._directory.remove(name)


def begin(
    directory: Directory,
    names: tuple[str, ...],
    number: int,
    checkpoint: Checkpoint,
    *,
    settings: Settings,
    vfs: str,
    shared: bool,
) -> StateReceiver | None:
    """A new file; None when the disk is full."""
    try:
        return StateReceiver(directory, names, number, checkpoint, settings=settings, vfs=vfs, shared=shared)
    except NoSpace:
        for name in reversed(names):
            directory.remove(name)
        return None
    except OSError as error:
        raise StorageError(f"{directory.path(names[0])}: {error}") from error
