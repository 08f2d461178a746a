"""`StateDatabase`: the state file of one group, synchronous, without a thread.

A checkpoint is one transaction that replaces the rows of the changed keys and the row that says what the file
holds. Keys are written in their order, so that every page is written once, and many rows with one statement,
so that the thread asks for Python's lock once for many rows.

The file has schema 1 until machine version 2 is in force: until then an older kraft must be able to open it.
The first checkpoint at that version migrates it, in its own transaction. So does version 3 with schema 3.
"""

import gc
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice

import apsw

from kraft.kv.checkpoint import Capture, Checkpoint, record_hash
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import Record, row_sum
from kraft.kv.versions import MACHINE_VERSION
from kraft.storage import migrations
from kraft.storage.errors import NewerVersion, NoSpace, OutOfOrder
from kraft.storage.rows import DamagedRow
from kraft.storage.sqlite import (
    SqliteDatabase,
    abandoned_on_error,
    explain,
    is_full,
    open_connection,
    open_to_read,
    single,
)
from kraft.storage.state import header
from kraft.storage.state.totals import Totals
from kraft.untracked import untracked

STATE_APPLICATION_ID = 0x6B726673  # "krfs" in the file's header
SCHEMA_FOLDER = "schema_state"
MACHINE_VERSIONS = (1, 2, 3)  # schema n is used from machine version MACHINE_VERSIONS[n - 1] on

LEDGER_SCHEMA = 3
RECORD, LEDGER = "record", "ledger"  # the tables of rows

RUN_KEYS = 256  # sorted at once: 0.1 ms that hold Python's lock
PIECE_KEYS = 64  # of one statement: about 0.2 ms
PIECE_BYTES = 256 << 10  # of values in one piece, whatever their number
REPORT_STEPS = 200_000  # of SQLite's machine between two reports of a load: some 20,000 rows, 20 ms

_MIGRATIONS = migrations.load(SCHEMA_FOLDER)

_ROWS = "SELECT key, value, revision, expires FROM record"
_STRINGS = _ROWS + " WHERE kind = 0"  # the number of rows shows that another kind was left out
_LEDGER_ROWS = "SELECT key, value, revision, expires FROM ledger"
_OLD = (
    "SELECT count(*), coalesce(sum(length(key) + length(value)), 0),"
    " coalesce(group_concat(hex(hash), ''), ''), coalesce(sum(adler), 0) FROM %s WHERE key IN (%s)"
)
_TOTALS = "SELECT length(key) + length(value), hash, adler FROM ledger"
_DELETE = "DELETE FROM %s WHERE key IN (%s)"
_CLEAR = "DELETE FROM record"  # without a condition: SQLite frees pages instead of rows
_PUT = (
    "INSERT INTO %s (key, value, revision, expires, adler, hash) VALUES %s"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision,"
    " expires = excluded.expires, adler = excluded.adler, hash = excluded.hash"
)

Pause = Callable[[], object]
StoredRow = tuple[bytes, bytes, int, int, int, bytes]  # key, value, revision, expires, adler, hash


class DamagedStateFile(Exception):
    """The file does not hold what it says; the argument says why."""


def no_pause() -> None:
    """The pause of a caller that does not share its thread."""


class StateDatabase(SqliteDatabase):
    """One open state file.

    `checkpoint` is what the file holds, None before the first one; `adlers` is the sum of the column `adler`
    of its rows. With `shared`, other connections may read; without it this is the only one, for a disk
    without shared memory. With `read_only`, the file and its WAL are left as they are. A new file gets the
    schema of `machine_version`.

    Raises `DamagedStateFile` and the errors of `SqliteDatabase`; the constructor also raises `NewerVersion`.
    """

    def __init__(
        self,
        place: str,
        *,
        vfs: str = "",
        shared: bool = True,
        wal_bytes_max: int,
        read_only: bool = False,
        machine_version: int = 1,
    ) -> None:
        connection = (
            open_to_read(place)
            if read_only
            else open_connection(place, vfs=vfs, wal_bytes_max=wal_bytes_max, shared=shared, spill=True)
        )
        with abandoned_on_error(connection, place):
            super().__init__(place, connection)
            if not read_only:
                self.keep_wal_on_close()
                self._create(machine_version)
            migrations.check(connection, _MIGRATIONS, STATE_APPLICATION_ID)
            try:
                held = header.read(connection)
            except DamagedRow as error:
                raise DamagedStateFile(str(error)) from error
            if held is not None and held[0].machine_version > MACHINE_VERSION:
                raise NewerVersion(
                    f"{place} is at machine version {held[0].machine_version}, this version of kraft supports"
                    f" up to {MACHINE_VERSION}: run the newer kraft that wrote it"
                )
        self.checkpoint: Checkpoint | None = None if held is None else held[0]
        self.adlers = 0 if held is None else held[1]

    def _create(self, machine_version: int) -> None:
        if single(self.connection, "SELECT count(*) FROM sqlite_schema") == 0:
            migrations.create(self.connection, _MIGRATIONS[:1], STATE_APPLICATION_ID)
            with self.connection:
                self._migrate(machine_version)

    def _migrate(self, machine_version: int) -> None:
        """Bring the file to the schema of `machine_version`, inside a transaction."""
        for migration in _MIGRATIONS[self._schema :]:
            if machine_version >= MACHINE_VERSIONS[migration.version - 1]:
                migrations.apply(self.connection, migration)

    @property
    def _schema(self) -> int:
        return int(single(self.connection, "PRAGMA user_version"))

    def write(self, capture: Capture, pause: Pause = no_pause) -> bool:
        """Bring the file to `capture`, durably; False when the disk is full, and then nothing changed.

        Records of `capture` are released as they are written: kept, they would take memory in addition to
        those that overwrite them meanwhile. `pause` is called between the pieces; what it raises rolls the
        work back.
        """
        if self.checkpoint is not None and capture.base.index < self.checkpoint.base.index:
            before = self.checkpoint.base.index
            raise OutOfOrder(f"{self.place}: a checkpoint at {capture.base.index} was to follow {before}")
        totals = Totals(self.checkpoint, self.adlers)
        try:
            with self.transaction():
                self._migrate(capture.machine_version)
                if capture.cleared:
                    self.connection.execute(_CLEAR)
                    totals = self._ledger_totals()
                for table, changes in ((RECORD, capture.changes), (LEDGER, capture.ledger)):
                    for piece in _pieces(changes, pause):
                        self._replace(table, changes, piece, totals)
                        changes.update(dict.fromkeys(piece))
                        pause()
                checkpoint = totals.checkpoint(capture.base, capture.revision, capture.machine_version)
                header.write(self.connection, checkpoint, totals.adlers)
        except NoSpace:
            return False
        self.checkpoint, self.adlers = checkpoint, totals.adlers
        self.count_free_pages()
        return True

    def _ledger_totals(self) -> Totals:
        """The totals of the ledger alone."""
        totals = Totals(None, 0)
        if self._schema >= LEDGER_SCHEMA:
            for size, hash_, adler in self.connection.execute(_TOTALS):
                totals.add(size, hash_, adler)
        return totals

    def _replace(
        self, table: str, changes: dict[bytes, Record | None], piece: list[bytes], totals: Totals
    ) -> None:
        if totals.keys:
            old = self.cursor.execute(_OLD % (table, _marks("?", len(piece))), piece).fetchone()
            if old is not None and old[0]:
                totals.take(*old)
        puts: list[StoredRow] = []
        gone = []
        for key in piece:
            record = changes[key]
            if record is None:
                gone.append(key)
            else:
                puts.append(stored_row(table, key, record.value, record.revision, record.expires))
        if gone:
            self.cursor.execute(_DELETE % (table, _marks("?", len(gone))), gone)
        self._put(table, puts, totals)

    def _put(self, table: str, rows: list[StoredRow], totals: Totals) -> None:
        for key, value, _, _, adler, hash_ in rows:
            totals.add(len(key) + len(value), hash_, adler)
        if rows:
            values = [column for row in rows for column in row]
            self.cursor.execute(_PUT % (table, _marks("(?,?,?,?,?,?)", len(rows))), values)

    def append(self, rows: dict[str, list[StoredRow]], totals: Totals) -> None:
        """Insert new rows, by table, and count them. Raises `NoSpace`, and then `totals` is wrong."""
        with self.transaction():
            for table, of_table in rows.items():
                for at in range(0, len(of_table), PIECE_KEYS):
                    self._put(table, of_table[at : at + PIECE_KEYS], totals)

    def seal(self, checkpoint: Checkpoint, adlers: int) -> bool:
        """Say that the appended rows are `checkpoint`, durably; False when the disk is full."""
        try:
            with self.transaction():
                header.write(self.connection, checkpoint, adlers)
        except NoSpace:
            return False
        self.checkpoint, self.adlers = checkpoint, adlers
        return self.checkpoint_wal()

    def load(self, report: Callable[[int, int], object] | None = None) -> Keyspace:
        """All keys in memory, verified. Raises `DamagedStateFile` when they are not what the file says.

        `report` is told now and then how many keys are loaded, and how many there are.

        Every row is verified by its Adler-32, and their number. The sum over all rows is as good as one by
        one, and needs no column to be read. The hashes are not computed anew, which would cost more than all
        the rest; a damaged hash is found when replicas are compared.
        """
        keyspace = Keyspace()
        keys, size = (0, 0) if self.checkpoint is None else (self.checkpoint.keys, self.checkpoint.size)
        if report is not None:
            self.connection.set_progress_handler(_progress(report, keyspace, keys), REPORT_STEPS)
        collecting = gc.isenabled()
        gc.disable()  # nothing that is made here is garbage, and looking for it would double the time
        try:
            adlers = 0
            if self._schema >= LEDGER_SCHEMA:
                adlers = keyspace.ledger.load(self.connection.execute(_LEDGER_ROWS))
                size -= sum([len(key) + len(row.value) for key, row in keyspace.ledger.rows.items()])
            rows = self.connection.execute(_ROWS if self._schema == 1 else _STRINGS)
            adlers += keyspace.load(rows, size)
        except (apsw.Error, TypeError, ValueError) as error:  # even the type of a column may be damaged
            raise DamagedStateFile(f"SQLite cannot read it ({error})") from error
        finally:
            self.connection.set_progress_handler(None)
            if collecting:
                gc.enable()
        if (len(keyspace) + len(keyspace.ledger.rows), adlers) != (keys, self.adlers):
            raise DamagedStateFile("its rows are not those that it was left with")
        return keyspace

    def checkpoint_wal(self) -> bool:
        """Also gives back the space of a WAL that holds no frames any more.

        Frames that a reader still needs stay, and are copied by a later call.
        """
        if not super().checkpoint_wal():
            return False
        if self.wal_bytes:
            return True
        try:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            return True  # readers hold on to its length
        except apsw.Error as error:
            if not is_full(error):
                raise explain(self.place, error) from error
            return False
        return True


def _progress(report: Callable[[int, int], object], keyspace: Keyspace, keys: int) -> Callable[[], bool]:
    """A progress handler of SQLite; what it returns does not end the statement."""

    def handler() -> bool:
        report(len(keyspace), keys)
        return False

    return handler


def stored_row(table: str, key: bytes, value: bytes, revision: int, expires: int) -> StoredRow:
    """The columns of a row."""
    adler = row_sum(key, value, revision, expires)
    hash_ = record_hash(key, value, revision, expires, ledger=table == LEDGER)
    return key, value, revision, expires, adler, hash_


def _pieces(changes: dict[bytes, Record | None], pause: Pause) -> Iterator[list[bytes]]:
    """The keys in their order, in pieces bounded in number and in bytes of values.

    They are sorted in short runs that are then merged: one sort of a million keys would hold Python's lock
    for a second. The runs take eight bytes of memory a key, and each is freed at its end.
    """
    runs = []
    keys = iter(changes)
    while run := sorted(islice(keys, RUN_KEYS)):
        runs.append(iter(untracked(run)))
        pause()
    piece: list[bytes] = []
    size = 0
    for key in merge(*runs):
        record = changes[key]
        piece.append(key)
        size += 0 if record is None else len(record.value)
        if len(piece) == PIECE_KEYS or size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _marks(mark: str, count: int) -> str:
    return ",".join([mark] * count)
