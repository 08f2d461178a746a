"""The directory says how many groups its cluster has."""

from dataclasses import replace

import apsw
import msgspec
import pytest

from kraft.node.values import Identity, Transaction
from kraft.peerwire.codec import GROUPS_MAX
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage import migrations
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import DamagedLog, NewerVersion
from kraft.storage.log.database import LogDatabase
from kraft.storage.offline.inspection import inspect
from kraft.storage.ports import StorageSettings

FOUNDERS = (Member("K1", "a" * 32, "127.0.0.1:10001"),)


def opened(path):
    prepare_directory(str(path))
    return LogDatabase(
        RealDirectory(str(path)), node_id="K1", incarnation=lambda: "a" * 32, settings=StorageSettings()
    )


def form(path, groups, written=None, created=0):
    """A directory of a cluster with `groups` groups, of which `written` have a log, and `created` ones."""
    database = opened(path)
    first = Entry(1, 1, 0, EntryKind.CONFIGURATION, Configuration.of_voters(FOUNDERS).encode())
    write = Persist(0, HardState(term=1), None, (first,), commit=1)
    writes = tuple((group, write) for group in range(groups if written is None else written))
    identity = Identity("K1", "a" * 32, "c" * 32, FOUNDERS, groups)
    assert database.commit([Transaction(writes, identity)])
    if created:
        writes = tuple((group, write) for group in range(groups, groups + created))
        assert database.commit([Transaction(writes, replace(identity, created=created))])
    database.close()


@pytest.mark.parametrize("groups", [1, 3, 128])
def test_the_number_is_kept(tmp_path, groups):
    form(tmp_path / "data", groups)
    database = opened(tmp_path / "data")
    loaded = database.loaded
    database.close()
    assert (loaded.identity.groups, loaded.identity.members) == (groups, FOUNDERS)
    assert list(loaded.groups) == list(range(groups))


def test_one_group_is_written_as_before(tmp_path):
    """An earlier program reads the founders with this decoder, and goes on with such a directory."""
    form(tmp_path / "data", 1)
    assert msgspec.msgpack.decode(founders(tmp_path), type=tuple[Member, ...]) == FOUNDERS


@pytest.mark.parametrize(("groups", "schema"), [(1, 2), (2, 3)])
def test_the_schema_says_whether_there_are_several_groups(tmp_path, groups, schema):
    form(tmp_path / "data", groups)
    assert [row[0] for row in rows(tmp_path, "PRAGMA user_version")] == [schema]
    opened(tmp_path / "data").close()
    assert [row[0] for row in rows(tmp_path, "PRAGMA user_version")] == [schema]


def test_an_earlier_program_refuses_several_groups_in_one_line(tmp_path):
    """It would serve group 0 alone, and find no other key. It knows the schemas 1 and 2."""
    form(tmp_path / "data", 2)
    earlier = migrations.load()[:2]
    connection = apsw.Connection(str(tmp_path / "data" / "log.db"))
    with pytest.raises(NewerVersion, match="has schema 3, this version of kraft knows up to 2: run"):
        migrations.check_and_upgrade(connection, earlier)
    connection.close()


def test_more_groups_than_this_program_supports_are_refused_by_their_number(tmp_path):
    """They are a newer program's, and no damage."""
    form(tmp_path / "data", GROUPS_MAX + 1, written=1)
    with pytest.raises(NewerVersion, match=f"with {GROUPS_MAX + 1} groups, this version of kraft supports"):
        opened(tmp_path / "data")
    with pytest.raises(NewerVersion, match="run the newer kraft that wrote it"):
        inspect(str(tmp_path / "data"))


def test_a_log_without_one_of_its_groups_is_damaged(tmp_path):
    form(tmp_path / "data", 3, written=2)
    with pytest.raises(DamagedLog, match="it holds the groups 0, 1, and the cluster has 3"):
        opened(tmp_path / "data")


@pytest.mark.parametrize(("groups", "created"), [(1, 1), (1, 127), (3, 2)])
def test_groups_that_are_created_later_are_kept_apart(tmp_path, groups, created):
    """The cluster id and the first division of the slots are those of the groups at the beginning."""
    form(tmp_path / "data", groups, created=created)
    database = opened(tmp_path / "data")
    loaded = database.loaded
    database.close()
    assert (loaded.identity.groups, loaded.identity.created) == (groups, created)
    assert loaded.identity.members == FOUNDERS
    assert list(loaded.groups) == list(range(groups + created))
    assert [row[0] for row in rows(tmp_path, "PRAGMA user_version")] == [4]


def test_a_program_without_created_groups_refuses_them_in_one_line(tmp_path):
    """It would divide the slots among all groups. It knows the schemas up to 3."""
    form(tmp_path / "data", 1, created=2)
    earlier = migrations.load()[:3]
    connection = apsw.Connection(str(tmp_path / "data" / "log.db"))
    with pytest.raises(NewerVersion, match="has schema 4, this version of kraft knows up to 3: run"):
        migrations.check_and_upgrade(connection, earlier)
    connection.close()


def founders(tmp_path):
    return rows(tmp_path, "SELECT members FROM node")[0][0]


def rows(tmp_path, query):
    connection = apsw.Connection(str(tmp_path / "data" / "log.db"))
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
