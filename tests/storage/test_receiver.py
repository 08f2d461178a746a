"""Snapshots that arrive: what a peer may send, what is done with it, and what a full disk leaves."""

import apsw
import msgspec
import pytest

from tests.storage.conftest import moved
from tests.storage.node import pieces_of
from tests.storage.states import State, base, filled


class Arriving:
    """A snapshot of `filled(20)` at index 8 on its way into a directory."""

    def __init__(self, log, states):
        self.log, self.states = log, states
        self.state = filled(20)
        self.checkpoint = self.state.checkpoint(8)
        self.pieces = pieces_of(self.state)
        self.receiver = states.receive(0, self.checkpoint)


@pytest.fixture
def arriving(tmp_path, states_at, write):
    log, states = states_at(tmp_path, vfs="")
    log.commit([write(1, 9)])
    return Arriving(log, states)


def test_a_snapshot_arrives_in_pieces_and_is_switched_in(arriving, tmp_path, states_at):
    for piece in arriving.pieces:
        assert arriving.receiver.write(piece) == ""
        assert arriving.receiver.write(piece) == "rows out of order"
    received = arriving.receiver.finish()
    assert (received.number, received.checkpoint) == (1, arriving.checkpoint)
    assert received.keyspace.records == arriving.state.keyspace.records
    assert arriving.log.commit([moved(base(8), state=1)])
    arriving.states.switch(0, 1)
    arriving.states.discard(0, arriving.receiver)  # too late: it is in use
    assert arriving.states.checkpoint(0) == arriving.checkpoint
    arriving.states.close()
    arriving.log.close()

    assert states_at(tmp_path)[1].loaded.checkpoints[0][0] == arriving.checkpoint


def _row(key, value=b"value", revision=1, expires=0):
    return (key, value, revision, expires)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([_row(b"b"), _row(b"a")], "rows out of order"),
        ([_row(b"b"), _row(b"b")], "rows out of order"),
        ([_row(b"b", revision=21)], "a revision above 20"),
        ([_row(b"b", revision=-1)], "not rows"),
        ([_row(b"b", expires=1 << 63)], "not rows"),
        ([_row("text")], "not rows"),
        ([(b"b", b"value", 1)], "not rows"),
        ([_row(b"%03d" % number, b"") for number in range(21)], "more rows than were promised"),
        ([_row(b"b", b"x" * 281)], "more rows than were promised"),
        ({"b": 1}, "not rows"),
    ],
)
def test_what_a_peer_may_not_send_is_refused_and_nothing_of_it_kept(arriving, rows, wrong):
    assert arriving.receiver.write(msgspec.msgpack.encode(rows)).startswith(wrong)
    assert arriving.receiver.write(b"\xff\xff").startswith("not rows")
    for piece in arriving.pieces:
        assert arriving.receiver.write(piece) == ""

    assert arriving.receiver.finish().checkpoint == arriving.checkpoint


def test_a_snapshot_that_is_not_what_was_promised_is_refused(arriving):
    for piece in arriving.pieces[:-1]:
        arriving.receiver.write(piece)
    assert arriving.receiver.finish() == "the rows are not those that were promised"
    last = msgspec.msgpack.decode(arriving.pieces[-1])
    last[-1][1] = b"eulav"
    assert arriving.receiver.write(msgspec.msgpack.encode(last)) == ""
    assert arriving.receiver.finish() == "the rows are not those that were promised"

    arriving.states.discard(0, arriving.receiver)

    assert arriving.states.sizes()["snapshot"] == 0
    assert arriving.receiver.write(arriving.pieces[0]) == "the file was given up"
    assert arriving.receiver.finish() == "the file was given up"


def test_a_second_snapshot_takes_the_place_of_the_first(arriving, tmp_path):
    arriving.receiver.write(arriving.pieces[0])
    assert arriving.states.sizes()["snapshot"] > 0
    second = arriving.states.receive(0, arriving.checkpoint)

    assert arriving.receiver.write(arriving.pieces[1]) == "the file was given up"
    assert not (tmp_path / "state-0-1.db").exists()
    for piece in arriving.pieces:
        assert second.write(piece) == ""
    assert second.finish().number == 2


def test_a_finished_snapshot_waits_for_its_commit(arriving, tmp_path, states_at):
    """The commit that switches to it may be on its way when the next one comes, or the node stops."""
    for piece in arriving.pieces:
        arriving.receiver.write(piece)
    arriving.receiver.finish()
    assert arriving.states.receive(0, arriving.checkpoint).number == 2
    arriving.states.close()
    assert arriving.log.commit([moved(base(8), state=1)])
    arriving.log.close()

    assert states_at(tmp_path)[1].loaded.checkpoints[0][0] == arriving.checkpoint
    assert not (tmp_path / "state-0-2.db").exists()


def test_an_empty_snapshot(arriving, states_at):
    empty = State()
    receiver = arriving.states.receive(0, empty.checkpoint(8))

    assert len(receiver.finish().keyspace) == 0


@pytest.mark.parametrize("phase", ["begin", "write", "finish"])
def test_a_full_disk_while_a_snapshot_arrives(tmp_path, states_at, write, faulty_vfs, phase):
    """It is reported, and the same can be tried again."""
    log, states = states_at(tmp_path, vfs="faulty")
    log.commit([write(1, 9)])
    state = filled(20)
    if phase == "begin":
        faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
        assert states.receive(0, state.checkpoint(8)) is None
        faulty_vfs.faults.clear()
    receiver = states.receive(0, state.checkpoint(8))
    for piece in pieces_of(state):
        if phase == "write":
            faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
            assert receiver.write(piece) == "the disk is full"
            faulty_vfs.faults.clear()
        assert receiver.write(piece) == ""
    if phase == "finish":
        for kind in ("wal", "db"):
            faulty_vfs.faults[kind, "write"] = apsw.SQLITE_FULL
            assert receiver.finish() == "the disk is full"
            faulty_vfs.faults.clear()

    assert receiver.finish().keyspace.records == state.keyspace.records


def test_a_file_that_reads_back_otherwise_is_refused(arriving, tmp_path, monkeypatch):
    for piece in arriving.pieces:
        arriving.receiver.write(piece)
    monkeypatch.setattr("kraft.storage.state.database.header.write", lambda *_: None)
    database = arriving.receiver._database
    database.connection.execute("UPDATE record SET value = x'00' WHERE revision = 5")

    assert arriving.receiver.finish().startswith("what was written does not read back")
    assert not (tmp_path / "state-0-1.db").exists()
