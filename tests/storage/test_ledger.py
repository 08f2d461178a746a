"""The table `ledger` of a state file: written, loaded, sent and verified like the keys."""

import apsw
import msgspec
import pytest

from kraft.kv.ledger import LedgerKind
from kraft.storage.state.database import DamagedStateFile
from tests.storage.states import State, filled, rows_of


@pytest.fixture
def state():
    state = filled(30)
    state.machine_version = 3
    for number in range(20):
        state.note(b"token %02d" % number, b"reply", 5000 + number)
    return state


def rows(keyspace):
    return keyspace.ledger.rows


def test_the_ledger_is_written_and_loaded(tmp_path, file_at, state):
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    assert database.checkpoint == state.checkpoint(5)
    state.note(b"token 03", b"another reply")
    state.note(b"later")
    state.keyspace.ledger.remove(LedgerKind.TOKEN, b"token 07")
    state.put(b"key", b"v")
    assert database.write(state.capture(6))
    assert database.checkpoint == state.checkpoint(6)
    database.close()

    database = file_at(tmp_path / "s.db")
    loaded = database.load()
    assert (loaded.records, rows(loaded)) == (state.keyspace.records, rows(state.keyspace))
    assert loaded.bytes == state.keyspace.bytes
    assert loaded.ledger.sizes == state.keyspace.ledger.sizes
    assert loaded.ledger.forget(5002, 9) == 3


def test_a_flush_leaves_the_ledger(tmp_path, file_at, state):
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    state.clear()
    state.put(b"after")
    state.note(b"after")
    assert database.write(state.capture(6))
    assert database.checkpoint == state.checkpoint(6)
    loaded = database.load()
    assert list(loaded.records) == [b"after"]
    assert rows(loaded) == rows(state.keyspace)


def test_a_flush_at_machine_version_2_needs_no_ledger(tmp_path, file_at):
    state = filled(5)
    state.machine_version = 2
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    state.clear()
    assert database.write(state.capture(6))
    assert database.checkpoint == state.checkpoint(6)


def test_a_file_of_schema_2_gets_the_table(tmp_path, file_at):
    state = filled(5)
    state.machine_version = 2
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    with pytest.raises(apsw.SQLError, match="no such table"):
        list(database.connection.execute("SELECT * FROM ledger"))
    state.machine_version = 3
    state.note(b"token")
    assert database.write(state.capture(6))
    assert rows(database.load()) == rows(state.keyspace)


@pytest.mark.parametrize(
    "sql", ["DELETE FROM ledger WHERE revision = 40", "UPDATE ledger SET expires = expires + 1"]
)
def test_damage_is_noticed(tmp_path, file_at, state, sql):
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    database.connection.execute(sql)
    with pytest.raises(DamagedStateFile):
        database.load()


@pytest.mark.parametrize("shared", [False, True])
def test_a_snapshot_brings_the_ledger(tmp_path, states_at, write, state, shared):
    state.put(b"\x01token 05", b"a key that is equal to one of the ledger")
    log, states = states_at(tmp_path, shared=shared)
    log.commit([write(1, 9)])
    assert states.write(0, state.capture(5), log)
    view = states.open_view(0)
    pieces = rows_of(view, max_bytes=100)
    view.close()
    sent = [row for piece in pieces for row in msgspec.msgpack.decode(piece.data)]
    assert len(sent) == 31 + 20
    assert [tuple(row[:1]) for row in sent] == sorted(tuple(row[:1]) for row in sent)

    receiver = states.receive(0, state.checkpoint(5))
    for piece in pieces:
        assert receiver.write(piece.data) == ""
    received = receiver.finish()
    assert received.keyspace.records == state.keyspace.records
    assert rows(received.keyspace) == rows(state.keyspace)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ((b"k", b"v", 1, 0, 1), "a row of the ledger at machine version 2"),
        ((b"k", b"v", 1, 0, 2), "not rows"),
        ((b"k", b"v", 1, 0, -1), "not rows"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path, states_at, write, row, wrong):
    log, states = states_at(tmp_path)
    log.commit([write(1, 9)])
    state = State()
    state.machine_version = 2
    state.put(b"k", b"v")
    receiver = states.receive(0, state.checkpoint(5))
    assert receiver.write(msgspec.msgpack.encode([row])).startswith(wrong)


def test_the_order_is_checked(tmp_path, states_at, write, state):
    log, states = states_at(tmp_path)
    log.commit([write(1, 9)])
    receiver = states.receive(0, state.checkpoint(5))
    both = [(b"k", b"v", 1, 0), (b"k", b"v", 1, 0, 1)]
    assert receiver.write(msgspec.msgpack.encode(both[::-1])) == "rows out of order"
    assert receiver.write(msgspec.msgpack.encode(both)) == ""
    assert receiver.write(msgspec.msgpack.encode(both[1:])) == "rows out of order"
