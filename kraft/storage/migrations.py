"""Numbered schema files: a new database is built aside and renamed, an old one is upgraded forward.

The version is SQLite's `user_version`: the number of the last schema file applied. Each file runs in one
transaction together with its number, so a database never stands between two versions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import apsw

from kraft.storage.errors import NewerVersion, UnknownVersion
from kraft.storage.sqlite import APPLICATION_ID, single

_FILE_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One step: its number from 1, and the SQL that leads there from the number before."""

    version: int
    sql: str


def schema_files(folder: str = "schema") -> tuple[SchemaFile, ...]:
    """The files of a folder of the package, ascending and without a gap."""
    return in_order(
        [
            SchemaFile(int(match[1]), file.read_text(encoding="utf-8"))
            for file in resources.files("kraft.storage").joinpath(folder).iterdir()
            if (match := _FILE_NAME.fullmatch(file.name))
        ]
    )


def in_order(files: list[SchemaFile]) -> tuple[SchemaFile, ...]:
    """Sorted by version. Raises `UnknownVersion` when one is missing or double."""
    ordered = tuple(sorted(files, key=lambda file: file.version))
    if [file.version for file in ordered] != list(range(1, len(ordered) + 1)):
        raise UnknownVersion(f"schema files are not numbered 1 to {len(ordered)}")
    return ordered


def create(
    connection: apsw.Connection,
    files: tuple[SchemaFile, ...],
    fill: Callable[[apsw.Connection], object],
    application_id: int = APPLICATION_ID,
) -> None:
    """Lay the whole schema into an empty database, with the rows `fill` adds."""
    connection.execute(f"PRAGMA application_id={application_id}")
    upgrade(connection, files, 0)
    with connection:
        fill(connection)


def check_and_upgrade(
    connection: apsw.Connection, files: tuple[SchemaFile, ...], application_id: int = APPLICATION_ID
) -> int:
    """Bring an existing database to the newest version and return it. Raises `UnknownVersion`."""
    upgrade(connection, files, check(connection, files, application_id))
    return len(files)


def check(
    connection: apsw.Connection, files: tuple[SchemaFile, ...], application_id: int = APPLICATION_ID
) -> int:
    """The schema version of an existing database, at most that of the last of `files`.

    Raises `NewerVersion`, or `UnknownVersion` for a file that is not kraft's.
    """
    application = single(connection, "PRAGMA application_id")
    version = single(connection, "PRAGMA user_version")
    if application != application_id or version < 1:
        kind = "log" if application_id == APPLICATION_ID else "state file"
        raise UnknownVersion(f"{connection.filename} is not a kraft {kind} (application id {application:#x})")
    if version > len(files):
        raise NewerVersion(
            f"{connection.filename} has schema {version}, this version of kraft knows up to {len(files)}:"
            " run the newer kraft that wrote it"
        )
    return int(version)


def upgrade(connection: apsw.Connection, files: tuple[SchemaFile, ...], version: int) -> None:
    """Apply the files above `version`, each in a transaction of its own."""
    for file in files[version:]:
        with connection:
            apply(connection, file)


def apply(connection: apsw.Connection, file: SchemaFile) -> None:
    """Apply one file and its number, inside a transaction of the caller's."""
    connection.execute(file.sql)
    connection.execute(f"PRAGMA user_version={file.version}")
