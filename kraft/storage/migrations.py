"""Numbered schema files: a new database is built aside and renamed, an old one is upgraded forward.

The version is SQLite's `user_version`: the number of the last migration applied. Each runs in one transaction
together with its number, so a database never stands between two versions.
"""

import re
from dataclasses import dataclass
from importlib import resources

import apsw

from kraft.storage.errors import NewerVersion, UnknownVersion
from kraft.storage.sqlite import APPLICATION_ID, single

ALWAYS = 2  # the schema of the log of one group
SEVERAL_GROUPS = 3  # the cluster was formed with several groups
CREATED_GROUPS = 4  # groups were created since
LEFT_GROUPS = 5  # the node has left groups

_FILE_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number from 1, and the SQL that leads there from the number before."""

    version: int
    sql: str


def load(folder: str = "schema") -> tuple[Migration, ...]:
    """The migrations in a folder of the package, ascending and without a gap."""
    return in_order(
        [
            Migration(int(match[1]), file.read_text(encoding="utf-8"))
            for file in resources.files("kraft.storage").joinpath(folder).iterdir()
            if (match := _FILE_NAME.fullmatch(file.name))
        ]
    )


def in_order(migrations: list[Migration]) -> tuple[Migration, ...]:
    """Sorted by version. Raises `UnknownVersion` when one is missing or double."""
    ordered = tuple(sorted(migrations, key=lambda migration: migration.version))
    if [migration.version for migration in ordered] != list(range(1, len(ordered) + 1)):
        raise UnknownVersion(f"schema files are not numbered 1 to {len(ordered)}")
    return ordered


def create(
    connection: apsw.Connection, migrations: tuple[Migration, ...], application_id: int = APPLICATION_ID
) -> None:
    """Apply these migrations to an empty database."""
    connection.execute(f"PRAGMA application_id={application_id}")
    _upgrade(connection, migrations)


def check_and_upgrade(
    connection: apsw.Connection, migrations: tuple[Migration, ...], to: int | None = None
) -> int:
    """Bring an existing log database to the version `to` (None: the newest), unless it is beyond it.

    Returns its version. Raises `UnknownVersion`.
    """
    version = check(connection, migrations)
    steps = migrations[version:to]
    _upgrade(connection, steps)
    return version + len(steps)


def raise_schema(connection: apsw.Connection, to: int) -> None:
    """Bring a log database to the version `to` at least, inside a transaction of the caller's."""
    for migration in load()[single(connection, "PRAGMA user_version") : to]:
        apply(connection, migration)


def check(
    connection: apsw.Connection, migrations: tuple[Migration, ...], application_id: int = APPLICATION_ID
) -> int:
    """The version of an existing database, at most that of the last migration.

    Raises `NewerVersion`, or `UnknownVersion` for a file that is not kraft's.
    """
    application = single(connection, "PRAGMA application_id")
    version = single(connection, "PRAGMA user_version")
    if application != application_id or version < 1:
        kind = "log" if application_id == APPLICATION_ID else "state file"
        raise UnknownVersion(f"{connection.filename} is not a kraft {kind} (application id {application:#x})")
    if version > len(migrations):
        raise NewerVersion(
            f"{connection.filename} has schema {version}, this version of kraft knows up to"
            f" {len(migrations)}: run the newer kraft that wrote it"
        )
    return int(version)


def _upgrade(connection: apsw.Connection, migrations: tuple[Migration, ...]) -> None:
    for migration in migrations:
        with connection:
            apply(connection, migration)


def apply(connection: apsw.Connection, migration: Migration) -> None:
    """Apply one migration and its number, inside a transaction of the caller's."""
    connection.execute(migration.sql)
    connection.execute(f"PRAGMA user_version={migration.version}")
