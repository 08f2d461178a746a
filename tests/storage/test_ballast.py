"""A node starts on a full disk, and finishes a switch to a snapshot when there is space."""

from pathlib import Path
from typing import Any

import apsw
import pytest

from kraft.storage import ballast, sqlite
from kraft.storage.errors import NoSpace
from kraft.storage.state.folder import StateFolder
from tests.storage.conftest import moved
from tests.storage.states import base, filled
from tests.storage.test_switch import receive

FULL = apsw.SQLITE_FULL


class Faults(dict):
    """Writes find no space as long as the ballast is there."""

    def __init__(self, path):
        super().__init__()
        self._path = path

    def get(self, key, default=None):
        full = key == ("wal", "write") and Path(self._path, ballast.BALLAST_FILE).exists()
        return FULL if full else default


def test_without_room_for_the_start_the_ballast_goes(tmp_path, open_at, faulty_vfs):
    open_at(tmp_path).close()
    assert (tmp_path / ballast.BALLAST_FILE).stat().st_size == ballast.BALLAST_BYTES

    faulty_vfs.faults = Faults(tmp_path)
    assert open_at(tmp_path, vfs="faulty").loaded.starts == 2


def test_without_ballast_a_full_disk_is_told(tmp_path, open_at, faulty_vfs):
    open_at(tmp_path).close()
    ballast.release(str(tmp_path))
    faulty_vfs.faults[("wal", "write")] = FULL

    with pytest.raises(NoSpace):
        open_at(tmp_path, vfs="faulty")


def test_the_ballast_is_reserved_again(tmp_path, open_at):
    open_at(tmp_path).close()
    assert ballast.release(str(tmp_path))
    assert not ballast.release(str(tmp_path))
    open_at(tmp_path)

    assert (tmp_path / ballast.BALLAST_FILE).exists()


def test_no_room_for_shared_memory_is_no_room():
    error: Any = apsw.exception_for(apsw.SQLITE_IOERR_SHMSIZE)

    assert isinstance(sqlite.explain("x", error), NoSpace)


def test_a_switch_without_room_is_made_up_for(tmp_path, open_at, store, ask, witness, monkeypatch):
    """Until then nothing is written to the old file."""
    before, after = filled(30, value=b"before"), filled(30)
    written = before.capture(10)
    assert ask(store.checkpoint, 0, written)
    assert written.changes == {}
    received = receive(store, ask, after, 15)
    opening = StateFolder.open
    tries = []

    def full(self, group, number):
        tries.append(number)
        if len(tries) < 3:
            raise NoSpace(self.place(group, number))
        return opening(self, group, number)

    monkeypatch.setattr(StateFolder, "open", full)
    assert ask(store.commit, moved(base(15), state=received.number)) is True
    refused = after.capture(16)
    assert ask(store.checkpoint, 0, refused) is None
    assert refused.changes  # for the owner to take back; those of a checkpoint that was written are freed
    assert ask(store.checkpoint, 0, after.capture(17)) == after.checkpoint(17)

    store.close()
    assert witness.deaths == []
    assert open_at(tmp_path).loaded.checkpoints[0][1].records == after.keyspace.records
