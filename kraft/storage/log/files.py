"""The files of a data directory: which belong together, building the database aside, opening both.

`log.db` with its `-wal`, and `highwater`. A new `log.db` is complete before it gets its name: schema, node id
and a fresh incarnation, all durable, the name included, before the node says a word to anyone.
"""

from collections.abc import Callable
from contextlib import suppress

import apsw

from kraft.node.values import Identity
from kraft.storage import migrations
from kraft.storage.errors import DamagedLog, DirectoryUnusable
from kraft.storage.log.highwater import HighWater
from kraft.storage.log.identity import write_identity
from kraft.storage.ports import Directory, Settings
from kraft.storage.sqlite import explain, open_database, single

LOG_FILE = "log.db"
WAL_FILE = LOG_FILE + "-wal"
HIGHWATER_FILE = "highwater"
_NEW_FILE = "log.db.new"


def open_files(
    directory: Directory, *, node_id: str, incarnation: Callable[[], str], settings: Settings, vfs: str
) -> tuple[apsw.Connection, HighWater]:
    """Open what is there, at the newest schema, or make it. Raises `StorageError`."""
    place = directory.path(LOG_FILE)
    try:
        if not directory.exists(LOG_FILE):
            refuse_remains(directory)
            _build(directory, Identity(node_id, incarnation()), settings, vfs)
        connection = open_database(place, vfs=vfs, wal_bytes_max=settings.wal_bytes_max)
        try:
            migrations.check_and_upgrade(connection, migrations.schema_files())
            _let_it_shrink(connection)
            records = directory.record_file(HIGHWATER_FILE)
            return connection, HighWater(records, directory.path(HIGHWATER_FILE))
        except BaseException:
            connection.close(True)
            raise
    except apsw.Error as error:
        raise explain(place, error) from error
    except OSError as error:
        raise DirectoryUnusable(f"{place}: {error.strerror or error}") from error


def _let_it_shrink(connection: apsw.Connection) -> None:
    """A file of schema 1 was made without a way to give back free pages; it is written anew, once.

    With a full disk it stays as it is, to be tried at the next start.
    """
    if single(connection, "PRAGMA auto_vacuum") == 0:
        with suppress(apsw.FullError):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("VACUUM")


def refuse_remains(directory: Directory) -> None:
    """Without `log.db` its companions are witnesses of a lost log. Raises `DamagedLog` when there are any.

    SQLite would even replay the old WAL into a new database.
    """
    for name in (WAL_FILE, HIGHWATER_FILE):
        if directory.exists(name):
            raise DamagedLog(directory.path(LOG_FILE), f"it is missing, while {name} is there")


def _build(directory: Directory, identity: Identity, settings: Settings, vfs: str) -> None:
    for suffix in ("", "-wal", "-journal"):
        directory.remove(_NEW_FILE + suffix)  # of a start that was interrupted
    connection = open_database(directory.path(_NEW_FILE), vfs=vfs, wal_bytes_max=settings.wal_bytes_max)
    try:
        migrations.create(
            connection,
            migrations.schema_files(),
            lambda database: write_identity(database.cursor(), identity),
        )
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close(True)
    directory.rename(_NEW_FILE, LOG_FILE)
