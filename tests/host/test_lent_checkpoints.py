"""Checkpoints that a leader pins for a node without the group: at the marker, or none."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.backup.lent_checkpoints import LENT_MAX, PAUSE_SECONDS, LentCheckpoints
from kraft.kv.checkpoint import HASH_BYTES, Checkpoint
from kraft.node.admin import PinCheckpoint, ReadCheckpoint
from kraft.node.errors import AdminRefused, CheckpointFailed, NotLeader
from kraft.raft.membership.configuration import Base
from tests.host.fakes import Clock

GROUP, TERM = 1, 5


class Scene:
    """The leader of group 1, and its disk."""

    def __init__(self):
        self.clock = Clock()
        self.opened: list[Any] = []
        self.closed = 0
        self.readable = True
        state = SimpleNamespace(leads=True, log=SimpleNamespace(last_index=20))
        self.group: Any = SimpleNamespace(
            raft=SimpleNamespace(state=state),
            state=SimpleNamespace(index=0),
            checkpoints=SimpleNamespace(last=None, busy=False),
        )
        here: Any = self
        groups: Any = {GROUP: self.group}
        self.lent = LentCheckpoints(groups, self.clock, here, 0)
        self.answers: list[Any] = []

    def made(self, index, term=TERM):
        self.group.checkpoints.last = Checkpoint(Base(index, term), index, 0, 0, bytes(HASH_BYTES))
        self.group.state.index = max(index, self.group.state.index)

    def open_snapshot(self, _, done):
        reader: Any = SimpleNamespace(checkpoint=self.group.checkpoints.last, close=self._close)
        done(reader if self.readable else None)

    def _close(self):
        self.closed += 1

    def pin(self, index, term=TERM):
        self.lent.pin(GROUP, PinCheckpoint(index, term), self.answers.append)
        self.lent.tick(self.clock.now)


@pytest.fixture
def scene():
    return Scene()


def test_a_checkpoint_at_the_marker_is_waited_for(scene):
    scene.pin(10)
    assert scene.answers == []
    scene.made(10)
    scene.lent.tick(scene.clock.now)
    [[token, _]] = scene.answers
    assert token == 1


def test_a_marker_beyond_the_end_of_the_log_is_none(scene):
    scene.pin(21)
    assert scene.answers == [[]]
    assert not scene.lent.paused


def test_another_entry_at_the_index_of_the_marker_is_none(scene):
    scene.made(10, TERM - 1)
    scene.pin(10)
    assert scene.answers == [[]]


@pytest.mark.parametrize("busy", [False, True])
def test_a_marker_that_was_missed_is_told_once_nothing_is_written(scene, busy):
    """While a checkpoint is being written it may be the one at the marker."""
    scene.made(8)
    scene.group.state.index, scene.group.checkpoints.busy = 12, busy
    scene.pin(10)
    assert scene.answers == ([] if busy else [[]])


def test_after_a_miss_the_group_begins_no_checkpoint_for_a_while(scene):
    scene.made(11)
    scene.pin(10)
    assert list(scene.lent.paused) == [GROUP]
    scene.lent.tick(scene.clock.now + PAUSE_SECONDS)
    assert not scene.lent.paused


def test_who_leads_no_more_says_so(scene):
    scene.pin(10)
    scene.group.raft.state.leads = False
    scene.lent.tick(scene.clock.now)
    assert isinstance(scene.answers[0], NotLeader)


def test_a_state_file_that_cannot_be_opened_is_told(scene):
    scene.readable = False
    scene.made(10)
    scene.pin(10)
    assert isinstance(scene.answers[0], CheckpointFailed)


def test_each_group_lends_so_many_at_most(scene):
    scene.made(10)
    for _ in range(LENT_MAX):
        scene.pin(10)
    scene.pin(10)
    assert isinstance(scene.answers[-1], AdminRefused)
    scene.lent.abandon()
    assert scene.closed == LENT_MAX


def test_one_that_was_closed_is_not_read(scene):
    scene.lent.read(ReadCheckpoint(7, None, 0), scene.answers.append)
    assert isinstance(scene.answers[0], AdminRefused)
