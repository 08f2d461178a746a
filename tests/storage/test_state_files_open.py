"""Only some of the state files are open: the others are closed, and opened again when they are needed."""

from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import pytest

from kraft.storage.errors import DamagedState
from tests.storage.conftest import SETTINGS
from tests.storage.states import filled, rows_of

GROUPS = 5
FEW = replace(SETTINGS, state_files_open=2)


@pytest.fixture(params=[False, True], ids=["one connection", "shared"])
def five(request, tmp_path, states_at, write):
    """Five groups with a checkpoint each, two open files, and the states that they hold."""
    log, states = states_at(tmp_path, shared=request.param, settings=FEW)
    held = {group: filled(20 + group) for group in range(GROUPS)}
    for group, state in held.items():
        log.commit([write(1, 9, group=group)])
        assert states.write(group, state.capture(5), log) == state.checkpoint(5)
    return log, states, held


def open_files(path):
    """The state files that this process has open."""
    places = {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    return sorted(place.name for place in places if place.parent == path)


def test_the_files_that_were_used_last_are_open(five, tmp_path):
    _, states, _ = five
    found = [name for name in open_files(tmp_path) if name.startswith("state") and name.endswith(".db")]
    assert found == ["state-3-1.db", "state-4-1.db"]
    assert [states.number(group) for group in range(GROUPS)] == [1] * GROUPS


def test_a_closed_file_takes_further_checkpoints(five):
    log, states, held = five
    for index in (6, 7):
        for group, state in held.items():
            state.put(b"more", b"%d" % index)
            assert states.write(group, state.capture(index), log) == state.checkpoint(index)
    assert [states.checkpoint(group) for group in range(GROUPS)] == [s.checkpoint(7) for s in held.values()]


def test_a_closed_file_can_be_viewed_and_counts(five):
    _, states, held = five
    view = states.open_view(0)
    assert sum(len(msgspec.msgpack.decode(piece.data)) for piece in rows_of(view)) == 20
    assert view.checkpoint == held[0].checkpoint(5)
    view.close()
    assert states.sizes()["state"] >= GROUPS * 4096


def test_a_view_of_a_file_that_is_closed_meanwhile_stays_as_it_is(five):
    log, states, held = five
    states.write(0, held[0].capture(6), log)
    view, expected = states.open_view(0), held[0].checkpoint(6)
    for group in (1, 2, 0):
        held[group].put(b"key 00001", b"later")
        assert states.write(group, held[group].capture(7), log)
    assert view.checkpoint == expected
    assert sum(len(msgspec.msgpack.decode(piece.data)) for piece in rows_of(view)) == 20
    view.close()


def test_a_closed_file_that_was_changed_is_damaged(five, tmp_path):
    """Nobody else may write to it: to go on would give the group a state that it never had."""
    log, states, held = five
    connection = apsw.Connection(str(tmp_path / "state-0-1.db"))
    connection.execute("DELETE FROM image")
    connection.close()
    with pytest.raises(DamagedState, match="not the one that it was closed with"):
        states.write(0, held[0].capture(6), log)


def test_a_start_verifies_all_files_and_keeps_few_open(five, tmp_path, states_at):
    log, states, held = five
    states.close()
    log.close()
    _, again = states_at(tmp_path, settings=FEW)
    assert {group: loaded[0] for group, loaded in again.loaded.checkpoints.items()} == {
        group: state.checkpoint(5) for group, state in held.items()
    }
    found = [name for name in open_files(tmp_path) if name.startswith("state") and name.endswith(".db")]
    assert len(found) == 2
