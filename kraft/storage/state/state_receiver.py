"""A state file that arrives in pieces: written aside, compared with what was promised, verified, loaded.

Nothing names the file until a commit switches to it, so a crash leaves an orphan that the next start removes,
and pieces need no sync of their own: only SQLite's checkpoints of the WAL sync, which keep the WAL short and
the disk evenly busy. The pieces come from the network and are checked like anything from there.
"""

import msgspec

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Received, SnapshotRow, decode_rows
from kraft.storage.errors import CannotOpen, NoSpace
from kraft.storage.ports import DISK_FULL, Directory, StorageSettings
from kraft.storage.sqlite import set_pragma
from kraft.storage.state.database import (
    LEDGER,
    LEDGER_SCHEMA,
    MACHINE_VERSIONS,
    RECORD,
    DamagedStateFile,
    StateDatabase,
    StoredRow,
    stored_row,
)
from kraft.storage.state.totals import Totals

GIVEN_UP = "the file was given up"


class StateReceiver:
    """The state file `number` of a group, to hold `checkpoint`; `finished` when it does, durably.

    The first of `names` is the file's own, the others are those of its companions. Methods raise
    `StorageError` when the disk fails; the constructor also `NoSpace`, `CannotOpen` and `OSError`.
    """

    def __init__(
        self,
        directory: Directory,
        names: tuple[str, ...],
        number: int,
        checkpoint: Checkpoint,
        *,
        settings: StorageSettings,
        vfs: str,
        shared: bool,
    ) -> None:
        self._directory = directory
        self._names = names
        self.number = number
        self._promised = checkpoint
        self._wal_bytes = settings.wal_bytes
        self._totals = Totals(None, 0)
        self._last: tuple[bytes, int] | None = None
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
        """Add rows, after all before them; '' or what is wrong, and then none of them is in the file."""
        if self._database is None:
            return GIVEN_UP
        try:
            rows = decode_rows(data)
        except msgspec.DecodeError as error:
            return f"not rows: {error}"
        if wrong := self._out_of_place(rows):
            return wrong
        if not self._insert(self._database, rows):
            return DISK_FULL
        if self._database.wal_bytes > self._wal_bytes and not self._database.checkpoint_wal():
            return ""  # the rows are in the WAL; if there is no space, the next rows will not find any
        return ""

    def _out_of_place(self, rows: list[SnapshotRow]) -> str:
        last = self._last
        size = 0
        for row in rows:
            place = (row.key, row.ledger)
            if last is not None and place <= last:
                return "rows out of order"
            if row.ledger and self._promised.machine_version < MACHINE_VERSIONS[LEDGER_SCHEMA - 1]:
                return f"a row of the ledger at machine version {self._promised.machine_version}"
            if row.revision > self._promised.revision:
                return f"a revision above {self._promised.revision}"
            last = place
            size += len(row.key) + len(row.value)
        keys = self._totals.keys + len(rows)
        if keys > self._promised.keys or self._totals.size + size > self._promised.size:
            return "more rows than were promised"
        return ""

    def _insert(self, database: StateDatabase, rows: list[SnapshotRow]) -> bool:
        kept = self._totals.copy()
        stored: dict[str, list[StoredRow]] = {RECORD: [], LEDGER: []}
        for row in rows:
            table = LEDGER if row.ledger else RECORD
            stored[table].append(stored_row(table, row.key, row.value, row.revision, row.expires))
        try:
            database.append(stored, self._totals)
        except NoSpace:
            self._totals = kept
            return False
        if rows:
            self._last = (rows[-1].key, rows[-1].ledger)
        return True

    def finish(self) -> Received | str:
        """Compare with what was promised, make it durable, load it; a text says what is wrong."""
        database, promised = self._database, self._promised
        if database is None:
            return GIVEN_UP
        found = self._totals.checkpoint(promised.base, promised.revision, promised.machine_version)
        if found != promised:
            return "the rows are not those that were promised"
        try:
            set_pragma(database.connection, "synchronous", "FULL", 2)
            if not database.seal(promised, self._totals.adlers):
                return DISK_FULL
            keyspace = database.load()
            database.close()
            self._database = None
            self._directory.sync()
        except DamagedStateFile as error:
            self.abandon()
            return f"what was written does not read back: {error}"
        except CannotOpen as error:
            self.abandon()
            return str(error)
        self.finished = True
        return Received(self.number, promised, keyspace)

    def abandon(self) -> None:
        """Close and remove the file, even when it is finished and not in use."""
        self.close()
        self._remove()

    def close(self) -> None:
        """Close the file as it is."""
        if self._database is not None:
            self._database.abandon()
            self._database = None

    def _remove(self) -> None:
        for name in reversed(self._names):
            self._directory.remove(name)
