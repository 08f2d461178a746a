"""State files: what a checkpoint writes, what a start accepts, what a full disk leaves."""

from itertools import pairwise

import apsw
import msgspec
import pytest

from kraft.storage.directory import RealDirectory
from kraft.storage.errors import DamagedState, OutOfOrder
from kraft.storage.state import database
from kraft.storage.state.database import PIECE_BYTES, PIECE_KEYS, RUN_KEYS
from tests.storage.conftest import SETTINGS
from tests.storage.states import State, filled, rows_of


@pytest.mark.parametrize("shared", [False, True])
def test_a_checkpoint_writes_what_changed_and_a_start_reads_it_all(tmp_path, file_at, shared):
    state = filled(300)
    database = file_at(tmp_path / "s.db", shared=shared)
    assert database.checkpoint is None
    assert database.write(state.capture(5))
    assert database.checkpoint == state.checkpoint(5)
    for number in range(0, 300, 7):
        state.remove(b"key %05d" % number)
    state.put(b"key 00001", b"longer than before", 77)
    state.put(b"new", b"", 0)
    state.remove(b"key 00002")
    state.put(b"key 00002", b"back again")
    assert database.write(state.capture(9))
    assert database.checkpoint == state.checkpoint(9)
    database.close()

    again = file_at(tmp_path / "s.db", shared=shared)

    assert again.checkpoint == state.checkpoint(9)
    assert again.load().records == state.keyspace.records


def test_a_load_reports_how_far_it_has_come(tmp_path, file_at, monkeypatch):
    """And what the report raises, such as an interrupt, is not taken for damage."""
    monkeypatch.setattr(database, "REPORT_STEPS", 200)
    state, told = filled(300), []
    file = file_at(tmp_path / "s.db")
    file.write(state.capture(5))

    assert file.load(lambda keys, of: told.append((keys, of))).records == state.keyspace.records
    assert len(told) > 3
    assert told == sorted(told)
    assert {of for _, of in told} == {300}
    assert told[-1][0] <= 300

    def interrupt(_keys, _of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.load(interrupt)
    assert file.load().records == state.keyspace.records


def test_a_checkpoint_without_changes_moves_the_index(tmp_path, file_at):
    state = filled(3)
    database = file_at(tmp_path / "s.db")
    assert database.write(state.capture(5))
    assert database.write(state.capture(6))

    assert database.checkpoint == state.checkpoint(6)


def test_removed_keys_that_never_were_in_the_file(tmp_path, file_at):
    state = filled(3)
    state.put(b"short", b"life")
    state.remove(b"short")
    database = file_at(tmp_path / "s.db")

    assert database.write(state.capture(5))
    assert database.checkpoint == state.checkpoint(5)


def test_a_checkpoint_that_goes_back_is_refused(tmp_path, file_at):
    database = file_at(tmp_path / "s.db")
    database.write(filled(3).capture(5))

    with pytest.raises(OutOfOrder, match="a checkpoint at 4 was to follow 5"):
        database.write(State().capture(4))


def test_work_is_done_in_pieces_of_bounded_size(tmp_path, file_at):
    """Other threads run between them; a large value is a piece by itself."""
    pauses = []
    database = file_at(tmp_path / "s.db")
    assert database.write(filled(1000).capture(5), lambda: pauses.append(1))
    assert len(pauses) == -(-1000 // RUN_KEYS) + -(-1000 // PIECE_KEYS)

    pauses.clear()
    state = State()
    for number in range(4):
        state.put(b"large %d" % number, b"x" * PIECE_BYTES)
    assert database.write(state.capture(6), lambda: pauses.append(1))
    assert len(pauses) == 1 + 4


def test_what_pausing_raises_rolls_the_work_back(tmp_path, file_at):
    class Enough(Exception):
        pass

    def pause():
        raise Enough

    first = filled(10)
    database = file_at(tmp_path / "s.db")
    database.write(first.capture(5))
    before = database.checkpoint
    with pytest.raises(Enough):
        database.write(filled(2000).capture(9), pause)

    assert database.checkpoint == before
    assert database.load().records == first.keyspace.records
    assert database.write(State().capture(6))


def test_records_are_let_go_of_as_they_are_written(tmp_path, file_at):
    """Otherwise a record overwritten during a long checkpoint would be in memory twice until its end."""
    capture = filled(1000).capture(5)
    kept = []

    def count():
        kept.append(1000 - list(capture.changes.values()).count(None))

    assert file_at(tmp_path / "s.db").write(capture, count)

    assert kept[-1] == 0
    assert max(before - after for before, after in pairwise(kept)) <= PIECE_KEYS
    assert len(capture.changes) == 1000


@pytest.mark.parametrize("kind", ["wal", "db"])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, file_at, faulty_vfs, kind):
    """In the transaction, or when the WAL is copied after it: then the checkpoint is kept."""
    first = filled(10)
    database = file_at(tmp_path / "s.db", vfs="faulty")
    database.write(first.capture(5))
    database.checkpoint_wal()
    state = filled(20)
    capture = state.capture(9)
    faulty_vfs.faults[kind, "write"] = apsw.SQLITE_FULL
    assert database.write(capture) == (kind == "db")
    assert database.checkpoint_wal() == (kind == "wal")
    if kind == "wal":
        assert database.load().records == first.keyspace.records
    faulty_vfs.faults.clear()
    assert database.write(state.again(capture))
    assert database.checkpoint_wal()
    assert database.wal_bytes == 0
    database.close()

    assert file_at(tmp_path / "s.db").load().records == state.keyspace.records


def test_a_disk_that_fills_while_pages_are_spilled(tmp_path, file_at, faulty_vfs):
    """SQLite has rolled back by itself in this case."""
    database = file_at(tmp_path / "s.db", vfs="faulty")
    database.connection.execute("PRAGMA cache_size=10")
    database.write(filled(10).capture(5))
    before = database.checkpoint
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.write(filled(3000, value=b"x" * 100).capture(9))
    faulty_vfs.faults.clear()

    assert database.checkpoint == before
    assert len(database.load()) == 10


def test_space_of_removed_keys_is_given_back(tmp_path, states_at, write):
    log, states = states_at(tmp_path, shared=True)
    log.commit([write(1, 9)])
    state = filled(2000, value=b"x" * 20_000)
    assert states.write(0, state.capture(5), log)
    while states.tidy():
        pass
    before = states.sizes()
    for number in range(2000):
        state.remove(b"key %05d" % number)
    assert states.write(0, state.capture(6), log)
    assert states.sizes()["state_free"] > 30 << 20
    steps = 1
    while states.tidy():
        steps += 1

    after = states.sizes()
    assert before["state"] > 40 << 20
    assert after["state"] < SETTINGS.free_bytes + (2 << 20)
    assert after["state_free"] <= SETTINGS.free_bytes
    assert steps > 50


def test_a_flush_replaces_all_rows(tmp_path, states_at, file_at, write):
    """Without a change per key; what was written after the flush stays, and the space is given back."""
    log, states = states_at(tmp_path, shared=True)
    log.commit([write(1, 9)])
    state = filled(2000, value=b"x" * 20_000)
    assert states.write(0, state.capture(5), log)
    state.put(b"before the flush")
    state.clear()
    state.put(b"key 00001", b"after", expires=5)
    capture = state.capture(6)
    assert list(capture.changes) == [b"key 00001"]
    assert states.write(0, capture, log) == state.checkpoint(6)
    while states.tidy():
        pass
    assert states.sizes()["state"] < SETTINGS.free_bytes + (2 << 20)
    states.close()

    assert file_at(tmp_path / "state-0-1.db").load().records == state.keyspace.records


def test_a_flush_that_the_disk_did_not_take_is_in_the_next_checkpoint(tmp_path, file_at, faulty_vfs):
    """Also with a second flush in between."""
    state = filled(10)
    database = file_at(tmp_path / "s.db", vfs="faulty")
    database.write(state.capture(5))
    database.checkpoint_wal()
    for number, second in enumerate([False, True], 9):
        state.put(b"before")
        state.clear()
        state.put(b"between", b"%d" % number)
        capture = state.capture(number)
        faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
        assert not database.write(capture)
        if second:
            state.clear()
        state.put(b"after")
        faulty_vfs.faults.clear()
        assert database.write(state.again(capture))
        assert database.checkpoint == state.checkpoint(number)
        assert database.load().records == state.keyspace.records


def test_a_pinned_reader_keeps_the_wal_and_nothing_fails(tmp_path, states_at, write):
    log, states = states_at(tmp_path, shared=True)
    log.commit([write(1, 9)])
    state = filled(500)
    assert states.write(0, state.capture(5), log)
    view = states.open_view(0)
    expected = state.checkpoint(5)
    for index in (6, 7, 8):
        state.put(b"key 00001", b"%d" % index * 100)
        assert states.write(0, state.capture(index), log)
        states.tidy()
    database = states._databases[0]
    assert database.wal_bytes > 0

    assert view.checkpoint == expected
    assert sum(len(msgspec.msgpack.decode(piece.data)) for piece in rows_of(view)) == 500
    view.close()
    states.tidy()

    assert database.wal_bytes == 0
    assert states.open_view(0).checkpoint == state.checkpoint(8)


def test_a_start_takes_up_the_last_checkpoint(written, states_at):
    log, states = states_at(written)
    checkpoint, keyspace = states.loaded.checkpoints[0]

    assert checkpoint == filled(30).checkpoint(7)
    assert keyspace.records == filled(30).keyspace.records
    assert keyspace.changed == 0
    assert states.loaded.groups[0].commit == 7  # no row says so: the checkpoint does
    assert log.loaded.groups[0].commit == 5
    assert (states.number(0), states.checkpoint(0)) == (1, checkpoint)


def test_orphans_are_removed_at_a_start(written, states_at):
    orphans = ["state-0-2.db", "state-0-2.db-wal", "state-0-3.db-shm", "state-5-1.db", "state-0-0.db"]
    for name in (*orphans, "state-0-1.dbx", "notes.txt"):
        (written / name).write_bytes(b"left")
    _, states = states_at(written)

    names = RealDirectory(str(written)).names()
    assert not set(orphans) & set(names)
    assert {"notes.txt", "state-0-1.dbx", "state-0-1.db"} <= set(names)
    assert states.number(0) == 1


class FullLog:
    def name_first_state(self, group, number):
        return False


def test_the_first_checkpoint_without_room_leaves_nothing(tmp_path, states_at, write, faulty_vfs):
    log, states = states_at(tmp_path, vfs="faulty")
    log.commit([write(1, 9)])
    state = filled(10)
    capture = state.capture(5)
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert states.write(0, capture, log) is None
    faulty_vfs.faults.clear()
    capture = state.again(capture)
    assert states.write(0, capture, FullLog()) is None  # there is room for it, but none in the log
    assert not [name for name in RealDirectory(str(tmp_path)).names() if name.startswith("state")]

    assert states.write(0, state.again(capture), log) == state.checkpoint(5)


def test_a_state_file_can_be_read_by_people(written):
    reader = apsw.Connection(str(written / "state-0-1.db"))
    rows = reader.execute("SELECT * FROM state WHERE key < 'key 00002'").fetchall()
    image = reader.execute("SELECT base_index, keys, revision FROM image").fetchall()
    reader.close()

    assert rows == [("key 00000", "value", 1, "2001-09-09 01:46:40.000"), ("key 00001", "value", 2, None)]
    assert image == [(7, 30, 30)]


def test_a_view_is_read_on_from_any_key(written, states_at):
    _, states = states_at(written, shared=True)
    view = states.open_view(0)
    first = view.read(None, 1)
    assert (first.last, first.end) == (b"key 00000", False)
    assert msgspec.msgpack.decode(first.data) == [[b"key 00000", b"value", 1, 10**12]]

    again = view.read(b"key 00010", 100)
    rest = view.read(again.last, 1 << 20)
    nothing = view.read(b"key 00029", 100)

    keys = [row[0] for row in msgspec.msgpack.decode(again.data)]
    assert keys == [b"key 00011", b"key 00012", b"key 00013"]
    assert (again.end, rest.end, rest.last) == (False, True, b"key 00029")
    assert (nothing.data, nothing.last, nothing.end) == (b"\x90", b"key 00029", True)


def test_a_switch_to_a_file_without_a_checkpoint_is_the_end(tmp_path, states_at, write):
    log, states = states_at(tmp_path)
    log.commit([write(1, 3)])
    with pytest.raises(DamagedState, match=r"state-0-4\.db: it holds no checkpoint"):
        states.switch(0, 4)
