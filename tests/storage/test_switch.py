"""A group switches to a snapshot while its first checkpoint is still being written."""

import pytest

from kraft.storage.errors import StorageError
from tests.storage.conftest import moved
from tests.storage.node import pieces_of
from tests.storage.states import base, filled
from tests.storage.test_snapshot_thread import Held


def receive(store, ask, state, index):
    writer = ask(store.receive_snapshot, 0, state.checkpoint(index))
    for piece in pieces_of(state, 50):
        assert ask(writer.write, piece) == ""
    return ask(writer.finish)


def test_the_checkpoint_does_not_take_the_place_of_the_snapshot(tmp_path, open_at, store, ask, reactor):
    mine, theirs = filled(300), filled(30)
    held = Held(store)
    answers: list = []
    store.checkpoint(0, mine.capture(10), answers.append)
    assert held.reached.wait(10)
    received = receive(store, ask, theirs, 15)
    assert ask(store.commit, moved(base(15), state=received.number)) is True
    held.go_on.set()
    reactor.run_until(lambda: answers)
    assert answers == [None]

    assert ask(store.checkpoint, 0, theirs.capture(16)) == theirs.checkpoint(16)
    store.close()
    assert open_at(tmp_path).loaded.checkpoints[0][1].records == theirs.keyspace.records


def test_a_lost_file_does_not_take_others_of_its_group_along(tmp_path, open_at, store, ask, write):
    state = filled(30)
    assert ask(store.checkpoint, 0, state.capture(10))
    assert ask(store.commit, moved(base(5))) is True
    store.close()
    (tmp_path / "state-0-1.db").rename(tmp_path / "state-0-7.db")

    with pytest.raises(StorageError, match="missing"):
        open_at(tmp_path)
    assert (tmp_path / "state-0-7.db").exists()
