"""When a replica writes its state to disk, and how much of the log before that checkpoint it keeps.

The leader logs a marker when a checkpoint is due. Every replica takes its checkpoint at the moment when it
applies the marker, so that all checkpoints of one marker can be compared. A marker that arrives while a
checkpoint is being written is passed over; it is repeated if a caller waits for its checkpoint. So is one
that arrives while checkpoints are `paused`, because an image needs one at a marker that is yet to come.
A caller waits for the marker of one leader: if that is lost, another entry may have taken its place.

The log is cut only up to a durable checkpoint, a little in every tick. A tail of entries before the
checkpoint stays for followers that were away for a moment.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Protocol

from kraft.host.applied_state import AppliedState
from kraft.host.ports import Disk, HostObserver
from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.kv.machine import Machine
from kraft.node.errors import CheckpointFailed, NotLeader
from kraft.raft.membership.configuration import Base

CUT_ENTRIES = 256  # cut in one tick, at most: deleting them takes the writer about a millisecond
CUT_BYTES = 2 << 20  # the same for large entries, as far as their sizes are known
MARKS = 64  # places in the log whose size is remembered: bytes to keep are met within 2 %
MARK_BYTES = 1 << 10  # between two of them, at least

Waiter = Callable[[int | CheckpointFailed | NotLeader], None]  # gets the index of a durable checkpoint


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """The bounds of the configuration's section `snapshot`. The interval is in seconds, 0 for never."""

    entries: int
    size: int
    interval: float
    keep_entries: int
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A caller that waits for the checkpoint of a marker."""

    index: int
    term: int
    done: Waiter


class CheckpointOwner(Protocol):
    """The group, as `Checkpoints` sees it."""

    def checkpoint_completed(self, checkpoint: Checkpoint) -> None:
        """`checkpoint` is durable."""


class Checkpoints:
    """The checkpoints of one replica, with the state `state`.

    `last` is the newest durable one, None before the first. `note` is to be called when the bytes of the
    applied entries have reached `note_at`.
    """

    def __init__(
        self,
        group: int,
        state: AppliedState,
        disk: Disk,
        observer: HostObserver,
        settings: CheckpointSettings,
        checkpoint: Checkpoint | None,
        owner: CheckpointOwner,
    ) -> None:
        self.last = checkpoint
        self.paused = False
        self._group = group
        self._state = state
        self._disk = disk
        self._observer = observer
        self._settings = settings
        self._owner = owner
        self._busy: Machine | None = None  # whose checkpoint is being written
        self._marked_index = checkpoint.base.index if checkpoint is not None else 0  # of the last marker
        self._marked_at = 0.0
        self._marked_bytes = 0
        self._sizes: deque[tuple[int, int]] = deque()  # (index, bytes up to it), ascending
        self._note_every = max(MARK_BYTES, min(CUT_BYTES, settings.keep_bytes // MARKS))
        self.note_at = self._note_every
        self._waiting: list[_Awaited] = []
        self._cut_to = 0  # asked for by an administrator

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._busy is not None

    @property
    def awaited(self) -> bool:
        """Whether an administrator waits for a checkpoint."""
        return bool(self._waiting)

    @property
    def replay_bytes(self) -> int:
        """The bytes of the entries after the last marker, which a start would replay."""
        return self._state.bytes - self._marked_bytes

    def due(self, now: float) -> bool:
        """Whether the leader should log a marker."""
        settings, applied = self._settings, self._state.index
        if not self._state.machine.keyspace.changed:
            self._marked_at = now  # the interval runs from the first change
        if self._busy is not None or self.paused:
            return False
        if any(each.index <= applied for each in self._waiting):
            return True  # its marker was passed over
        if applied == self._marked_index:
            return False
        if applied - self._marked_index >= settings.entries:
            return True
        if self.replay_bytes >= settings.size:
            return True
        return bool(settings.interval) and now - self._marked_at >= settings.interval

    def note(self) -> None:
        """Remember how many bytes lead up to the last applied entry."""
        size = self._state.bytes
        self._sizes.append((self._state.index, size))
        self.note_at = size + self._note_every

    def marker(self, base: Base, now: float) -> None:
        """The marker at `base` was applied: take a checkpoint, unless one is being written."""
        self._marked_index, self._marked_at, self._marked_bytes = base.index, now, self._state.bytes
        if self._busy is not None or self.paused:
            return
        self._busy = machine = self._state.machine
        capture = machine.capture(base)
        self._disk.checkpoint(self._group, capture, partial(self._written, machine, capture))

    def when_durable(self, index: int, term: int, done: Waiter) -> None:
        """Call `done` with the index of the first checkpoint at or after the marker `index`, once durable.

        This replica has logged the marker as the leader of `term`. `done` gets `CheckpointFailed` if a
        checkpoint fails before that, and `NotLeader` if this replica leads no more, or in another term: a
        checkpoint of a later term may be one of before the marker was asked for.
        """
        self._waiting.append(_Awaited(index, term, done))

    def follow(self) -> None:
        """This replica no longer leads: callers that wait for a checkpoint must ask its successor."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.done(NotLeader(self._group, ""))

    def restored(self, checkpoint: Checkpoint) -> None:
        """The state machine was replaced by the one of a received snapshot, `checkpoint`."""
        self.last = checkpoint
        self._busy = None
        self._marked_index, self._marked_bytes = checkpoint.base.index, self._state.bytes
        self._sizes.clear()

    def cut(self, base: int, held: int | None) -> int:
        """The index up to which the log may be cut in this tick. `base` is the index before its first entry.

        `held` is the index of a snapshot on its way: its receiver needs the entries after it.
        """
        if self.last is None:
            return base
        last = self.last.base.index
        sizes = self._sizes
        most = max(last - self._settings.keep_entries, self._cut_to, self._beyond_bytes() if sizes else 0)
        if most <= base:
            return base  # most often
        if held is not None:
            most = min(most, held)
        while sizes and sizes[0][0] <= base:
            sizes.popleft()
        if sizes:
            most = min(most, sizes[0][0])
        return max(base, min(last, most, base + CUT_ENTRIES))

    def cut_to(self, base: int, keep: int) -> int:
        """Over the next ticks, cut the log to `keep` entries before the last checkpoint.

        A `keep` below 0 means: as configured. Returns the number of entries that are dropped.
        """
        if self.last is None:
            return 0
        if keep >= 0:
            self._cut_to = self.last.base.index - keep
            return max(0, self._cut_to - base)
        kept = max(self.last.base.index - self._settings.keep_entries, self._beyond_bytes())
        return max(0, kept - base)

    def _beyond_bytes(self) -> int:
        """The highest remembered index that has the bytes to keep after it; 0 if there is none.

        Entries that were in the log at the start are not counted: they stay until the other bound is met.
        """
        floor = self._state.bytes - self._settings.keep_bytes
        place = bisect_right(self._sizes, floor, key=itemgetter(1))
        return self._sizes[place - 1][0] if place else 0

    def _written(self, machine: Machine, capture: Capture, checkpoint: Checkpoint | None) -> None:
        if self._busy is not machine:
            return  # a snapshot has replaced that machine
        self._busy = None
        if checkpoint is None:
            machine.keyspace.give_back(capture.changes, cleared=capture.cleared)
            machine.keyspace.ledger.give_back(capture.ledger)
            self._observer.event("checkpoint_failed", group=self._group, index=capture.base.index)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.done(CheckpointFailed())
            return
        self.last = checkpoint
        base = checkpoint.base
        ready = [each for each in self._waiting if each.index <= base.index]
        self._waiting = [each for each in self._waiting if each.index > base.index]
        self._owner.checkpoint_completed(checkpoint)
        for each in ready:
            each.done(base.index if each.term == base.term else NotLeader(self._group, ""))
