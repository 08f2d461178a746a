"""The files of the log: how a new database is built, and how both files are opened.

They are `log.db` with its `-wal`, and `highwater`. A new `log.db` is complete before it gets its name:
schema, node id and a fresh incarnation. All of it is durable, with its name, before the node sends anything.
"""

import errno
from collections.abc import Callable
from contextlib import suppress

import apsw

from kraft.node.values import Identity
from kraft.storage import migrations
from kraft.storage.errors import DamagedLog, DirectoryUnusable, NoSpace
from kraft.storage.log.highwater import HighwaterFile
from kraft.storage.log.identity import write_identity
from kraft.storage.ports import Directory, StorageSettings
from kraft.storage.sqlite import abandon, explain, open_connection, single

LOG_FILE = "log.db"
WAL_FILE = LOG_FILE + "-wal"
HIGHWATER_FILE = "highwater"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NEW_FILE = "log.db.new"


def open_files(
    directory: Directory,
    *,
    node_id: str,
    incarnation: Callable[[], str],
    settings: StorageSettings,
    vfs: str,
) -> tuple[apsw.Connection, HighwaterFile]:
    """Open the database, brought up to date, and the high-water file; build what is missing.

    Raises `StorageError`.
    """
    place = directory.path(LOG_FILE)
    try:
        if not directory.exists(LOG_FILE):
            refuse_leftovers(directory)
            _build(directory, Identity(node_id, incarnation()), settings, vfs)
        connection = open_connection(place, vfs=vfs, wal_bytes_max=settings.wal_bytes_max)
        try:
            migrations.check_and_upgrade(connection, migrations.load(), migrations.ALWAYS)
            enable_vacuum(connection)
            return connection, _open_highwater(directory)
        except BaseException:
            abandon(connection)
            raise
    except apsw.Error as error:
        raise explain(place, error) from error
    except OSError as error:
        raise DirectoryUnusable(f"{place}: {error.strerror or error}") from error


def _open_highwater(directory: Directory) -> HighwaterFile:
    place = directory.path(HIGHWATER_FILE)
    try:
        return HighwaterFile(directory.record_file(HIGHWATER_FILE), place)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise NoSpace(f"{place}: the disk is full") from error
        raise DirectoryUnusable(f"{place}: {error.strerror or error}") from error


def enable_vacuum(connection: apsw.Connection) -> None:
    """Rewrite, once, a file of schema 1, which cannot give back free pages.

    On a full disk it stays as it is; the next start tries again.
    """
    if single(connection, "PRAGMA auto_vacuum") == 0:
        with suppress(apsw.FullError):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA temp_store=FILE")  # the copy may be larger than the memory
            connection.execute("VACUUM")
            connection.execute("PRAGMA temp_store=MEMORY")


def refuse_leftovers(directory: Directory) -> None:
    """Raise `DamagedLog` when `log.db` is missing and its companions are not: they show that a log was lost.

    SQLite would even replay the old WAL into a new database.
    """
    for name in (WAL_FILE, HIGHWATER_FILE):
        if directory.exists(name):
            raise DamagedLog(directory.path(LOG_FILE), f"it is missing, while {name} is there")


def _build(directory: Directory, identity: Identity, settings: StorageSettings, vfs: str) -> None:
    for suffix in ("", "-wal", "-journal"):
        directory.remove(_NEW_FILE + suffix)  # left by a start that was interrupted
    connection = open_connection(directory.path(_NEW_FILE), vfs=vfs, wal_bytes_max=settings.wal_bytes_max)
    try:
        migrations.create(connection, migrations.load()[: migrations.ALWAYS])
        with connection:
            write_identity(connection.cursor(), identity)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        abandon(connection)
    directory.rename(_NEW_FILE, LOG_FILE)
