"""Opening SQLite so that COMMIT means durable, and refusing to run when it does not.

Every pragma is read back: SQLite ignores what it cannot honour without a word. The order matters:
`locking_mode` before `journal_mode`, or WAL would need shared memory; both outside any transaction.
"""

from pathlib import Path
from typing import Any

import apsw

from kraft.storage.errors import (
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


def open_database(
    path: str, *, vfs: str = "", wal_bytes_max: int, shared: bool = False, spill: bool = False
) -> apsw.Connection:
    """Open or create `path` as WAL with `synchronous=FULL`. Raises `StorageError`.

    Exclusively, unless `shared`: then other connections may read. With `spill` a transaction larger than the
    cache goes to the WAL before its COMMIT, so that memory is bounded.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(path, flags=flags, vfs=vfs or None)
    except apsw.Error as error:
        raise explain(path, error) from error
    try:
        for name, value, effect in _pragmas(wal_bytes_max, shared, spill):
            set_pragma(connection, name, value, effect)
    except apsw.Error as error:
        connection.close(True)
        raise explain(path, error) from error
    except StorageError:
        connection.close(True)
        raise
    return connection


def open_to_read(path: str) -> apsw.Connection:
    """Open a file of the real disk, alone, to leave it and its WAL as they are. Raises `StorageError`."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)  # WAL is not for a mere reader
    except apsw.Error as error:
        raise explain(path, error) from error
    wal = Path(path + "-wal")
    try:
        # The close may take away an empty WAL, which the reading made, and no other.
        keep = wal.exists() and wal.stat().st_size > 0
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))
        for name, value, effect in _READING:
            set_pragma(connection, name, value, effect)
    except apsw.Error as error:
        connection.close(True)
        raise explain(path, error) from error
    except BaseException:
        connection.close(True)
        raise
    return connection


_READING = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),  # no shared memory is made
    ("query_only", 1, 1),
    ("mmap_size", 0, 0),
    ("cell_size_check", 1, 1),
    ("trusted_schema", 0, 0),
)


def _pragmas(
    wal_bytes_max: int, shared: bool, spill: bool
) -> tuple[tuple[str, str | int, str | int | None], ...]:
    """(name, value to set, value that must be read back or None for any), in the order that works."""
    locking = "NORMAL" if shared else "EXCLUSIVE"
    return (
        ("locking_mode", locking, locking.lower()),
        ("page_size", PAGE_BYTES, PAGE_BYTES),
        ("auto_vacuum", "INCREMENTAL", None),  # a file that was made without keeps what it has
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", 2),
        ("fullfsync", 1, 1),  # only macOS has a difference
        ("checkpoint_fullfsync", 1, 1),
        ("wal_autocheckpoint", 0, 0),  # the automatic one swallows its errors and syncs inside COMMIT
        ("journal_size_limit", wal_bytes_max, wal_bytes_max),  # a WAL once grown beyond shrinks when reused
        # Without spilling an unfinished transaction stays in memory: errors come from COMMIT alone.
        ("cache_spill", int(spill), None if spill else 0),
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
    """The only value of a query that always has one row."""
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def is_full(error: apsw.Error) -> bool:
    """Whether the disk has no room: also for the memory that connections share, which is a file as well."""
    return (
        isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    )


def explain(path: str, error: apsw.Error) -> StorageError:
    """The one table from SQLite's errors to ours."""
    said = str(error).partition("\n")[0]  # the rest is SQL
    reason = f"{type(error).__name__} {getattr(error, 'extendedresult', '')}: {said}"
    if is_full(error):
        return NoSpace(f"{path}: the disk is full")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return DirectoryLocked(f"{path} is open in another program")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return DamagedLog(path, f"SQLite finds it damaged ({said})")
    # What we ask for and what we store fits the schema as we made it.
    if isinstance(error, apsw.SQLError | apsw.ConstraintError):
        return DamagedLog(path, f"its schema is damaged ({said})")
    return DiskFailed(f"{path}: {reason}")
