"""A connection has every setting that durability needs, or is refused."""

import apsw
import pytest

from kraft.storage.errors import DirectoryUnusable, DiskFailed, PragmaRefused
from kraft.storage.sqlite import abandon, open_connection, set_pragma, single


@pytest.fixture
def connection(tmp_path):
    opened = open_connection(str(tmp_path / "log.db"), wal_bytes_max=1 << 20)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("locking_mode", "exclusive"),
        ("page_size", 4096),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("wal_autocheckpoint", 0),
        ("journal_size_limit", 1 << 20),
        ("cache_spill", 0),
        ("mmap_size", 0),
    ],
)
def test_every_pragma_of_consequence_is_in_force(connection, name, value):
    assert single(connection, f"PRAGMA {name}") == value


def test_a_pragma_that_sqlite_does_not_honour_is_refused(connection):
    """SQLite silently ignores a value that it cannot honour: reading it back shows that."""
    with pytest.raises(PragmaRefused, match="journal_mode='wal', not 'delete'"):
        set_pragma(connection, "journal_mode", "WAL", "delete")


def test_wal_that_cannot_be_had_is_refused(tmp_path):
    """A database in memory has no WAL: SQLite stays with another journal, without an error."""
    with pytest.raises(PragmaRefused, match="journal_mode"):
        open_connection(":memory:", wal_bytes_max=1 << 20)


def test_no_shared_memory_file_beside_an_exclusive_wal(connection, tmp_path):
    connection.execute("CREATE TABLE t (x)")

    assert (tmp_path / "log.db-wal").exists()
    assert not (tmp_path / "log.db-shm").exists()


def test_a_failing_disk_is_one_line(tmp_path, faulty_vfs):
    faulty_vfs.faults["db", "write"] = apsw.SQLITE_IOERR_WRITE
    with pytest.raises(DiskFailed, match=r"log\.db: IOError"):
        open_connection(str(tmp_path / "log.db"), wal_bytes_max=1 << 20, vfs="faulty")


def test_a_disk_that_fails_again_in_closing_is_the_same_line(tmp_path, faulty_vfs):
    """The last connection to close checkpoints the WAL, and that fails too (found by the simulator)."""
    path = str(tmp_path / "log.db")
    connection = open_connection(path, wal_bytes_max=1 << 20, vfs="faulty")
    connection.execute("CREATE TABLE t (x)")
    faulty_vfs.faults["db", "sync"] = faulty_vfs.faults["wal", "sync"] = apsw.SQLITE_IOERR_FSYNC
    abandon(connection)
    faulty_vfs.faults.clear()
    again = open_connection(path, wal_bytes_max=1 << 20, vfs="faulty")
    assert again.execute("SELECT * FROM t").fetchall() == []


def test_the_new_database_is_built_aside(tmp_path, database_at, faulty_directory):
    """A start that dies while building leaves no log.db, and the next one begins anew."""
    (tmp_path / "log.db.new").write_bytes(b"left by a start that died")
    made = []

    def incarnation():
        made.append(sorted(path.name for path in tmp_path.iterdir()))
        return "ab" * 16

    database = database_at(faulty_directory, incarnation=incarnation)

    assert made == [["log.db.new"]]
    assert database.loaded.identity.incarnation == "ab" * 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["highwater", "log.db", "log.db-wal"]


def test_a_disk_that_is_full_at_the_first_start_leaves_no_log(tmp_path, database_at, faulty_vfs):
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    with pytest.raises(Exception, match="the disk is full"):
        database_at(tmp_path, vfs="faulty")
    assert not (tmp_path / "log.db").exists()

    faulty_vfs.faults.clear()
    assert database_at(tmp_path, vfs="faulty").loaded.identity.id == "K1"


def test_a_directory_that_cannot_hold_the_high_water_file_is_refused(tmp_path, database_at):
    (tmp_path / "highwater").mkdir()
    (tmp_path / "highwater").rename(tmp_path / "aside")
    database_at(tmp_path).close()
    (tmp_path / "highwater").unlink()
    (tmp_path / "aside").rename(tmp_path / "highwater")

    with pytest.raises(DirectoryUnusable, match="Is a directory"):
        database_at(tmp_path)


def test_a_single_value_leaves_no_statement_open(connection):
    """Whoever still refers to the cursor, such as a tool that looks at all objects of the process."""
    kept = []

    def cursor(of):
        kept.append(apsw.Cursor(of))
        return kept[-1]

    connection.execute("CREATE TABLE numbers (number)")
    connection.cursor_factory = cursor
    assert single(connection, "PRAGMA freelist_count") == 0
    assert len(kept) == 1
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
