"""The checkpoint thread: it brings state files up to date, in small slices, alongside all other work.

It alone writes the groups' present state files. A checkpoint belongs to the state machine it was captured
from. When a snapshot replaces that machine, the reactor's thread says so here, in the callback of the commit
that switches to the snapshot's file and before the host hears of it. What was captured before then reaches
this thread before the switch and goes to the old file; its answer is None.
"""

import time
from collections import Counter
from collections.abc import Callable

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.storage.errors import CannotOpen
from kraft.storage.log.writer import LogWriter, WriterStopped
from kraft.storage.ports import DISK_FULL, StorageSettings
from kraft.storage.reactor_thread import ReactorThread
from kraft.storage.state.files import StateFiles
from kraft.storage.worker import Worker

PAUSE_TIMES = 3  # of the time worked. With 1, writers had 2.4 times the p99 of no checkpoint; with 3, 1.8
RELEASED_KEYS = 1000  # at once: 0.02 ms
PAUSE_SECONDS_MAX = 0.05  # a slice may have waited for the disk or for Python's lock: not all needs repaying


class _Stopped(Exception):
    """The store is closing: a checkpoint under way is dropped."""


class CheckpointThread:
    """`checkpoint`, `switch`, `forget` and `stop` are for the reactor's thread, `tidy` for any."""

    def __init__(
        self, files: StateFiles, writer: LogWriter, settings: StorageSettings, reactor: ReactorThread
    ) -> None:
        self._files = files
        self._writer = writer
        self._slice_seconds = settings.slice_seconds
        self._reactor = reactor
        self._switches: Counter[int] = Counter()  # of the reactor's thread: by group
        self._stopping = False
        self._since = 0.0  # of this thread: when the slice began
        self._worker = Worker("kraft-state", reactor)

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """Bring the group's state file to `capture`.

        `done(None)` when the disk is full or the file cannot be opened, or when a snapshot replaced the
        captured machine meanwhile.
        """
        switches = self._switches[group]
        self._worker.do(lambda: self._write(group, capture, switches, done))

    def switch(self, group: int, number: int) -> None:
        """A commit has made `number` the group's file: captures from now on are of another state machine."""
        self._switches[group] += 1
        self._worker.do(lambda: self._files.switch(group, number))

    def forget(self, group: int, done: Callable[[], None]) -> None:
        """A commit has destroyed the group's replica: captures of it go nowhere.

        `done` runs when its file is removed, after all that was captured before.
        """
        self._switches[group] += 1
        self._worker.do(lambda: self._forget(group, done))

    def tidy(self) -> None:
        """Look after the files when there is time."""
        self._worker.do(self._tidy)

    def stop(self) -> None:
        """Drop a checkpoint under way and close the files. Waits for the thread."""
        self._stopping = True
        self._worker.do(self._files.close)
        self._worker.stop()

    @property
    def waiting(self) -> int:
        """Calls that the thread has not begun."""
        return self._worker.waiting

    # The thread itself.

    def _write(
        self, group: int, capture: Capture, switches: int, done: Callable[[Checkpoint | None], None]
    ) -> None:
        began = self._since = time.perf_counter()
        reason = DISK_FULL
        keys = len(capture.changes) + len(capture.ledger)
        try:
            checkpoint = self._files.write(group, capture, self._writer, self._pause)
            if checkpoint is not None:
                self._release(capture)
        except (_Stopped, WriterStopped):
            return
        except CannotOpen as error:
            checkpoint, reason = None, str(error)
        seconds = time.perf_counter() - began
        self._reactor.run(self._written, group, checkpoint, switches, done)
        observer = self._reactor.observer
        if checkpoint is None:
            self._reactor.run(observer.checkpoint_failed, group)
            self._reactor.run(observer.error, "state", reason)
        else:
            self._reactor.run(
                observer.checkpoint_written, group, seconds, keys, checkpoint.base.index, checkpoint.size
            )
        self._tidy()

    def _forget(self, group: int, done: Callable[[], None]) -> None:
        self._files.forget(group)
        self._reactor.run(done)

    def _written(
        self,
        group: int,
        checkpoint: Checkpoint | None,
        switches: int,
        done: Callable[[Checkpoint | None], None],
    ) -> None:
        """On the reactor's thread."""
        done(checkpoint if switches == self._switches[group] else None)

    def _release(self, capture: Capture) -> None:
        """Free what was written, in pieces: a million keys at once would hold Python's lock for 12 ms."""
        for changes in (capture.changes, capture.ledger):
            while changes:
                for _ in range(min(RELEASED_KEYS, len(changes))):
                    changes.popitem()
                self._pause()

    def _pause(self) -> None:
        """Let other threads have Python's lock and the disk for longer than this one had them."""
        if self._stopping:
            raise _Stopped
        worked = time.perf_counter() - self._since
        if worked >= self._slice_seconds:
            time.sleep(min(PAUSE_TIMES * worked, PAUSE_SECONDS_MAX))
            self._since = time.perf_counter()

    def _tidy(self) -> None:
        if self._stopping:
            return
        began = time.perf_counter()
        if self._files.tidy():
            time.sleep(min(time.perf_counter() - began, PAUSE_SECONDS_MAX))
            self._worker.do(self._tidy)
