"""`StateDatabase`: the state file of one group, synchronous, without a thread.

A checkpoint is one transaction that replaces the rows of the changed keys and the row that says what the file
holds. The keys are written in their order, so that every page is written once, and in pieces of many rows a
statement, so that the thread asks for Python's lock once a piece and not once a row.
"""

import gc
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice

import apsw

from kraft.kv.checkpoint import Capture, Checkpoint, record_hash
from kraft.kv.keyspace import Keyspace, Record, row_sum
from kraft.storage import migrations
from kraft.storage.errors import DiskFailed, OutOfOrder
from kraft.storage.rows import DamagedRow
from kraft.storage.sqlite import (
    FRAME_BYTES,
    PAGE_BYTES,
    explain,
    is_full,
    open_database,
    open_to_read,
    single,
)
from kraft.storage.state import header
from kraft.storage.state.header import Totals

STATE_APPLICATION_ID = 0x6B726673  # "krfs" in the file's header
SCHEMA_FOLDER = "schema_state"
MACHINE_VERSIONS = (1, 2)  # schema n is used from the machine version MACHINE_VERSIONS[n - 1] on

RUN_KEYS = 256  # sorted at once: 0.1 ms that hold Python's lock
PIECE_KEYS = 64  # of one statement: about 0.2 ms
PIECE_BYTES = 256 << 10  # of values in one piece, whatever their number

_ROWS = "SELECT key, value, revision, expires FROM record"
_STRINGS = _ROWS + " WHERE kind = 0"  # a row of another kind is missed in the count of rows
_OLD = (
    "SELECT count(*), coalesce(sum(length(key) + length(value)), 0),"
    " coalesce(group_concat(hex(hash), ''), ''), coalesce(sum(adler), 0) FROM record WHERE key IN (%s)"
)
_DELETE = "DELETE FROM record WHERE key IN (%s)"
_PUT = (
    "INSERT INTO record (key, value, revision, expires, adler, hash) VALUES %s"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision,"
    " expires = excluded.expires, adler = excluded.adler, hash = excluded.hash"
)

_SCHEMA_FILES = migrations.schema_files(SCHEMA_FOLDER)

Pause = Callable[[], object]
StoredRow = tuple[bytes, bytes, int, int, int, bytes]


class DamagedStateFile(Exception):
    """The file does not hold what it says; the argument says why."""


def no_pause() -> None:
    """For whoever has the thread for himself."""


class StateDatabase:
    """One open state file. Methods raise `StorageError`; after one of them it must not be used again.

    `checkpoint` is what the file holds, None before the first one; `adlers` the sum of its rows' `adler`;
    `wal_bytes` are the frames not yet in the file. `shared` lets other connections read; without it, this is
    the only one (on a disk without shared memory). `untouched`: to be read, and left as it is. A new file
    gets the schema of `machine_version`.
    """

    def __init__(
        self,
        place: str,
        *,
        vfs: str = "",
        shared: bool = True,
        wal_bytes_max: int,
        untouched: bool = False,
        machine_version: int = 1,
    ) -> None:
        self.place = place
        self._shared = shared
        self._vfs = vfs
        try:
            self.connection = (
                open_to_read(place)
                if untouched
                else open_database(place, vfs=vfs, wal_bytes_max=wal_bytes_max, shared=shared, spill=True)
            )
        except apsw.Error as error:
            raise explain(place, error) from error
        try:
            if not untouched:
                self._prepare(machine_version)
            migrations.check(self.connection, _SCHEMA_FILES, STATE_APPLICATION_ID)
            self._begin()
        except apsw.Error as error:
            self.abandon()
            raise explain(place, error) from error
        except DamagedRow as error:
            self.abandon()
            raise DamagedStateFile(str(error)) from error
        except BaseException:
            self.abandon()
            raise

    def _prepare(self, machine_version: int) -> None:
        # A close of the last connection would checkpoint and swallow its errors; ours are explicit.
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if single(self.connection, "SELECT count(*) FROM sqlite_schema") == 0:
            migrations.create(self.connection, _SCHEMA_FILES[:1], lambda _: None, STATE_APPLICATION_ID)
            with self.connection:
                self.migrate(machine_version)

    def _begin(self) -> None:
        held = header.read(self.connection)
        self.checkpoint: Checkpoint | None = None if held is None else held[0]
        self.adlers = 0 if held is None else held[1]
        self.wal_bytes = 0
        self.free_bytes = 0
        self.connection.set_wal_hook(self._wal_grew)
        self._cursor = self.connection.cursor()
        self._count_free()

    def write(self, capture: Capture, pause: Pause = no_pause) -> bool:
        """Bring the file to `capture`, durably; false when the disk is full, and then nothing changed.

        The records of `capture` are let go of piece by piece: they would take memory beside those that
        overwrite them meanwhile. `pause` is called between the pieces; what it raises rolls the work back.
        """
        if self.checkpoint is not None and capture.base.index < self.checkpoint.base.index:
            before = self.checkpoint.base.index
            raise OutOfOrder(f"{self.place}: a checkpoint at {capture.base.index} was to follow {before}")
        totals = Totals(self.checkpoint, self.adlers)
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            self.migrate(capture.machine_version)
            for piece in _pieces(capture.changes, pause):
                self._replace(capture.changes, piece, totals)
                capture.changes.update(dict.fromkeys(piece))
                pause()
            checkpoint = totals.checkpoint(capture.base, capture.revision, capture.machine_version)
            header.write(self.connection, checkpoint, totals.adlers)
            self._cursor.execute("COMMIT")
        except apsw.Error as error:
            if not is_full(error):
                raise explain(self.place, error) from error
            self.roll_back()
            return False
        except BaseException:
            self.roll_back()
            raise
        self.checkpoint, self.adlers = checkpoint, totals.adlers
        self._count_free()
        return True

    @property
    def _schema(self) -> int:
        return int(single(self.connection, "PRAGMA user_version"))

    def migrate(self, machine_version: int) -> None:
        """Bring the file to the schema of `machine_version`, inside a transaction.

        Not before that version is in force: until then an older kraft must be able to open the file.
        """
        for file in _SCHEMA_FILES[self._schema :]:
            if machine_version >= MACHINE_VERSIONS[file.version - 1]:
                migrations.apply(self.connection, file)

    def _replace(self, changes: dict[bytes, Record | None], piece: list[bytes], totals: Totals) -> None:
        if totals.keys:
            old = self._cursor.execute(_OLD % _marks("?", len(piece)), piece).fetchone()
            if old is not None and old[0]:
                totals.take(*old)
        puts: list[StoredRow] = []
        gone = []
        for key in piece:
            record = changes[key]
            if record is None:
                gone.append(key)
            else:
                puts.append(stored_row(key, record.value, record.revision, record.expires))
        if gone:
            self._cursor.execute(_DELETE % _marks("?", len(gone)), gone)
        self.put(puts, totals)

    def put(self, rows: list[StoredRow], totals: Totals) -> None:
        """Insert or replace rows, inside a transaction, and count them as added."""
        for key, value, _, _, adler, hash_ in rows:
            totals.add(len(key) + len(value), hash_, adler)
        if rows:
            values = [column for row in rows for column in row]
            self._cursor.execute(_PUT % _marks("(?,?,?,?,?,?)", len(rows)), values)

    def roll_back(self) -> None:
        """Undo a transaction that failed; SQLite may have done so already."""
        try:
            if self.connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error as error:
            raise DiskFailed(f"{self.place}: rollback failed: {error}") from error

    def load(self) -> Keyspace:
        """All keys in memory, verified. Raises `DamagedStateFile` when they are not what the file says.

        What is verified: every row by its Adler-32, as their sum, which is as good as one by one and needs
        no column to be read; and their number. The hashes are not computed anew: that would cost more than
        all the rest. A damaged one is found by the comparison of replicas.
        """
        keyspace = Keyspace()
        keys, size = (0, 0) if self.checkpoint is None else (self.checkpoint.keys, self.checkpoint.size)
        collecting = gc.isenabled()
        gc.disable()  # nothing of what is made here is garbage, and looking for it would double the time
        try:
            rows = self.connection.execute(_ROWS if self._schema == 1 else _STRINGS)
            adlers = keyspace.load(rows, size)
        except (apsw.Error, TypeError, ValueError) as error:  # a column may not even have its type
            raise DamagedStateFile(f"SQLite cannot read it ({error})") from error
        finally:
            if collecting:
                gc.enable()
        if (len(keyspace), adlers) != (keys, self.adlers):
            raise DamagedStateFile("its rows are not those that it was left with")
        return keyspace

    def flush(self) -> bool:
        """Copy the WAL into the file and sync; false when the disk is full.

        Frames that a reader still needs stay, and go with a later call.
        """
        try:
            mode = apsw.SQLITE_CHECKPOINT_PASSIVE
            frames, copied = self.connection.wal_checkpoint(mode=mode)
            if frames == copied and frames > 0:
                self._cut_wal()
                frames = 0
        except apsw.Error as error:
            if not is_full(error):
                raise explain(self.place, error) from error
            return False
        self.wal_bytes = (frames - copied) * FRAME_BYTES if frames > copied else 0
        self._count_free()
        return True

    def _cut_wal(self) -> None:
        """All of it is in the file; readers that are still there keep its length, no more."""
        try:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            return

    def vacuum(self, pages: int) -> bool:
        """Give back up to `pages` free pages; whether there were any and there was space to do it in."""
        before = self.free_bytes
        try:
            list(self._cursor.execute(f"PRAGMA incremental_vacuum({pages})"))
        except apsw.Error as error:
            if not is_full(error):
                raise explain(self.place, error) from error
            self.roll_back()
            return False
        self._count_free()
        return self.free_bytes < before

    def close(self) -> None:
        """Copy what is in the WAL and let go of the file; where the disk is full the WAL stays beside it."""
        try:
            if self.flush() and not self.wal_bytes:
                self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self.connection.close()
        except apsw.Error as error:
            raise explain(self.place, error) from error

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self.connection.close(True)

    def _count_free(self) -> None:
        self.free_bytes = int(single(self.connection, "PRAGMA freelist_count")) * PAGE_BYTES

    def _wal_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.wal_bytes = pages * FRAME_BYTES
        return apsw.SQLITE_OK


def stored_row(key: bytes, value: bytes, revision: int, expires: int) -> StoredRow:
    """The columns of a row."""
    check = row_sum(key, value, revision, expires)
    return key, value, revision, expires, check, record_hash(key, value, revision, expires)


def _pieces(changes: dict[bytes, Record | None], pause: Pause) -> Iterator[list[bytes]]:
    """The keys in their order, in pieces bounded in number and in bytes of values.

    Sorted in short runs that are then merged: one sort of a million keys would hold Python's lock for a
    second. What it costs in memory is eight bytes a key.
    """
    runs = []
    keys = iter(changes)
    while run := sorted(islice(keys, RUN_KEYS)):
        runs.append(run)
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
