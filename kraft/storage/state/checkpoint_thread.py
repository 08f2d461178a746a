"""The thread of checkpoints: it brings state files up to date, in small slices, beside all other work.

It alone writes the groups' present state files and decides which they are. A checkpoint belongs to the state
machine it was taken from: when a snapshot takes that one's place, the writer thread says so here before the
reactor hears of it, and what was captured before then is not written to the new file.
"""

import time
from collections import Counter
from collections.abc import Callable

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.storage.ports import Settings, StorageObserver
from kraft.storage.state.files import Point, StateFiles
from kraft.storage.worker import Worker

PAUSE_TIMES = 3  # what was worked: with as much pause as work, writers saw 2.4 times their quiet p99, so 1.8
PAUSE_SECONDS_MAX = 0.05  # a slice may have waited for the disk or for Python's lock: no need to repay all


class Stopped(Exception):
    """The store is closing: work that can be repeated is dropped."""


class CheckpointThread:
    """Reactor's thread: `checkpoint`, `heard`, `stop`. Writer thread: `switch`. `tidy` may come from any."""

    def __init__(
        self,
        files: StateFiles,
        point: Point,
        settings: Settings,
        call_in_reactor: Callable[..., object],
        fail: Callable[[str], None],
        observer: StorageObserver,
    ) -> None:
        self._files = files
        self._point = point
        self._slice_seconds = settings.slice_seconds
        self._call_in_reactor = call_in_reactor
        self._observer = observer
        self._switched: Counter[int] = Counter()  # of this thread: how often a group changed its file
        self._heard: Counter[int] = Counter()  # of the reactor's: how many of these it knows of
        self._stopping = False
        self._since = 0.0
        self._worker = Worker("kraft-state", fail)

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """See `host.ports.Disk`."""
        known = self._heard[group]
        self._worker.do(lambda: self._write(group, capture, known, done))

    def switch(self, group: int, number: int) -> None:
        """A commit has made `number` the group's file."""
        self._worker.do(lambda: self._switch(group, number))

    def heard(self, group: int) -> None:
        """The reactor learns of a switch: captures from now on are of the new state machine."""
        self._heard[group] += 1

    def tidy(self) -> None:
        """Look after the files when there is time."""
        self._worker.do(self._tidy)

    def stop(self) -> None:
        """Drop a checkpoint under way, let go of the files. Waits for the thread."""
        self._stopping = True
        self._worker.do(self._files.close)
        self._worker.stop()

    @property
    def waiting(self) -> int:
        """Calls that the thread has not begun."""
        return self._worker.waiting

    # The thread itself.

    def _write(
        self, group: int, capture: Capture, known: int, done: Callable[[Checkpoint | None], None]
    ) -> None:
        if known != self._switched[group]:
            self._call_in_reactor(done, None)
            return
        began = self._since = time.perf_counter()
        try:
            checkpoint = self._files.write(group, capture, self._point, self._pause)
        except Stopped:
            return
        seconds = time.perf_counter() - began
        self._call_in_reactor(self._written, group, checkpoint, known, done)
        if checkpoint is None:
            self._call_in_reactor(self._observer.checkpoint_failed, group)
            self._call_in_reactor(self._observer.error, "state")
        else:
            written = (len(capture.changes), checkpoint.base.index, checkpoint.size)
            self._call_in_reactor(self._observer.checkpoint_written, group, seconds, *written)
        self._tidy()

    def _written(
        self, group: int, checkpoint: Checkpoint | None, known: int, done: Callable[[Checkpoint | None], None]
    ) -> None:
        done(checkpoint if known == self._heard[group] else None)

    def _pause(self) -> None:
        """Let the others have Python's lock and the disk for longer than this thread had them."""
        if self._stopping:
            raise Stopped
        worked = time.perf_counter() - self._since
        if worked >= self._slice_seconds:
            time.sleep(min(PAUSE_TIMES * worked, PAUSE_SECONDS_MAX))
            self._since = time.perf_counter()

    def _switch(self, group: int, number: int) -> None:
        self._switched[group] += 1
        self._files.switch(group, number)

    def _tidy(self) -> None:
        if self._stopping:
            return
        began = time.perf_counter()
        if self._files.tidy():
            time.sleep(min(time.perf_counter() - began, PAUSE_SECONDS_MAX))
            self._worker.do(self._tidy)
