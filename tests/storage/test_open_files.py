"""A process that may open no more files: checkpoints and snapshots wait, commits do not notice."""

import os
import resource
from contextlib import contextmanager

from kraft.storage.ports import StorageSettings
from tests.storage.conftest import moved
from tests.storage.node import pieces_of
from tests.storage.states import base, filled

TOO_MANY = "Too many open files"


@contextmanager
def no_file_left():
    """Open files until the process may open no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 50, hard))
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_first_checkpoint_waits_for_a_file(tmp_path, store, ask, witness, reactor):
    """It is reported like one without space, with its reason; the next one writes everything."""
    state = filled(50)
    capture = state.capture(10)
    with no_file_left():
        assert ask(store.checkpoint, 0, capture) is None
        reactor.run_until(lambda: witness.errors)
    state.keyspace.give_back(capture.changes)

    assert ask(store.checkpoint, 0, state.capture(12)) == state.checkpoint(12)
    assert witness.errors == ["state"]
    assert TOO_MANY in witness.reasons[0]
    assert witness.checkpoints[0] == (0, None)
    assert witness.deaths == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("state-0-1")]


def test_neither_a_commit_nor_a_later_checkpoint_opens_a_file(open_at, tmp_path, ask, witness, write):
    """Through WAL checkpoints, large transactions, and statements that may fail halfway."""
    store = open_at(tmp_path, settings=StorageSettings(wal_bytes=1 << 16, wal_bytes_max=1 << 17))
    assert ask(store.commit, write(1, 20, commit=20))
    state = filled(50)
    assert ask(store.checkpoint, 0, state.capture(10))
    with no_file_left():
        assert ask(store.commit, write(21, 400, data=b"x" * 10_000))
        assert ask(store.commit, write(300, 500, truncate_from=300, term=2))
        assert ask(store.commit, moved(base(10)))
        for number in range(2000):
            state.put(b"key %05d" % number, b"y" * 1000)
        assert ask(store.checkpoint, 0, state.capture(20)) == state.checkpoint(20)
        assert len(ask(store.fetch, 0, 21, 30, 1 << 20)) == 10
    assert witness.errors == []
    assert witness.wal_checkpoints > 0


def test_a_view_waits_for_a_file(store, ask, witness, reactor):
    state = filled(50)
    assert ask(store.checkpoint, 0, state.capture(10))
    with no_file_left():
        assert ask(store.open_snapshot, 0) is None
        reactor.run_until(lambda: witness.errors)

    assert ask(store.open_snapshot, 0).checkpoint == state.checkpoint(10)
    assert witness.errors == ["snapshot"]
    assert TOO_MANY in witness.reasons[0]


def test_a_snapshot_that_arrives_waits_for_a_file(tmp_path, store, ask, witness, reactor):
    """At its beginning. Its end needs no file beyond those that it closes."""
    state = filled(50)
    with no_file_left():
        assert ask(store.receive_snapshot, 0, state.checkpoint(8)) is None
        reactor.run_until(lambda: witness.errors)
    incoming = ask(store.receive_snapshot, 0, state.checkpoint(8))
    for piece in pieces_of(state):
        assert ask(incoming.write, piece) == ""
    with no_file_left():
        received = ask(incoming.finish)

    assert received.keyspace.records == state.keyspace.records
    assert (witness.errors, witness.deaths) == (["snapshot"], [])
    assert [path.name for path in sorted(tmp_path.glob("state-*.db"))] == ["state-0-2.db"]


def test_a_switch_is_finished_when_there_is_a_file(tmp_path, store, ask, witness, reactor):
    """The commit stands; the file is opened before the next checkpoint is written."""
    old, new = filled(10), filled(30)
    assert ask(store.checkpoint, 0, old.capture(10))
    reader = ask(store.open_snapshot, 0)
    incoming = ask(store.receive_snapshot, 0, new.checkpoint(15))
    for piece in pieces_of(new):
        assert ask(incoming.write, piece) == ""
    assert ask(incoming.finish)
    with no_file_left():
        assert ask(store.commit, moved(base(15), state=2))
        capture = new.capture(16)
        assert ask(store.checkpoint, 0, capture) is None
        reactor.run_until(lambda: witness.errors)
    new.keyspace.give_back(capture.changes)

    assert ask(store.checkpoint, 0, new.capture(17)) == new.checkpoint(17)
    assert witness.deaths == []
    reader.close()
