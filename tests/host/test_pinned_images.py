"""Images of several groups: which checkpoints are pinned, and when other markers are asked for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kraft.host.applied_state import AppliedState
from kraft.host.backup.pinned_images import (
    IDLE_SECONDS,
    MARK_SECONDS,
    MARKING_SECONDS,
    OPEN_SECONDS,
    RETRY_SECONDS,
    PinnedImage,
    PinnedImages,
)
from kraft.host.backup.remote_checkpoints import RemoteCheckpoints
from kraft.host.group.checkpoints import Checkpoints, CheckpointSettings
from kraft.host.membership.formation import Formation
from kraft.host.slots import SlotMap
from kraft.kv.checkpoint import HASH_BYTES, Capture, Checkpoint
from kraft.kv.machine import Machine
from kraft.node.admin import AdminOutcome
from kraft.node.errors import AdminRefused
from kraft.node.values import Identity, Rows
from kraft.raft.membership.configuration import Base
from tests.host.fakes import Clock

ABSENT = RemoteCheckpoints(lambda _: False)  # no group is elsewhere
GROUPS = 3
TERM = 5
TICK = 0.1
WRITING = 2.0  # seconds for one checkpoint
BOUNDS = CheckpointSettings(entries=100, size=1 << 30, interval=0.0, keep_entries=10, keep_bytes=1 << 30)


class Reader:
    """A pinned checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.closed = False
        self.reads: list[Callable[[Rows], None]] = []

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        self.reads.append(done)

    def close(self) -> None:
        self.closed = True


class Replica:
    """A group, as far as images look at it; also the owner of its checkpoints, and an observer."""

    def __init__(self, id_: int, disk: Any) -> None:
        self.id = id_
        self.state = AppliedState(Machine(), 0)
        self.checkpoints = Checkpoints(id_, self.state, disk, self, BOUNDS, None, self)  # type: ignore[arg-type]

    def mark(self, index: int, term: int = TERM) -> None:
        """The marker at this place is applied."""
        self.state.index = index
        self.checkpoints.marker(Base(index, term), 0.0)

    def checkpoint_completed(self, _: Checkpoint) -> None:
        pass


class Scene:
    """One node with three groups, whose disk ends a checkpoint when the test says so."""

    def __init__(self, groups: int = GROUPS) -> None:
        self.clock = Clock()
        self.slots = SlotMap(groups)
        self.groups = {id_: Replica(id_, self) for id_ in range(groups)}
        self.written: dict[
            int, Callable[[], None]
        ] = {}  # by group: ends the checkpoint that is being written
        self.marks: list[Callable[[AdminOutcome], None]] = []  # asked for, and not answered
        self.opened: list[PinnedImage | Exception] = []
        self.readers: list[Reader] = []
        formation = Formation(Identity("K1", "1" * 32, "c" * 32), "10.0.0.1:10001", frozenset({"K1"}))
        here: Any = self  # the disk
        replicas: Any = self.groups
        self.images = PinnedImages("K1", replicas, self.slots, formation, self.clock, here, ABSENT, 0)
        self.images.open(self.marks.append, self.opened.append)

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        base = capture.base
        made = Checkpoint(base, base.index, 0, 0, bytes(HASH_BYTES))
        self.written[group] = partial(done, made)

    def open_snapshot(self, group: int, done: Callable[[Reader | None], None]) -> None:
        last = self.groups[group].checkpoints.last
        assert last is not None
        self.readers.append(Reader(last))
        self.clock.call_soon(partial(done, self.readers[-1]))

    def write(self, group: int) -> None:
        """The checkpoint of a group is durable."""
        self.written.pop(group)()

    def run(self, seconds: float = TICK) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(TICK)
            self.images.tick()
        self.clock.advance()

    def answer(self, *markers: tuple[int, int]) -> None:
        """The leaders have logged their markers."""
        self.marks.pop()([list(marker) for marker in markers])


@pytest.fixture
def scene():
    return Scene()


def test_checkpoints_at_the_markers_are_pinned(scene):
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group, index in enumerate((10, 20, 30)):
        scene.groups[group].mark(index)
        scene.write(group)
        scene.run()
    [image] = scene.opened
    assert [group.index for group in image.head.groups] == [10, 20, 30]


def test_another_entry_in_the_place_of_a_marker_is_none(scene):
    """A leader was lost that had logged its marker alone; its successor logged one of its own there."""
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group, index in enumerate((10, 20, 30)):
        scene.groups[group].mark(index, TERM + (group == 1))
        scene.write(group)
    scene.run(MARK_SECONDS + TICK)
    assert not scene.opened
    assert all(reader.closed for reader in scene.readers if reader.checkpoint.base.term > TERM)
    assert len(scene.marks) == 1
    scene.answer((11, TERM), (21, TERM + 1), (31, TERM))
    assert all(reader.closed for reader in scene.readers)
    for group, index in enumerate((11, 21, 31)):
        scene.groups[group].mark(index, TERM + (group == 1))
        scene.write(group)
    scene.run()
    [image] = scene.opened
    assert [(group.index, group.term) for group in image.head.groups] == [
        (11, TERM),
        (21, TERM + 1),
        (31, TERM),
    ]


def test_markers_are_not_asked_for_while_others_are_awaited(scene):
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group in scene.groups.values():
        group.mark(100)
        scene.write(group.id)
    scene.run(MARK_SECONDS + TICK)
    assert len(scene.marks) == 1
    scene.run(5 * MARK_SECONDS)  # a leader is slow
    assert len(scene.marks) == 1
    scene.answer(*[(101, TERM)] * GROUPS)
    for group in scene.groups.values():
        group.mark(101)
        scene.write(group.id)
    scene.run()
    assert len(scene.opened) == 1


def test_leaders_that_log_no_markers_are_asked_again_for_a_while(scene):
    """One may have been lost, or a link be slow."""
    scene.marks.pop()(AdminRefused("no leader"))
    scene.run(RETRY_SECONDS)
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group, index in enumerate((10, 20, 30)):
        scene.groups[group].mark(index)
        scene.write(group)
    scene.run()
    [image] = scene.opened
    assert [group.index for group in image.head.groups] == [10, 20, 30]


def test_leaders_that_log_no_markers_are_not_asked_for_ever(scene):
    end = scene.clock.now + MARKING_SECONDS
    while not scene.opened:
        assert scene.clock.now < end + 2 * RETRY_SECONDS
        scene.marks.pop()(AdminRefused("no leader"))
        scene.run(RETRY_SECONDS + TICK)
    assert scene.clock.now >= end
    assert [str(each) for each in scene.opened] == ["no leader"]
    assert not any(group.checkpoints.paused for group in scene.groups.values())


def marked(scene, groups, index):
    """The marker of each group is applied, and its checkpoint is durable."""
    for group in range(groups):
        scene.groups[group].mark(index)
        scene.write(group)


def begun(groups):
    """The checkpoints of the groups that a node knows are durable, and none is opened yet."""
    scene = Scene(groups)
    scene.marks.pop()(10 if groups == 1 else [[10, TERM]] * groups)
    marked(scene, groups, 10)
    return scene


def made_again(scene, groups):
    """The image was begun again with so many groups, and is made."""
    marked(scene, groups, 20)
    scene.run()
    [image] = scene.opened
    assert isinstance(image, PinnedImage)
    assert [group.index for group in image.head.groups] == [20] * groups
    return all(reader.closed == (reader.checkpoint.base.index == 10) for reader in scene.readers)


@pytest.mark.parametrize("groups", [1, GROUPS])
def test_a_group_that_is_made_meanwhile_is_in_the_image(groups):
    """It may have keys by then that the other groups have no more."""
    scene = begun(groups)
    scene.slots.groups = groups + 1
    scene.run(MARK_SECONDS + TICK)
    assert not scene.opened
    scene.marks.pop()([[20, TERM]] * (groups + 1))
    scene.run(1)
    scene.groups[groups] = Replica(groups, scene)  # this node is late
    assert made_again(scene, groups + 1)


@pytest.mark.parametrize("groups", [1, GROUPS])
def test_a_group_that_is_made_while_checkpoints_are_opened_is_in_the_image_too(groups):
    """Whoever asks need not repeat it."""
    scene = begun(groups)
    scene.images.tick()
    scene.slots.groups = groups + 1
    scene.groups[groups] = Replica(groups, scene)
    scene.run(MARK_SECONDS + TICK)
    assert not scene.opened
    scene.marks.pop()([[20, TERM]] * (groups + 1))
    assert made_again(scene, groups + 1)
    assert not any(group.checkpoints.paused for group in scene.groups.values())


def test_a_group_that_is_made_while_checkpoints_pause_pauses_as_well(scene):
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group in scene.groups.values():
        group.mark(100)
    scene.write(0)
    scene.run()
    scene.slots.groups = GROUPS + 1
    scene.groups[GROUPS] = Replica(GROUPS, scene)
    scene.run()
    assert scene.groups[GROUPS].checkpoints.paused
    scene.run(OPEN_SECONDS)
    assert not any(group.checkpoints.paused for group in scene.groups.values())


def test_an_answer_that_is_no_marker_ends_it(scene):
    scene.marks.pop()([10, 20, 30])
    [told] = scene.opened
    assert "update it first" in str(told)


def load(scene, seconds):
    """Let each group log a marker as soon as its checkpoint is written: some group always writes one."""
    end, marks = scene.clock.now + seconds, len(scene.marks)
    due = {group: scene.clock.now + (group + 1) * WRITING / GROUPS for group in scene.groups}
    while scene.clock.now < end and len(scene.marks) == marks:
        scene.run()
        for id_, group in scene.groups.items():
            if scene.clock.now >= due[id_]:
                due[id_] = scene.clock.now + WRITING
                if id_ in scene.written:
                    scene.write(id_)
                group.mark(group.state.index + 50)


def test_an_image_is_made_under_steady_load(scene):
    """Without the pause some checkpoint is always being written here."""
    load(scene, 10)
    index = max(group.state.index for group in scene.groups.values()) + 1
    scene.answer(*[(index, TERM)] * GROUPS)
    for group in scene.groups.values():
        group.mark(index)
    load(scene, 2 * MARK_SECONDS)
    assert len(scene.marks) == 1
    assert not scene.written
    index += 1000
    scene.answer(*[(index, TERM)] * GROUPS)
    for group in scene.groups.values():
        group.mark(index)
        scene.write(group.id)
    scene.run()
    [image] = scene.opened
    assert [group.index for group in image.head.groups] == [index] * GROUPS
    assert not any(group.checkpoints.paused for group in scene.groups.values())


def test_checkpoints_go_on_when_an_image_is_given_up(scene):
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group in scene.groups.values():
        group.mark(100)
    scene.write(0)
    scene.run()
    assert all(group.checkpoints.paused for group in scene.groups.values())
    scene.run(OPEN_SECONDS)
    assert [str(each) for each in scene.opened] == ["no checkpoint was made in time"]
    assert not any(group.checkpoints.paused for group in scene.groups.values())


def test_groups_are_told_only_that_checkpoints_pause_or_go_on(scene, monkeypatch):
    """Not at every tick: there may be a thousand."""
    told: list[object] = []

    def noted(checkpoints, name, value):
        if name == "paused":
            told.append(value)
        object.__setattr__(checkpoints, name, value)

    monkeypatch.setattr(Checkpoints, "__setattr__", noted)
    scene.run(5)
    assert not told
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group in scene.groups.values():
        group.mark(100)
    scene.write(0)
    scene.run(1)
    assert told == [True] * GROUPS
    scene.run(OPEN_SECONDS)
    assert told == [True] * GROUPS + [False] * GROUPS


def opened(scene):
    scene.answer((10, TERM), (20, TERM), (30, TERM))
    for group, index in enumerate((10, 20, 30)):
        scene.groups[group].mark(index)
        scene.write(group)
    scene.run()
    [image] = scene.opened
    return image


def test_an_image_that_nobody_reads_is_closed(scene):
    image = opened(scene)
    scene.run(IDLE_SECONDS)
    assert scene.images.find(image.token) is None
    assert all(reader.closed for reader in scene.readers)


def test_an_image_stays_open_while_a_disk_takes_long_for_a_piece(scene):
    image = opened(scene)
    told: list[object] = []
    image.read(1, None, 100, told.append)
    scene.run(2 * IDLE_SECONDS)
    assert scene.images.find(image.token) is image
    rows = Rows(b"", b"", end=True)
    image.readers[1].reads.pop()(rows)
    assert told == [rows]


def test_who_comes_late_hears_that_the_image_is_closed(scene):
    """The place where the pieces go was slow for so long that the image was not kept open."""
    image = opened(scene)
    scene.run(IDLE_SECONDS)
    told: list[object] = []
    image.read(1, None, 100, told.append)
    assert [type(each) for each in told] == [AdminRefused]


def test_who_waits_for_a_piece_hears_that_the_image_is_closed(scene):
    """Another connection may close it, or the node stop. A piece that comes after that is dropped."""
    image = opened(scene)
    told: list[object] = []
    image.read(1, None, 100, told.append)
    scene.images.close(image.token)
    image.readers[1].reads.pop()(Rows(b"", b"", end=True))
    assert [type(each) for each in told] == [AdminRefused]
