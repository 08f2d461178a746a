"""Checkpoints and snapshots on their threads, beside commits: order, sharing, and every way to end."""

import threading

import apsw
import msgspec

from kraft.host import ports
from kraft.kv.checkpoint import Checkpoint
from kraft.storage.ports import StorageSettings
from kraft.storage.store import Store
from tests.storage.conftest import moved
from tests.storage.node import pieces_of
from tests.storage.states import base, filled


def as_disk(store: Store) -> ports.Disk:
    """For the type checker: a store is what the host asks for, checkpoints included."""
    return store


class Held:
    """Holds the checkpoint thread inside a pause until `go_on` is set."""

    def __init__(self, store):
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._pause = store._checkpoints._pause
        store._checkpoints._pause = self

    def __call__(self):
        self.reached.set()
        assert self.go_on.wait(30)
        self._pause()


def transfer(ask, reader, writer, max_bytes=500):
    """Send a view to a file; how many pieces it took."""
    after, pieces = None, 0
    while True:
        rows = ask(reader.read, after, max_bytes)
        assert ask(writer.write, rows.data) == ""
        after, pieces = rows.last, pieces + 1
        if rows.end:
            return pieces


def test_a_checkpoint_is_there_after_a_restart(tmp_path, open_at, store, ask, witness, reactor):
    state = filled(300)
    checkpoint = ask(store.checkpoint, 0, state.capture(15))
    assert checkpoint == state.checkpoint(15)
    state.put(b"key 00001", b"new")
    assert ask(store.checkpoint, 0, state.capture(18)) == state.checkpoint(18)
    reactor.run_until(lambda: len(witness.checkpoints) == 2)
    assert witness.checkpoints == [(0, 300, 15, checkpoint.size), (0, 1, 18, state.checkpoint(18).size)]
    assert ask(store.commit, moved(base(15)))
    store.close()

    loaded = open_at(tmp_path).loaded

    assert loaded.checkpoints[0][0] == state.checkpoint(18)
    assert loaded.checkpoints[0][1].records == state.keyspace.records
    assert (loaded.groups[0].base.index, loaded.groups[0].commit, loaded.starts) == (15, 20, 2)
    assert witness.loads == [0]


def test_nothing_to_open_before_the_first_checkpoint(store, ask):
    assert ask(store.open_snapshot, 0) is None
    assert ask(store.open_snapshot, 7) is None


def test_receivers_of_one_checkpoint_share_a_view(store, ask, reactor):
    """Each reads at its own pace; a later checkpoint neither changes the view nor waits for it."""
    state = filled(100)
    first_checkpoint = ask(store.checkpoint, 0, state.capture(15))
    first, second = ask(store.open_snapshot, 0), ask(store.open_snapshot, 0)
    assert first._shared is second._shared
    state.put(b"key 00050", b"changed")
    assert ask(store.checkpoint, 0, state.capture(18))
    third = ask(store.open_snapshot, 0)
    assert third._shared is not first._shared

    assert (first.checkpoint, third.checkpoint) == (first_checkpoint, state.checkpoint(18))
    half = ask(first.read, None, 1000)
    first.close()
    first.close()
    rest = ask(second.read, half.last, 1 << 20)
    rows = msgspec.msgpack.decode(half.data) + msgspec.msgpack.decode(rest.data)
    assert len(rows) == 100
    assert [row for row in rows if row[0] == b"key 00050"] == [[b"key 00050", b"value", 51, 0]]
    second.close()
    third.close()
    answers: list = []
    third.read(None, 100, answers.append)
    assert ask(store.open_snapshot, 0).checkpoint == state.checkpoint(18)
    assert answers == []
    assert len(store._snapshots._open) == 1


def test_a_read_under_way_is_not_answered_after_close(store, ask, reactor):
    ask(store.checkpoint, 0, filled(100).capture(15))
    reader = ask(store.open_snapshot, 0)
    answers: list = []
    reader.read(None, 100, answers.append)
    reader.close()
    ask(store.open_snapshot, 0)
    reactor.run_waiting()

    assert answers == []


def test_readers_and_commits_go_on_during_a_checkpoint(store, ask, write):
    state = filled(200)
    before = ask(store.checkpoint, 0, state.capture(15))
    held = Held(store)
    state.put(b"more")
    answers: list = []
    store.checkpoint(0, state.capture(18), answers.append)
    assert held.reached.wait(30)

    reader = ask(store.open_snapshot, 0)
    assert reader.checkpoint == before
    assert not ask(reader.read, None, 1000).end
    assert ask(store.commit, write(21, 22))
    assert answers == []
    held.go_on.set()
    assert ask(store.open_snapshot, 0) is not None


def test_a_snapshot_travels_and_is_switched_in(tmp_path, open_at, store, ask, witness, write):
    sender = filled(500)
    checkpoint = ask(store.checkpoint, 0, sender.capture(19))
    reader = ask(store.open_snapshot, 0)
    receiving = open_at(tmp_path / "receiver")
    assert ask(receiving.commit, write(1, 4))
    writer = ask(receiving.receive_snapshot, 0, checkpoint)
    assert transfer(ask, reader, writer) > 20
    assert receiving.sizes()["snapshot"] > 10_000

    received = ask(writer.finish)
    assert (received.number, received.checkpoint) == (1, checkpoint)
    assert received.keyspace.records == sender.keyspace.records
    assert ask(receiving.commit, moved(base(19), truncate_from=1, state=1))
    sender.put(b"after")
    assert ask(receiving.checkpoint, 0, sender.capture(19)) == sender.checkpoint(19)
    assert receiving.sizes()["snapshot"] == 0
    assert receiving.sizes()["state"] > 10_000
    receiving.close()

    loaded = open_at(tmp_path / "receiver").loaded
    assert loaded.checkpoints[0][0] == sender.checkpoint(19)
    assert (loaded.groups[0].base.index, loaded.groups[0].last_index) == (19, 19)
    assert witness.loads == [0, 0]


def test_what_was_captured_before_a_switch_does_not_go_into_the_new_file(store, ask, reactor):
    """A snapshot replaces the old machine while its checkpoints wait: they go to the old file."""
    old, new = filled(50), filled(70)
    assert ask(store.checkpoint, 0, old.capture(10))
    writer = ask(store.receive_snapshot, 0, new.checkpoint(12))
    for piece in pieces_of(new, 100):
        assert ask(writer.write, piece) == ""
    number = ask(writer.finish).number
    held = Held(store)
    old.put(b"late")
    answers: list = []
    store.checkpoint(0, old.capture(14), lambda checkpoint: answers.append(("under way", checkpoint)))
    assert held.reached.wait(30)
    store.commit(moved(base(12), state=number), lambda ok: answers.append(("switch", ok)))
    old.put(b"later")
    while store._writer._database.replica(0).state != number:
        pass  # the switch is durable, and the reactor has not heard of it
    store.checkpoint(0, old.capture(16), lambda checkpoint: answers.append(("waiting", checkpoint)))
    held.go_on.set()
    reactor.run_until(lambda: len(answers) == 3)

    assert answers == [("switch", True), ("under way", None), ("waiting", None)]
    new.put(b"goes on")
    assert ask(store.checkpoint, 0, new.capture(17)) == new.checkpoint(17)


def test_the_old_file_goes_with_the_switch_and_its_readers_stay(tmp_path, store, ask, write):
    old, new = filled(300), filled(70)
    before = ask(store.checkpoint, 0, old.capture(10))
    reader = ask(store.open_snapshot, 0)
    writer = ask(store.receive_snapshot, 0, new.checkpoint(12))
    for piece in pieces_of(new, 100):
        assert ask(writer.write, piece) == ""
    assert ask(writer.finish)
    assert ask(store.commit, moved(base(12), state=2))
    assert ask(store.checkpoint, 0, new.capture(13)) == new.checkpoint(13)

    rows = ask(reader.read, None, 1 << 20)
    assert len(msgspec.msgpack.decode(rows.data)) == before.keys
    assert not (tmp_path / "state-0-1.db").exists()


def test_a_full_disk_gives_none_and_the_next_one_writes_all(store, ask, witness, reactor):
    state = filled(10)
    assert ask(store.checkpoint, 0, state.capture(10))
    connection = store._states._databases[0].connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    list(connection.execute(f"PRAGMA max_page_count={pages}"))
    for number in range(500):
        state.put(b"more %d" % number, b"x" * 100)
    capture = state.capture(12)
    assert ask(store.checkpoint, 0, capture) is None
    reactor.run_until(lambda: witness.errors)
    list(connection.execute("PRAGMA max_page_count=1000000"))
    state.keyspace.give_back(capture.changes)

    assert ask(store.checkpoint, 0, state.capture(13)) == state.checkpoint(13)
    assert witness.errors == ["state"]
    assert witness.checkpoints[1] == (0, None)
    assert witness.deaths == []


def test_a_damaged_state_file_met_while_running_is_the_end(store, ask, witness, reactor):
    ask(store.checkpoint, 0, filled(10).capture(10))
    store._states._databases[0].connection.execute("DROP TABLE record")
    answers: list = []
    store.checkpoint(0, filled(10).capture(12), answers.append)
    reactor.run_until(lambda: witness.deaths)
    store.checkpoint(0, filled(10).capture(13), answers.append)
    store.open_snapshot(0, answers.append)
    store.receive_snapshot(0, Checkpoint(base(1), 0, 0, 0, bytes(16)), answers.append)
    store.fence(0, True, lambda: answers.append("fenced"))
    store.close()
    reactor.run_waiting()

    assert answers == []
    assert len(witness.deaths) == 1
    assert "state-0-1.db" in witness.deaths[0]


def test_a_mistake_on_a_thread_is_told(store, reactor, witness):
    store._snapshots.worker.do(lambda: 1 / 0)
    reactor.run_until(lambda: witness.deaths)

    assert witness.deaths == ["the thread kraft-snapshots failed: ZeroDivisionError: division by zero"]


def test_a_stop_drops_a_checkpoint_under_way(tmp_path, open_at, store, ask, reactor):
    """The log holds what it would have written, and no caller waits for it."""
    first = filled(10)
    assert ask(store.checkpoint, 0, first.capture(10))
    held = Held(store)
    answers: list = []
    store.checkpoint(0, filled(3000).capture(15), answers.append)
    assert held.reached.wait(30)
    threading.Timer(0, held.go_on.set).start()
    store.close()
    reactor.run_waiting()

    assert answers == []
    assert open_at(tmp_path).loaded.checkpoints[0][0] == first.checkpoint(10)


def test_a_stop_in_the_first_checkpoint_leaves_an_orphan_at_most(tmp_path, open_at, store, reactor):
    held = Held(store)
    store.checkpoint(0, filled(3000).capture(15), lambda _: None)
    assert held.reached.wait(30)
    threading.Timer(0, held.go_on.set).start()
    store.close()

    loaded = open_at(tmp_path).loaded
    assert (loaded.checkpoints, loaded.groups[0].last_index) == ({}, 20)
    assert not list(tmp_path.glob("state-*"))


def test_an_abandoned_snapshot_is_gone(tmp_path, store, ask):
    writer = ask(store.receive_snapshot, 0, filled(10).checkpoint(5))
    assert ask(writer.write, pieces_of(filled(10))[0]) == ""
    writer.abandon()
    assert ask(writer.finish) == "the file was given up"
    assert not list(tmp_path.glob("state-*"))


def test_a_fence_is_durable_when_told(tmp_path, open_at, store, ask):
    ask(store.fence, 0, True)
    ask(store.fence, 1, True)
    ask(store.fence, 1, False)
    store.close()

    assert open_at(tmp_path).loaded.fenced == {0}


def test_a_fence_on_a_full_disk_is_set_when_there_is_room(
    tmp_path, open_at, ask, reactor, faulty_vfs, write, monkeypatch
):
    monkeypatch.setattr("kraft.storage.log.writer.RETRY_SECONDS", 0.01)
    store = open_at(tmp_path, vfs="faulty")
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    answers: list = []
    store.fence(0, True, lambda: answers.append("fenced"))
    assert not ask(store.commit, write(1, 1))
    assert answers == []
    faulty_vfs.faults.clear()
    reactor.run_until(lambda: answers)
    store.close()

    assert open_at(tmp_path).loaded.fenced == {0}


def test_space_of_a_cut_log_is_given_back_when_nobody_waits(tmp_path, open_at, ask, write):
    store = open_at(
        tmp_path, settings=StorageSettings(wal_bytes=1 << 16, free_bytes=1 << 16, vacuum_pages=64)
    )
    assert ask(store.commit, write(1, 500, data=b"x" * 4000))
    assert ask(store.commit, moved(base(500)))
    assert store.sizes()["log_free"] > 1 << 20
    done = threading.Event()
    for _ in range(200):
        if store.sizes()["log_free"] <= 1 << 16:
            break
        done.wait(0.05)
    assert ask(store.commit, write(501, 502))
    store.close()

    assert store.sizes()["log"] < 1 << 18


def test_all_at_once(store, ask, reactor, witness, write):
    """Commits, checkpoints, readers and arriving snapshots of two groups, with nothing in their way."""
    states = {0: filled(400), 1: filled(300)}
    assert ask(store.commit, write(1, 20, group=1))
    for group, state in states.items():
        assert ask(store.checkpoint, group, state.capture(1))
    done: list = []
    expected = 0
    readers = {group: ask(store.open_snapshot, group) for group in states}
    writers = {group: ask(store.receive_snapshot, group, readers[group].checkpoint) for group in states}
    for index in range(21, 61):
        store.commit(write(index, index), done.append)
        expected += 1
        for group, state in states.items():
            state.put(b"key %05d" % index, b"new")
            if index % 10 == 0:
                store.checkpoint(group, state.capture(index // 10), done.append)
                expected += 1
            if index % 13 == 0:
                readers[group].read(None, 5000, done.append)
                expected += 1
    for group in states:
        transfer(ask, readers[group], writers[group], 3000)
        received = ask(writers[group].finish)
        assert received.keyspace.records == filled(400 - 100 * group).keyspace.records
    reactor.run_until(lambda: len(done) == expected)

    assert witness.deaths == []
    assert None not in done
    assert False not in done
    assert ask(store.open_snapshot, 1).checkpoint == states[1].checkpoint(6)
