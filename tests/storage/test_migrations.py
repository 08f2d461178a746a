"""Numbered schema files lead every older database to the same place."""

import apsw
import pytest

from kraft.storage import migrations
from kraft.storage.errors import UnknownVersion
from kraft.storage.migrations import Migration
from kraft.storage.sqlite import open_connection, single

ONE = Migration(1, "CREATE TABLE a (x INTEGER) STRICT")
TWO = Migration(2, "CREATE TABLE b (y TEXT) STRICT; ALTER TABLE a ADD COLUMN z BLOB")
BROKEN = Migration(2, "CREATE TABLE b (y TEXT) STRICT; CREATE TABLE a (x INTEGER) STRICT")


@pytest.fixture
def new(tmp_path):
    """Opens numbered databases, empty at first."""
    opened = []

    def open_it(name):
        opened.append(open_connection(str(tmp_path / name), wal_bytes_max=1 << 20))
        return opened[-1]

    yield open_it
    for connection in opened:
        connection.close()


def schema(connection):
    return [
        single(connection, "PRAGMA user_version"),
        *connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name"),
    ]


def test_upgraded_equals_fresh(new):
    """With the files of the package and two more."""
    files = migrations.load()
    count = len(files)
    more = (
        *files,
        Migration(count + 1, "CREATE TABLE later (x INTEGER) STRICT"),
        Migration(count + 2, "ALTER TABLE later ADD COLUMN y BLOB"),
    )
    fresh, upgraded = new("fresh"), new("upgraded")
    migrations.create(fresh, more)
    migrations.create(upgraded, files)

    assert migrations.check_and_upgrade(upgraded, more) == count + 2
    assert schema(upgraded) == schema(fresh)


def test_an_upgrade_keeps_the_rows(new):
    database = new("a")
    migrations.create(database, (ONE,))
    database.execute("INSERT INTO a VALUES (7)")

    migrations.check_and_upgrade(database, (ONE, TWO))

    assert database.execute("SELECT x, z FROM a").fetchall() == [(7, None)]


def test_a_failed_step_leaves_the_version_before_it(new):
    database = new("a")
    migrations.create(database, (ONE,))
    before = schema(database)

    with pytest.raises(apsw.SQLError):
        migrations.check_and_upgrade(database, (ONE, BROKEN))

    assert schema(database) == before


def test_a_newer_schema_is_refused(new):
    database = new("a")
    migrations.create(database, (ONE, TWO))

    with pytest.raises(UnknownVersion, match="has schema 2, this version of kraft knows up to 1"):
        migrations.check_and_upgrade(database, (ONE,))


def test_a_database_of_another_program_is_refused(new):
    database = new("a")
    database.execute("CREATE TABLE theirs (x)")

    with pytest.raises(UnknownVersion, match="is not a kraft log"):
        migrations.check_and_upgrade(database, (ONE,))


def test_a_gap_between_schema_files_is_refused():
    with pytest.raises(UnknownVersion):
        migrations.in_order([Migration(3, ""), ONE])


def test_the_log_can_be_read_by_people(tmp_path, database_at, write):
    """The view `log` of a stopped node's database splits the key."""
    database = database_at(tmp_path)
    database.commit([write(1, 2, group=3, commit=1)])
    database.close()

    reader = apsw.Connection(str(tmp_path / "log.db"))
    rows = reader.execute('SELECT replica, "index", term, stamp, kind, committed, size FROM log').fetchall()
    reader.close()

    assert rows == [(3, 1, 1, 1001, 1, 1, 4), (3, 2, 1, 1002, 1, 1, 4)]
