"""A quick look into a stopped node's directory."""

import apsw
import pytest

from kraft.node.values import Identity, Transaction
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import DamagedLog, DirectoryLocked, UnknownVersion
from kraft.storage.lock import DirectoryLock
from kraft.storage.log.database import LogDatabase
from kraft.storage.offline.inspection import Inspection, inspect
from kraft.storage.ports import StorageSettings

ENTRIES = tuple(Entry(i, 2, 5, EntryKind.NOOP, b"") for i in (1, 2, 3))


@pytest.fixture
def directory(tmp_path):
    """A directory of K1 of cluster `cafe`, with three entries in group 0."""
    database = LogDatabase(
        RealDirectory(str(tmp_path)), node_id="K1", incarnation=lambda: "1" * 32, settings=StorageSettings()
    )
    writes = ((0, Persist(0, HardState(2), None, ENTRIES, 1)),)
    database.commit([Transaction(writes, Identity("K1", "1" * 32, "cafe", ()))])
    database.close()
    return tmp_path


def change(directory, *statements):
    """Change the file as damage does, without its checksums."""
    connection = apsw.Connection(str(directory / "log.db"))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_whose_it_is_and_how_far(directory):
    assert inspect(str(directory)) == Inspection("K1", "cafe", {0: 3}, frozenset())


def test_where_no_node_has_been_nothing_is_made(tmp_path):
    assert inspect(str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_lost_its_end(directory):
    change(directory, "DELETE FROM entry WHERE position = 3")
    with pytest.raises(DamagedLog, match="ends at index 2 of term 2, but index 3 of term 2 was stored"):
        inspect(str(directory))


def test_a_row_that_is_damaged(directory):
    change(directory, "UPDATE hard_state SET term = 3")
    with pytest.raises(DamagedLog, match="the row of term and vote is damaged"):
        inspect(str(directory))


def test_a_directory_of_an_older_kraft_tells_whose_it_is(directory):
    change(directory, "PRAGMA user_version=1")
    assert inspect(str(directory)) == Inspection("K1", "cafe", {}, frozenset())


def test_a_file_that_is_no_log(directory):
    change(directory, "PRAGMA application_id=7")
    with pytest.raises(UnknownVersion):
        inspect(str(directory))


def test_a_node_that_runs_is_left_alone(directory):
    lock = DirectoryLock(str(directory))
    with pytest.raises(DirectoryLocked):
        inspect(str(directory))
    lock.release()
