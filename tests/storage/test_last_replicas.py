"""Replicas that are destroyed, and the numbers that stay: log.db, its high-water file, the state files."""

import apsw
import msgspec
import pytest

from kraft.host.membership.formation import cluster_id
from kraft.node.values import Identity, LastReplica, Transaction
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import NEVER, UNNUMBERED, ReplicaNumber, any_replica, numbered
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage import migrations
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import DamagedLog, NewerVersion
from kraft.storage.offline.inspection import inspect
from kraft.storage.offline.recovery import open_recovery
from kraft.storage.offline.survivor import RecoveryRefused
from tests.storage.conftest import INCARNATION
from tests.storage.states import filled, open_states

FOUNDERS = (Member("K1", INCARNATION, "127.0.0.1:10001"),)
IDENTITY = Identity("K1", INCARNATION, "c" * 32, FOUNDERS, groups=3)
FIRST = Entry(1, 1, 0, EntryKind.CONFIGURATION, Configuration.of_voters(FOUNDERS).encode())
NUMBER = ReplicaNumber(4, 20)
GONE, BEGUN = LastReplica(UNNUMBERED, held=False), LastReplica(NUMBER, held=True)


def log(*terms, term=None, vote="K1"):
    """A write of entries after the first one, in these terms, and of a vote."""
    entries = tuple(Entry(i, each, 0, EntryKind.NOOP, b"") for i, each in enumerate(terms, 2))
    return Persist(0, HardState(term or max(terms), vote), None, entries, commit=1)


@pytest.fixture
def formed(tmp_path, database_at):
    """A directory with three groups; group 1 has voted in term 5."""
    database = database_at(tmp_path)
    first = Persist(0, HardState(1), None, (FIRST,), commit=1)
    assert database.commit([Transaction(tuple((group, first) for group in range(3)), IDENTITY)])
    assert database.commit([Transaction(((1, log(3, 5)), (2, log(2))))])
    return database


def reopened(database, database_at, tmp_path):
    database.close()
    return database_at(tmp_path)


def replaced(database, last):
    assert database.commit([Transaction(replicas=((1, last),))])


def test_nothing_is_left_of_a_replica_but_its_number(formed, tmp_path, database_at):
    replaced(formed, GONE)
    assert formed.fetch(1, 1, 9, 1 << 20) == ()
    loaded = reopened(formed, database_at, tmp_path).loaded
    assert list(loaded.groups) == [0, 2]
    assert dict(loaded.replicas) == {1: GONE}
    assert loaded.groups[2].last_index == 2


def test_a_replica_begins_empty_in_its_place(formed, tmp_path, database_at):
    replaced(formed, GONE)
    replaced(formed, BEGUN)
    loaded = reopened(formed, database_at, tmp_path).loaded
    assert (loaded.groups[1].last_index, loaded.groups[1].hard_state) == (0, HardState())
    assert dict(loaded.replicas) == {1: BEGUN}


def test_it_has_a_log_and_a_term_of_its_own(formed, tmp_path, database_at):
    replaced(formed, GONE)
    replaced(formed, BEGUN)
    first = Persist(0, HardState(2, "K2"), None, (FIRST, Entry(2, 2, 0, EntryKind.NOOP, b"")), commit=1)
    assert formed.commit([Transaction(((1, first),))])
    restored = reopened(formed, database_at, tmp_path).loaded.groups[1]
    assert (restored.last_index, restored.hard_state) == (2, HardState(2, "K2"))


def test_one_that_was_told_nothing_begins_again(database_at, tmp_path):
    """The node had dropped it from memory, as no group knew of it."""
    database = database_at(tmp_path)
    untold = LastReplica(UNNUMBERED, held=True)
    first = Persist(0, HardState(2, "K2"), None, (FIRST,), commit=1)
    never = LastReplica(NEVER, held=False)
    assert database.commit([Transaction(((0, first), (2, first)), IDENTITY, ((1, never),))])
    replaced(database, untold)
    database = reopened(database, database_at, tmp_path)
    replaced(database, untold)
    assert database.commit([Transaction(((1, first),))])
    loaded = reopened(database, database_at, tmp_path).loaded
    assert (loaded.groups[1].last_index, loaded.groups[1].hard_state) == (1, HardState(2, "K2"))
    assert dict(loaded.replicas) == {1: untold}


def test_writes_and_the_end_may_share_a_commit(formed, tmp_path, database_at):
    """The writer thread joins what waits, in its order."""
    vote = Persist(0, HardState(6, "K1"), None, (), commit=1)
    assert formed.commit([Transaction(((1, vote),)), Transaction(replicas=((1, GONE),))])
    assert list(reopened(formed, database_at, tmp_path).loaded.groups) == [0, 2]


def test_nothing_is_written_before_the_first_replica_has_left(formed, tmp_path):
    formed.close()
    assert schema(tmp_path) == migrations.SEVERAL_GROUPS


def test_an_earlier_program_refuses_the_directory_after_that(formed, tmp_path):
    replaced(formed, GONE)
    formed.close()
    assert schema(tmp_path) == migrations.LEFT_GROUPS
    connection = apsw.Connection(str(tmp_path / "log.db"))
    earlier = migrations.load()[: migrations.CREATED_GROUPS]
    with pytest.raises(NewerVersion, match="has schema 5"):
        migrations.check(connection, earlier)
    connection.close()


def schema(tmp_path):
    connection = apsw.Connection(str(tmp_path / "log.db"))
    [(version,)] = connection.execute("PRAGMA user_version")
    connection.close()
    return version


def test_a_log_that_lost_its_end_is_noticed_in_the_new_replica(formed, tmp_path, database_at):
    replaced(formed, GONE)
    replaced(formed, BEGUN)
    first = Persist(0, HardState(7, "K1"), None, (FIRST,), commit=1)
    assert formed.commit([Transaction(((1, first),))])
    formed.close()
    connection = apsw.Connection(str(tmp_path / "log.db"))
    connection.execute("DELETE FROM entry WHERE position >> 48 = 1")
    connection.close()
    with pytest.raises(DamagedLog, match="group 1"):
        database_at(tmp_path)


def taken_back(formed, tmp_path, later):
    """Let the database be as it is now after `later`, as if the end of its WAL were lost; the mark stays."""
    formed.checkpoint_wal()
    content = (tmp_path / "log.db").read_bytes()
    later()
    formed.abandon()
    (tmp_path / "log.db-wal").unlink()
    (tmp_path / "log.db").write_bytes(content)


@pytest.mark.parametrize("before", [(), (GONE,)], ids=["the earlier one is there", "none is there"])
def test_a_replica_that_was_begun_and_is_lost_is_noticed(formed, tmp_path, database_at, before):
    """It may have voted, and acknowledged entries. What begins in its place would be empty."""
    for last in before:
        replaced(formed, last)

    def later():
        for last in (GONE, BEGUN)[len(before) :]:
            replaced(formed, last)

    taken_back(formed, tmp_path, later)
    with pytest.raises(DamagedLog, match=r"group 1: replica 4\.20 was begun"):
        inspect(str(tmp_path))
    with pytest.raises(DamagedLog, match=r"group 1: replica 4\.20 was begun"):
        database_at(tmp_path)


def test_a_replica_that_was_destroyed_meanwhile_is_noticed_too(formed, tmp_path, database_at):
    """Its number may not be used again."""
    replaced(formed, GONE)

    def later():
        replaced(formed, BEGUN)
        replaced(formed, LastReplica(NUMBER, held=False))

    taken_back(formed, tmp_path, later)
    with pytest.raises(DamagedLog, match=r"group 1: replica 4\.20 was begun"):
        database_at(tmp_path)


def test_the_mark_of_an_earlier_replica_says_nothing_about_a_later_one(formed, tmp_path, database_at):
    """A mark is evidence of its own replica alone."""
    old = (tmp_path / "highwater").read_bytes()
    replaced(formed, GONE)
    replaced(formed, BEGUN)
    formed.close()
    (tmp_path / "highwater").write_bytes(old)
    assert database_at(tmp_path).loaded.groups[1].last_index == 0


def test_a_damaged_row_is_noticed(formed, tmp_path, database_at):
    replaced(formed, GONE)
    formed.close()
    connection = apsw.Connection(str(tmp_path / "log.db"))
    connection.execute("UPDATE last_replica SET held = 1")
    connection.close()
    with pytest.raises(DamagedLog, match="group 1: the row of its last replica is damaged"):
        database_at(tmp_path)


def test_the_state_file_goes_too(formed, tmp_path):
    states = open_states(RealDirectory(str(tmp_path)), formed)
    states.write(1, filled(3).capture(2), formed)
    assert list(tmp_path.glob("state-1-*.db"))
    replaced(formed, GONE)
    states.forget(1)
    assert not list(tmp_path.glob("state-1-*"))
    assert states.open_view(1) is None
    states.close()


def test_a_start_removes_a_state_file_that_was_left_behind(formed, tmp_path, database_at):
    states = open_states(RealDirectory(str(tmp_path)), formed)
    states.write(1, filled(3).capture(2), formed)
    states.close()
    replaced(formed, GONE)
    database = reopened(formed, database_at, tmp_path)
    open_states(RealDirectory(str(tmp_path)), database).close()
    assert not list(tmp_path.glob("state-1-*"))


def test_a_checkpoint_that_is_late_is_not_taken_for_one_of_the_next_replica(formed, tmp_path):
    """Its first file is complete when its replica has been destroyed."""
    replaced(formed, GONE)
    assert not formed.name_first_state(1, 1)
    replaced(formed, BEGUN)
    assert formed.name_first_state(1, 2)


def test_an_inspection_tells_of_the_other_groups(formed, tmp_path):
    replaced(formed, GONE)
    formed.close()
    found = inspect(str(tmp_path))
    assert found is not None
    assert found.last == {0: 1, 2: 2}


def test_a_node_without_a_group_is_not_recovered(formed, tmp_path):
    replaced(formed, GONE)
    formed.close()
    with pytest.raises(RecoveryRefused, match="there is no replica of group 1 here"):
        open_recovery(str(tmp_path))


def test_a_replica_with_a_number_is_recovered_as_such(formed, tmp_path, database_at):
    """Without the number it would be one that has left, and the node would not know its own replica."""
    replaced(formed, BEGUN)
    mine = Member("K1", numbered(INCARNATION, NUMBER), "127.0.0.1:10001")
    other = Member("K2", "2" * 32, "127.0.0.1:10002")
    voters = msgspec.structs.replace(
        Configuration.of_voters((mine, other)), retired=(any_replica(INCARNATION),)
    )
    entry = Entry(1, 4, 0, EntryKind.CONFIGURATION, voters.encode())
    assert formed.commit([Transaction(((1, Persist(0, HardState(4), None, (entry,), commit=1)),))])
    formed.close()
    with open_recovery(str(tmp_path)) as recovery:
        assert recovery.findings.majorities == (("K1",), ("K1", "K2"))
        recovery.carry_out(cluster_id, "e" * 32)
    loaded = database_at(tmp_path).loaded
    last = [restored.configurations[-1][1] for _, restored in sorted(loaded.groups.items())]
    assert [[member.incarnation for member in each.members] for each in last] == [
        [INCARNATION],
        [mine.incarnation],
        [INCARNATION],
    ]
    assert last[1].fault() is None
    assert other.incarnation in last[1].retired
    assert loaded.replicas[1] == BEGUN
