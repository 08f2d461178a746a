"""When checkpoints are taken, and how much of the log before them stays."""

from collections.abc import Callable
from itertools import pairwise

from kraft.host.applied_state import AppliedState
from kraft.host.group.checkpoints import CUT_ENTRIES, Checkpoints, CheckpointSettings
from kraft.kv.checkpoint import HASH_BYTES, Capture, Checkpoint
from kraft.kv.commands import Put
from kraft.kv.machine import Machine
from kraft.node.errors import CheckpointFailed, NotLeader
from kraft.raft.membership.configuration import Base

TERM = 1


class Disk:
    """Keeps every request until the test says how it ends."""

    def __init__(self) -> None:
        self.asked: list[tuple[Capture, Callable[[Checkpoint | None], None]]] = []

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        assert group == 0
        self.asked.append((capture, done))

    def finish(self, durable: bool = True) -> None:
        capture, done = self.asked.pop(0)
        done(checkpoint(capture.base.index, capture.base.term) if durable else None)


class Events:
    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(name)


def checkpoint(index: int, term: int = TERM) -> Checkpoint:
    return Checkpoint(Base(index, term), index, 0, 0, bytes(HASH_BYTES))


class Story:
    """A replica with a fake disk that applies entries of about 1,000 bytes."""

    def __init__(self, start: Checkpoint | None = None, **settings: float) -> None:
        wanted = {"entries": 100, "size": 1 << 30, "interval": 0.0, "keep_entries": 10, "keep_bytes": 1 << 30}
        self.disk = Disk()
        self.events = Events()
        self.completed: list[int] = []
        self.now = 0.0
        self.state = AppliedState(Machine(), 0 if start is None else start.base.index)
        self.checkpoints = Checkpoints(
            0,
            self.state,
            self.disk,  # type: ignore[arg-type]
            self.events,  # type: ignore[arg-type]
            CheckpointSettings(**{**wanted, **settings}),  # type: ignore[arg-type]
            start,
            self,
        )

    def checkpoint_completed(self, checkpoint: Checkpoint) -> None:
        self.completed.append(checkpoint.base.index)

    def apply(self, count: int, size: int = 1_000) -> "Story":
        for _ in range(count):
            self.state.index += 1
            self.state.bytes += size
            self.state.machine.apply(1, [Put(b"k%d" % self.state.index, b"v")])
            if self.state.bytes >= self.checkpoints.note_at:
                self.checkpoints.note()
        return self

    def mark(self, term: int = TERM) -> "Story":
        self.state.index += 1
        self.checkpoints.marker(Base(self.state.index, term), self.now)
        return self

    def cut(self, base: int, held: int | None = None) -> int:
        """Where the log begins after many ticks."""
        while (cut := self.checkpoints.cut(base, held)) != base:
            base = cut
        return base

    @property
    def due(self) -> bool:
        return self.checkpoints.due(self.now)


def test_a_checkpoint_is_due_after_a_number_of_entries() -> None:
    story = Story(entries=100).apply(99)
    assert not story.due

    assert story.apply(1).due


def test_a_checkpoint_is_due_after_a_number_of_bytes() -> None:
    story = Story(size=50_000).apply(49)
    assert not story.due

    assert story.apply(1).due


def test_a_checkpoint_is_due_after_some_time_only_if_something_was_written() -> None:
    story = Story(interval=60.0)
    story.now = 1_000.0
    assert not story.due  # nothing there
    story.apply(1)
    story.now += 59.0
    assert not story.due  # the time runs from the first change
    story.now += 1.0

    assert story.due


def test_no_second_marker_is_due_before_the_first_checkpoint_is_written() -> None:
    story = Story().apply(100).mark()
    story.apply(200)
    assert not story.due
    story.disk.finish()

    assert story.due
    assert story.completed == [101]


def test_a_marker_that_comes_while_a_checkpoint_is_written_is_passed_over() -> None:
    story = Story().apply(5).mark().apply(5).mark()
    (first, _), *others = story.disk.asked
    assert not others
    assert len(first.changes) == 5
    story.disk.finish()
    story.mark()

    assert len(story.disk.asked[0][0].changes) == 5  # those of the second five


def test_changes_that_a_full_disk_did_not_take_are_in_the_next_checkpoint() -> None:
    story = Story().apply(3).mark()
    story.state.machine.apply(2, [Put(b"k1", b"newer")])
    story.disk.finish(durable=False)
    story.mark()

    changes = story.disk.asked[0][0].changes
    assert sorted(changes) == [b"k1", b"k2", b"k3"]
    assert changes[b"k1"].value == b"newer"  # type: ignore[union-attr]
    assert story.events.names == ["checkpoint_failed"]


def test_nothing_is_cut_before_a_checkpoint_is_durable() -> None:
    story = Story(keep_entries=0).apply(50).mark()

    assert story.checkpoints.cut(0, None) == 0


def test_the_log_is_cut_up_to_the_checkpoint_a_little_at_a_time_and_a_tail_stays() -> None:
    story = Story(keep_entries=100).apply(1_000).mark()
    story.disk.finish()
    base, steps = 0, 0
    while (cut := story.checkpoints.cut(base, None)) != base:
        assert cut - base <= CUT_ENTRIES
        base, steps = cut, steps + 1

    assert base == 1_001 - 100
    assert steps > 1


def test_bytes_bound_the_tail_as_well() -> None:
    story = Story(keep_entries=1_000, keep_bytes=64_000).apply(200).mark()
    story.disk.finish()

    assert 200 - 64 - 2 <= story.cut(0) <= 200 - 64


def test_large_entries_are_cut_in_smaller_steps() -> None:
    story = Story(keep_entries=0, size=1 << 40).apply(40, 1 << 20).mark()
    story.disk.finish()
    steps = [0]
    while (cut := story.checkpoints.cut(steps[-1], None)) != steps[-1]:
        steps.append(cut)

    assert steps[-1] == 41
    assert max(after - before for before, after in pairwise(steps)) <= 2


def test_entries_in_the_log_at_the_start_stay_until_the_other_bound_is_met() -> None:
    story = Story(start=checkpoint(500), keep_entries=400, keep_bytes=64_000)
    assert story.checkpoints.cut(50, None) == 100

    story.apply(100)
    assert story.checkpoints.cut(100, None) <= 500  # never beyond the checkpoint


def test_a_snapshot_on_its_way_keeps_the_entries_after_it() -> None:
    story = Story(keep_entries=0).apply(200).mark()
    story.disk.finish()

    assert story.cut(0, held=120) == 120
    assert story.cut(120) == 201


def test_an_administrator_may_cut_deeper() -> None:
    story = Story(keep_entries=150).apply(200).mark()
    story.disk.finish()
    assert story.cut(0) == 51

    assert story.checkpoints.cut_to(51, keep=20) == 130
    assert story.cut(51) == 181
    assert story.checkpoints.cut_to(181, keep=-1) == 0


def test_a_caller_that_waits_for_a_checkpoint_is_called_when_it_is_durable() -> None:
    story = Story().apply(5)
    done: list[object] = []
    story.checkpoints.when_durable(6, TERM, done.append)
    story.checkpoints.when_durable(7, TERM, done.append)
    story.mark()
    assert done == []
    story.disk.finish()

    assert done == [6]


def test_a_marker_that_was_passed_over_is_repeated_for_a_caller_that_waits() -> None:
    """Else the caller would wait for the next checkpoint, which a quiet cluster never takes."""
    story = Story().apply(5).mark()
    done: list[object] = []
    story.checkpoints.when_durable(7, TERM, done.append)
    assert not story.mark().due
    story.disk.finish()
    assert done == []
    assert story.due

    assert not story.mark().due
    story.disk.finish()
    assert done == [8]
    assert not story.due


def test_a_caller_that_waits_for_a_checkpoint_learns_of_a_full_disk() -> None:
    story = Story().apply(5)
    done: list[object] = []
    story.checkpoints.when_durable(6, TERM, done.append)
    story.mark().disk.finish(durable=False)
    assert [type(each) for each in done] == [CheckpointFailed]
    assert not story.due


def test_a_caller_that_waits_for_a_checkpoint_learns_that_the_leader_is_lost() -> None:
    """Its marker may never be committed: it would wait until the next checkpoint, whenever that is."""
    story = Story().apply(5)
    done: list[object] = []
    story.checkpoints.when_durable(6, TERM, done.append)
    story.checkpoints.follow()
    assert [type(each) for each in done] == [NotLeader]
    assert not story.checkpoints.awaited
    story.mark().disk.finish()
    assert len(done) == 1


def test_a_checkpoint_of_a_later_term_is_not_the_one_that_was_asked_for() -> None:
    """Its marker may have been logged before, by a leader of which this one had not heard: an image at it
    would not hold what was acknowledged in between.
    """
    story = Story().apply(5)
    done: list[object] = []
    story.checkpoints.when_durable(6, TERM, done.append)
    story.mark(TERM + 1).disk.finish()
    assert [type(each) for each in done] == [NotLeader]


def test_a_checkpoint_of_a_machine_that_was_replaced_is_ignored() -> None:
    story = Story().apply(5).mark()
    story.checkpoints.restored(checkpoint(90))
    story.disk.finish()

    assert story.checkpoints.last == checkpoint(90)
    assert story.completed == []
