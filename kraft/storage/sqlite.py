"""SQLite, opened so that COMMIT means durable, and the one wrapper around an open file.

Every pragma is read back, because SQLite silently ignores what it cannot honour. The order matters:
`locking_mode` comes before `journal_mode`, or WAL would need shared memory; both are set outside any
transaction.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from kraft.storage.access import obstacle
from kraft.storage.errors import (
    CannotOpen,
    DamagedLog,
    DirectoryLocked,
    DiskFailed,
    NoSpace,
    PragmaRefused,
    StorageError,
)

PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24  # a page and its frame header in the WAL
APPLICATION_ID = 0x6B726674  # "krft" in the file's header

Pragma = tuple[str, str | int, str | int | None]  # name, value to set, value to read back (None: any)

_READ_ONLY: tuple[Pragma, ...] = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),  # no shared memory is made
    ("query_only", 1, 1),
    ("mmap_size", 0, 0),
    ("cell_size_check", 1, 1),
    ("trusted_schema", 0, 0),
)
_PINNED: tuple[Pragma, ...] = (
    ("wal_autocheckpoint", 0, 0),
    ("query_only", 1, 1),
    ("mmap_size", 0, 0),
    ("cell_size_check", 1, 1),
)


class SqliteDatabase:
    """One open SQLite file; synchronous, without a thread. Methods raise `StorageError`.

    After any error but `NoSpace` and `CannotOpen` it must not be used again: SQLite would accept the next
    insert even after a failed fsync, and lose pages that it believes written (Rebello et al., ATC'20).

    `wal_bytes` are the frames of the WAL that are not yet in the file, `free_pages` the file's unused pages
    as of the last WAL checkpoint or `vacuum`.
    """

    def __init__(self, place: str, connection: apsw.Connection) -> None:
        self.place = place
        self.connection = connection
        self.wal_bytes = 0
        connection.set_wal_hook(self._wal_grew)
        self.cursor = connection.cursor()
        self.count_free_pages()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Cursor]:
        """Commit durably what is done inside. Raises `NoSpace` when the disk is full: nothing was written.

        An exception of the caller's rolls back too, and passes through.
        """
        try:
            self.cursor.execute("BEGIN IMMEDIATE")
            yield self.cursor
            self.cursor.execute("COMMIT")
        except apsw.Error as error:
            if is_full(error) or isinstance(error, apsw.CantOpenError):
                self._roll_back()
            raise explain(self.place, error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """SQLite has done so already when COMMIT failed, and has not when a statement before it did."""
        try:
            if self.connection.in_transaction:
                self.cursor.execute("ROLLBACK")
        except apsw.Error as error:
            raise DiskFailed(f"{self.place}: rollback failed: {error}") from error

    def checkpoint_wal(self) -> bool:
        """Copy the WAL into the file and sync; the WAL is then reused from its start.

        False when the disk is full. Frames that a reader still needs stay, and count in `wal_bytes`. A
        PASSIVE checkpoint spares cutting and growing the WAL again.
        """
        try:
            frames, copied = self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.count_free_pages()
        except apsw.Error as error:
            if is_full(error):
                return False
            raise explain(self.place, error) from error
        self.wal_bytes = max(0, frames - copied) * FRAME_BYTES
        return True

    def vacuum(self, pages: int) -> bool:
        """Give back up to `pages` free pages. False when there were none, or no space to do it in.

        The file itself shrinks at the next WAL checkpoint.
        """
        self.count_free_pages()
        before = self.free_pages
        try:
            list(self.cursor.execute(f"PRAGMA incremental_vacuum({pages})"))
        except apsw.Error as error:
            if is_full(error):
                self._roll_back()
                return False
            raise explain(self.place, error) from error
        self.count_free_pages()
        return self.free_pages < before

    def close(self) -> None:
        """Checkpoint the WAL and close the file. On a full disk the WAL stays, for the next start to read."""
        try:
            if self.checkpoint_wal() and not self.wal_bytes:
                self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self.connection.close()
        except apsw.Error as error:
            raise explain(self.place, error) from error

    def keep_wal_on_close(self) -> None:
        """Leave the WAL to `close`: a close by SQLite would checkpoint it and swallow the errors."""
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def abandon(self) -> None:
        """Close the file as it is: after a failure, or where a simulator cuts the power."""
        abandon(self.connection)

    def count_free_pages(self) -> None:
        """Bring `free_pages` up to date."""
        self.free_pages = int(single(self.connection, "PRAGMA freelist_count"))

    def _wal_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.wal_bytes = pages * FRAME_BYTES
        return apsw.SQLITE_OK


def abandon(connection: apsw.Connection) -> None:
    """Close a connection whose file needs nothing more: it was only read, or has failed.

    An error in closing says nothing new, and must not take the place of the one before it.
    """
    with suppress(apsw.Error):
        connection.close(True)


@contextmanager
def abandoned_on_error(connection: apsw.Connection, path: str) -> Iterator[None]:
    """Close the connection to `path` if the body raises. Errors of SQLite become `StorageError`."""
    try:
        yield
    except apsw.Error as error:
        abandon(connection)
        raise explain(path, error) from error
    except BaseException:
        abandon(connection)
        raise


# Connections. Each function raises `StorageError`.


def open_connection(
    path: str, *, vfs: str = "", wal_bytes_max: int, shared: bool = False, spill: bool = False
) -> apsw.Connection:
    """Open or create `path` with a WAL and `synchronous=FULL`.

    The lock is exclusive unless `shared`: then other connections may read. With `spill`, a transaction larger
    than the cache goes to the WAL before its COMMIT, so that memory is bounded.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    return _connect(path, vfs, flags, _durable(wal_bytes_max, shared, spill))


def open_to_read(path: str) -> apsw.Connection:
    """Open a file of the real disk alone, to leave it and its WAL as they are."""
    connection = _connect(path, "", apsw.SQLITE_OPEN_READWRITE, ())  # a WAL needs more than reading
    wal = Path(path + "-wal")
    with abandoned_on_error(connection, path):
        # Closing may remove an empty WAL, which reading made, and no other.
        keep = wal.exists() and wal.stat().st_size > 0
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))
        for pragma in _READ_ONLY:
            set_pragma(connection, *pragma)
    return connection


def open_pinned(path: str, *, vfs: str = "") -> apsw.Connection:
    """A second connection, in a read transaction: it sees the file as of its first read."""
    connection = _connect(path, vfs, apsw.SQLITE_OPEN_READWRITE, _PINNED)
    with abandoned_on_error(connection, path):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("BEGIN")
    return connection


def _connect(path: str, vfs: str, flags: int, pragmas: tuple[Pragma, ...]) -> apsw.Connection:
    try:
        connection = apsw.Connection(path, flags=flags, vfs=vfs or None)
    except apsw.Error as error:
        raise explain(path, error) from error
    with abandoned_on_error(connection, path):
        for pragma in pragmas:
            set_pragma(connection, *pragma)
    return connection


def _durable(wal_bytes_max: int, shared: bool, spill: bool) -> tuple[Pragma, ...]:
    """In the order that works."""
    locking = "NORMAL" if shared else "EXCLUSIVE"
    return (
        ("locking_mode", locking, locking.lower()),
        ("page_size", PAGE_BYTES, PAGE_BYTES),
        ("auto_vacuum", "INCREMENTAL", None),  # a file that was made without it keeps what it has
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", 2),
        ("fullfsync", 1, 1),  # makes a difference on macOS only
        ("checkpoint_fullfsync", 1, 1),
        ("wal_autocheckpoint", 0, 0),  # the automatic one swallows its errors and syncs inside COMMIT
        ("journal_size_limit", wal_bytes_max, wal_bytes_max),  # a WAL that outgrew it shrinks when reused
        # Without spilling, an unfinished transaction stays in memory: errors come from COMMIT alone.
        ("cache_spill", int(spill), None if spill else 0),
        ("temp_store", "MEMORY", 2),  # no statement needs a file that the process might not get
        ("mmap_size", 0, 0),  # an I/O error of mapped pages would be a SIGBUS
        ("cell_size_check", 1, 1),
        ("trusted_schema", 0, 0),
    )


def set_pragma(connection: apsw.Connection, name: str, value: str | int, effect: str | int | None) -> None:
    """Set one pragma and read it back. Raises `PragmaRefused`."""
    list(connection.execute(f"PRAGMA {name}={value}"))
    found = single(connection, f"PRAGMA {name}")
    if effect is None or (name == "mmap_size" and found is None):
        return  # a VFS without memory mapping has nothing to switch off
    if found != effect:
        raise PragmaRefused(f"{connection.filename}: SQLite answers {name}={found!r}, not {effect!r}")


def single(connection: apsw.Connection, query: str) -> Any:
    """The only value of a query that has one row; None when it has none."""
    cursor = connection.execute(query)
    row = cursor.fetchone()
    cursor.close()  # at once: while a statement is open, no WAL checkpoint can cut the WAL
    return None if row is None else row[0]


def is_full(error: apsw.Error) -> bool:
    """Whether the disk has no room, be it for the file through which connections share memory."""
    return (
        isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    )


def explain(path: str, error: apsw.Error) -> StorageError:
    """The one table from SQLite's errors to ours."""
    said = str(error).partition("\n")[0]  # the rest is SQL
    reason = f"{type(error).__name__} {getattr(error, 'extendedresult', '')}: {said}"
    if is_full(error):
        return NoSpace(f"{path}: the disk is full")
    if isinstance(error, apsw.CantOpenError):
        return CannotOpen(_why_not_opened(path))
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return DirectoryLocked(f"{path} is open in another program")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return DamagedLog(path, f"SQLite finds it damaged ({said})")
    # Our statements and values fit the schema as we made it.
    if isinstance(error, apsw.SQLError | apsw.ConstraintError):
        return DamagedLog(path, f"its schema is damaged ({said})")
    found = _obstacle(path)
    return DiskFailed(f"{found} ({reason})" if found else f"{path}: {reason}")


def _obstacle(path: str) -> str:
    """What keeps this process from the file or one of its companions; '' for nothing that can be seen."""
    return next(filter(None, (obstacle(Path(path + suffix)) for suffix in ("", "-wal", "-shm"))), "")


def _why_not_opened(path: str) -> str:
    """Why a file cannot be opened, which SQLite does not tell."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return f"{path} cannot be opened: {error.strerror}"
    return _obstacle(path) or (
        f"{path} could not be opened a moment ago; perhaps the process had too many files open"
    )
