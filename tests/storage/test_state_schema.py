"""State files of each schema: which one is written when, and what each program makes of the other's.

Schema 2 is used from machine version 2 on. Until a cluster raises its version, an older kraft must be able to
open what a newer one wrote.
"""

from pathlib import Path

import apsw
import msgspec
import pytest

from kraft.kv.versions import MACHINE_VERSION
from kraft.storage import migrations
from kraft.storage.errors import NewerVersion
from kraft.storage.sqlite import single
from kraft.storage.state.database import SCHEMA_FOLDER, STATE_APPLICATION_ID, DamagedStateFile
from tests.storage.conftest import moved
from tests.storage.node import pieces_of
from tests.storage.states import State, base, filled, rows_of

SCHEMA_1 = Path(__file__).parent / "schema_1"


def schema(database):
    """The version and all definitions of a file."""
    return [
        single(database.connection, "PRAGMA user_version"),
        *database.connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name"),
    ]


def older_kraft_opens(path):
    """Whether a program that knows schema 1 alone accepts the file."""
    connection = apsw.Connection(str(path))
    try:
        migrations.check(connection, migrations.load(SCHEMA_FOLDER)[:1], STATE_APPLICATION_ID)
    except NewerVersion:
        return False
    finally:
        connection.close()
    return True


def change(path, sql):
    connection = apsw.Connection(str(path))
    for _ in connection.execute(sql):
        pass
    connection.close()


def upgraded(state):
    state.machine_version = 2
    return state


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_stays_at_schema_1_until_machine_version_2_is_in_force(tmp_path, file_at, shared):
    state = filled(30)
    database = file_at(tmp_path / "s.db", shared=shared)
    assert database.write(state.capture(5))
    state.put(b"more")
    assert database.write(state.capture(6))
    database.close()
    assert older_kraft_opens(tmp_path / "s.db")

    database = file_at(tmp_path / "s.db", shared=shared)
    assert database.write(upgraded(state).capture(7))  # not a single key changed
    assert database.checkpoint == state.checkpoint(7)
    assert database.checkpoint.machine_version == 2
    database.close()
    assert not older_kraft_opens(tmp_path / "s.db")

    again = file_at(tmp_path / "s.db", shared=shared)
    assert again.checkpoint == state.checkpoint(7)
    assert again.load().records == state.keyspace.records
    state.put(b"and more")
    state.remove(b"key 00001")
    assert again.write(state.capture(8))
    assert again.load().records == state.keyspace.records


def test_upgraded_equals_fresh(tmp_path, file_at):
    old, fresh, state = file_at(tmp_path / "old.db"), file_at(tmp_path / "fresh.db"), filled(30)
    assert old.write(state.capture(5))
    assert old.write(upgraded(state).capture(6))
    assert fresh.write(upgraded(filled(30)).capture(6))

    assert schema(old) == schema(fresh)
    assert schema(old)[0] == 2
    for table in ("record", "image"):
        query = f"SELECT * FROM {table}"
        assert list(old.connection.execute(query)) == list(fresh.connection.execute(query))
    assert set(old.connection.execute("SELECT kind FROM record")) == {(0,)}


def test_a_migration_that_finds_no_room_leaves_schema_1(tmp_path, file_at, faulty_vfs):
    state = filled(10)
    database = file_at(tmp_path / "s.db", vfs="faulty")
    assert database.write(state.capture(5))
    before = schema(database)
    capture = upgraded(state).capture(6)
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.write(capture)
    faulty_vfs.faults.clear()
    assert schema(database) == before
    assert database.checkpoint.base.index == 5

    assert database.write(state.again(capture))
    assert database.checkpoint == state.checkpoint(6)


def test_an_interrupted_migration_leaves_schema_1(tmp_path, file_at):
    class Enough(Exception):
        pass

    def pause():
        raise Enough

    state = filled(10)
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    before = schema(database)
    state.put(b"changed")
    with pytest.raises(Enough):
        database.write(upgraded(state).capture(6), pause)
    assert schema(database) == before
    database.close()

    assert older_kraft_opens(tmp_path / "s.db")


def test_a_reader_is_not_disturbed_by_a_migration(tmp_path, states_at, write):
    log, states = states_at(tmp_path, shared=True)
    log.commit([write(1, 9)])
    state = filled(100)
    assert states.write(0, state.capture(5), log)
    expected = state.checkpoint(5)
    view = states.open_view(0)
    state.put(b"later")
    assert states.write(0, upgraded(state).capture(6), log)

    assert view.checkpoint == expected
    assert sum(len(msgspec.msgpack.decode(piece.data)) for piece in rows_of(view)) == 100
    view.close()
    assert states.open_view(0).checkpoint == state.checkpoint(6)


@pytest.mark.parametrize(("ours", "theirs"), [(None, 1), (None, 2), (1, 1), (1, 2), (2, 2)])
def test_a_snapshot_arrives_in_the_schema_of_its_machine_version(tmp_path, states_at, write, ours, theirs):
    log, states = states_at(tmp_path)
    log.commit([write(1, 9)])
    if ours is not None:
        own = filled(5)
        own.machine_version = ours
        assert states.write(0, own.capture(5), log)
    sender = filled(20)
    sender.machine_version = theirs
    receiver = states.receive(0, sender.checkpoint(8))
    for piece in pieces_of(sender):
        assert receiver.write(piece) == ""
    number = receiver.finish().number
    assert log.commit([moved(base(8), state=number)])
    states.switch(0, number)
    assert states.checkpoint(0) == sender.checkpoint(8)
    states.close()
    log.close()
    assert older_kraft_opens(tmp_path / f"state-0-{number}.db") == (theirs == 1)

    log, states = states_at(tmp_path)
    assert states.loaded.checkpoints[0][0] == sender.checkpoint(8)
    sender.keyspace.take_changes()
    sender.put(b"later")
    assert states.write(0, upgraded(sender).capture(9), log) == sender.checkpoint(9)


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_of_a_newer_kraft_is_refused_and_kept(tmp_path, states_at, write, whole):
    """Also where the log could make it anew: there is nothing wrong with it."""
    log, states = states_at(tmp_path)
    log.commit([write(1, 9, commit=9)])
    assert states.write(0, filled(30).capture(7), log)
    if not whole:
        log.commit([moved(base(5))])
    states.close()
    log.close()
    change(tmp_path / "state-0-1.db", "PRAGMA user_version=99")

    with pytest.raises(NewerVersion) as refusal:
        states_at(tmp_path)

    assert str(refusal.value) == (
        f"{tmp_path}/state-0-1.db has schema 99, this version of kraft knows up to 3:"
        " run the newer kraft that wrote it"
    )
    assert (tmp_path / "state-0-1.db").exists()


def test_a_file_of_a_newer_machine_version_is_refused_and_kept(tmp_path, states_at, write):
    """Of a schema that this program knows, from a cluster whose version it does not support."""
    log, states = states_at(tmp_path)
    log.commit([write(1, 9, commit=9)])
    state = filled(30)
    state.machine_version = MACHINE_VERSION + 1
    assert states.write(0, state.capture(7), log)
    states.close()
    log.close()

    with pytest.raises(NewerVersion) as refusal:
        states_at(tmp_path)

    assert str(refusal.value) == (
        f"{tmp_path}/state-0-1.db is at machine version {MACHINE_VERSION + 1}, this version of kraft supports"
        f" up to {MACHINE_VERSION}: run the newer kraft that wrote it"
    )
    assert (tmp_path / "state-0-1.db").exists()


@pytest.mark.parametrize(
    "sql", ["UPDATE image SET machine_version = 3", "UPDATE record SET kind = 1 WHERE key = 'key 00003'"]
)
def test_damage_in_the_new_columns_is_noticed(tmp_path, file_at, sql):
    database = file_at(tmp_path / "s.db")
    assert database.write(upgraded(filled(30)).capture(7))
    database.close()
    change(tmp_path / "s.db", sql.replace("'key 00003'", "CAST('key 00003' AS BLOB)"))

    with pytest.raises(DamagedStateFile):
        file_at(tmp_path / "s.db").load()


@pytest.fixture
def old_directory(tmp_path):
    """A node's directory as the last kraft before schema 2 left it, made from its dump.

    Entries 1 to 9 of term 1, committed up to 7; a checkpoint of 30 keys at 7; the log cut at 5.
    """
    for name in ("log", "state-0-1"):
        change(tmp_path / f"{name}.db", (SCHEMA_1 / f"{name}.sql").read_text())
    marks = bytes.fromhex((SCHEMA_1 / "highwater.hex").read_text())
    (tmp_path / "highwater").write_bytes(marks.ljust(4096, b"\0"))
    return tmp_path


def test_the_directory_of_an_older_kraft_is_opened_and_stays_so(old_directory, states_at, write):
    log, states = states_at(old_directory)
    assert states.loaded.identity.id == "K1"
    restored = states.loaded.groups[0]
    assert (restored.first_index, restored.last_index, restored.commit) == (6, 9, 7)
    assert states.loaded.starts == 2
    checkpoint, keyspace = states.loaded.checkpoints[0]
    assert checkpoint == filled(30).checkpoint(7)
    assert keyspace.records == filled(30).keyspace.records
    state = State()
    state.revision, state.keyspace = 30, keyspace
    state.put(b"key 00003", b"changed")
    assert states.write(0, state.capture(8), log) == state.checkpoint(8)
    assert log.commit([write(10, 12)])
    states.close()
    log.close()

    assert older_kraft_opens(old_directory / "state-0-1.db")
    log, states = states_at(old_directory)
    assert states.loaded.groups[0].last_index == 12
    assert states.write(0, upgraded(state).capture(9), log) == state.checkpoint(9)
    states.close()
    assert not older_kraft_opens(old_directory / "state-0-1.db")
