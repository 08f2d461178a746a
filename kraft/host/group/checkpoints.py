"""When a replica copies its state to disk, and how much of the log it keeps behind the copy.

The leader logs a marker when a checkpoint is due; every replica takes its checkpoint in the very moment it
applies the marker, so that all of them can be compared. A marker that comes while a checkpoint still runs is
passed over, and repeated when somebody waits for its checkpoint. The log is cut only behind a checkpoint that
is durable, a little in every tick, and a tail stays for followers that were away for a moment.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from kraft.host.ports import Disk, HostObserver
from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.kv.machine import Machine
from kraft.node.errors import DiskFull
from kraft.raft.log.log import entry_bytes
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry

CUT_ENTRIES = 256  # in one tick: deleting them takes about a millisecond of the writer's time
CUT_BYTES = 2 << 20  # the same for large ones, as far as their sizes are known
MARKS = 64  # places in the log whose size is remembered: bytes to keep are met within 2 %
MARK_BYTES = 1 << 10  # between two of them at least

Waiter = Callable[[int | DiskFull], None]  # gets the index of a checkpoint


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """As in the configuration's section `snapshot`; the interval is in seconds, 0 for never."""

    entries: int
    size: int
    interval: float
    keep_entries: int
    keep_bytes: int


class Checkpoints:
    """One group's. `last` is the newest durable one, None before the first.

    `completed` is told of each that became durable.
    """

    def __init__(
        self,
        group: int,
        disk: Disk,
        observer: HostObserver,
        settings: CheckpointSettings,
        checkpoint: Checkpoint | None,
        completed: Callable[[Checkpoint], None],
    ) -> None:
        self.last = checkpoint
        self._group = group
        self._disk = disk
        self._observer = observer
        self._settings = settings
        self._completed = completed
        self._busy: Machine | None = None  # whose checkpoint is being written
        self._marked_index = checkpoint.base.index if checkpoint is not None else 0  # of the last marker
        self._marked_at = 0.0
        self._bytes = 0  # of all entries seen
        self._marked_bytes = 0
        self._sizes: deque[tuple[int, int]] = deque()  # (index, bytes up to it), ascending
        self._noted = 0  # bytes at the last of these
        self._note_every = max(MARK_BYTES, min(CUT_BYTES, settings.keep_bytes // MARKS))
        self._waiting: list[tuple[int, Waiter]] = []  # (index, done)
        self._cut_to = 0  # asked for by an administrator

    @property
    def busy(self) -> bool:
        """A checkpoint is being written."""
        return self._busy is not None

    def due(self, now: float, applied: int, machine: Machine) -> bool:
        """Whether the leader should log a marker."""
        settings = self._settings
        if not machine.keyspace.changed:
            self._marked_at = now  # the time runs from the first change
        if self._busy is not None:
            return False
        if any(index <= applied for index, _ in self._waiting):
            return True  # its marker was passed over
        if applied == self._marked_index:
            return False
        if applied - self._marked_index >= settings.entries:
            return True
        if self._bytes - self._marked_bytes >= settings.size:
            return True
        return bool(settings.interval) and now - self._marked_at >= settings.interval

    def applied(self, entry: Entry) -> None:
        """An entry went into the state machine."""
        self._bytes += entry_bytes(entry)
        if self._bytes - self._noted >= self._note_every:
            self._noted = self._bytes
            self._sizes.append((entry.index, self._bytes))

    def marker(self, base: Base, machine: Machine, now: float) -> None:
        """The marker at `base` was applied to `machine`: take the checkpoint, unless one is being written."""
        self._marked_index, self._marked_at, self._marked_bytes = base.index, now, self._bytes
        if self._busy is not None:
            return
        self._busy = machine
        capture = machine.capture(base)
        self._disk.checkpoint(self._group, capture, lambda written: self._written(machine, capture, written))

    def when_durable(self, index: int, done: Waiter) -> None:
        """Run `done` with the index of the first checkpoint at or above `index`, once it is durable.

        It gets DiskFull when the next one fails.
        """
        self._waiting.append((index, done))

    def restored(self, checkpoint: Checkpoint) -> None:
        """The state machine was replaced by the one of a received snapshot, `checkpoint`."""
        self.last = checkpoint
        self._busy = None
        self._marked_index, self._marked_bytes = checkpoint.base.index, self._bytes
        self._sizes.clear()

    def cut(self, base: int, held: int | None) -> int:
        """Up to where the log may be cut in this tick; `base` is where it begins now.

        `held`: a snapshot at this index is on its way, and its receiver will need what follows.
        """
        if self.last is None:
            return base
        last = self.last.base.index
        most = max(last - self._settings.keep_entries, self._beyond_bytes(), self._cut_to)
        if held is not None:
            most = min(most, held)
        sizes = self._sizes
        while sizes and sizes[0][0] <= base:
            sizes.popleft()
        if sizes:
            most = min(most, sizes[0][0])
        return max(base, min(last, most, base + CUT_ENTRIES))

    def cut_to(self, base: int, keep: int) -> int:
        """Cut, in the ticks to come, to `keep` entries behind the last checkpoint, below 0 as configured; how
        many entries go by that.
        """
        if self.last is None:
            return 0
        if keep >= 0:
            self._cut_to = self.last.base.index - keep
            return max(0, self._cut_to - base)
        kept = max(self.last.base.index - self._settings.keep_entries, self._beyond_bytes())
        return max(0, kept - base)

    def _beyond_bytes(self) -> int:
        """The highest remembered index with more than the bytes to keep behind it; 0 when there is none.

        Entries that were in the log at the start are not counted: they stay until the other bound is met.
        """
        floor = self._bytes - self._settings.keep_bytes
        place = bisect_right(self._sizes, floor, key=itemgetter(1))
        return self._sizes[place - 1][0] if place else 0

    def _written(self, machine: Machine, capture: Capture, checkpoint: Checkpoint | None) -> None:
        if self._busy is not machine:
            return  # a snapshot has taken the place of that machine
        self._busy = None
        if checkpoint is None:
            machine.keyspace.give_back(capture.changes)
            self._observer.event("checkpoint_failed", group=self._group, index=capture.base.index)
            waiting, self._waiting = self._waiting, []
            for _, done in waiting:
                done(DiskFull())
            return
        self.last = checkpoint
        ready = [done for index, done in self._waiting if index <= checkpoint.base.index]
        self._waiting = [(index, done) for index, done in self._waiting if index > checkpoint.base.index]
        self._completed(checkpoint)
        for done in ready:
            done(checkpoint.base.index)
