"""The snapshot thread: it reads pinned views for peers, and writes what peers send.

Views have connections of their own, so a checkpoint under way does not hold them up. All receivers that start
from the same checkpoint share one view.
"""

import time
from collections.abc import Callable

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Received, Rows
from kraft.storage.errors import CannotOpen
from kraft.storage.ports import DISK_FULL
from kraft.storage.reactor_thread import ReactorThread
from kraft.storage.state.checkpoint_thread import CheckpointThread
from kraft.storage.state.files import StateFiles
from kraft.storage.state.state_receiver import StateReceiver
from kraft.storage.state.view import StateView
from kraft.storage.worker import Worker


class SnapshotThread:
    """Opens and begins snapshots; its public methods are for the reactor's thread."""

    def __init__(self, files: StateFiles, checkpoints: CheckpointThread, reactor: ReactorThread) -> None:
        self.files = files
        self.reactor = reactor
        self.worker = Worker("kraft-snapshots", reactor)
        self._checkpoints = checkpoints
        self._newest: dict[int, _SharedView] = {}  # of the thread: by group
        self._open: set[_SharedView] = set()  # of the thread

    def open(self, group: int, done: "Callable[[OpenSnapshot | None], None]") -> None:
        """Pin the group's last checkpoint; None when there is none, or its file cannot be opened."""
        self.worker.do(lambda: self._open_view(group, done))

    def receive(
        self, group: int, checkpoint: Checkpoint, done: "Callable[[IncomingSnapshot | None], None]"
    ) -> None:
        """Begin a state file for `checkpoint`, which a peer sends; None when the disk is full.

        Also None when the file cannot be opened.
        """
        self.worker.do(lambda: self._begin(group, checkpoint, done))

    def stop(self) -> None:
        """Close all views. Waits for the thread."""
        self.worker.do(self._close_all)
        self.worker.stop()

    @property
    def waiting(self) -> int:
        """Calls that the thread has not begun."""
        return self.worker.waiting

    # The thread itself.

    def _open_view(self, group: int, done: "Callable[[OpenSnapshot | None], None]") -> None:
        shared = self._newest.get(group)
        if shared is None or not shared.users or shared.view.checkpoint != self.files.checkpoint(group):
            try:
                view = self.files.open_view(group)
            except CannotOpen as error:
                self.reactor.run(self.reactor.observer.error, "snapshot", str(error))
                view = None
            if view is None:
                self.reactor.run(done, None)
                return
            shared = self._newest[group] = _SharedView(view)
            self._open.add(shared)
        shared.users += 1
        self.reactor.run(done, OpenSnapshot(self, shared))

    def release(self, shared: "_SharedView") -> None:
        """Release one use of the view, on the thread; the last release closes it."""
        shared.users -= 1
        if not shared.users and shared in self._open:
            self._open.remove(shared)
            shared.view.close()
            self._checkpoints.tidy()  # one reader fewer: the WAL may be emptied

    def _begin(
        self, group: int, checkpoint: Checkpoint, done: "Callable[[IncomingSnapshot | None], None]"
    ) -> None:
        reason = DISK_FULL
        try:
            receiver = self.files.receive(group, checkpoint)
        except CannotOpen as error:
            receiver, reason = None, str(error)
        if receiver is None:
            self.reactor.run(self.reactor.observer.error, "snapshot", reason)
            self.reactor.run(done, None)
            return
        self.reactor.run(done, IncomingSnapshot(self, group, receiver))

    def _close_all(self) -> None:
        for shared in self._open:
            shared.view.close()
        self._open.clear()


class _SharedView:
    """A view, and the number of its users."""

    def __init__(self, view: StateView) -> None:
        self.view = view
        self.users = 0


class OpenSnapshot:
    """A pinned checkpoint that is sent to a peer: `host.ports.SnapshotReader`. For the reactor's thread."""

    def __init__(self, thread: SnapshotThread, shared: _SharedView) -> None:
        self._thread = thread
        self._shared = shared
        self._closed = False

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the view shows."""
        return self._shared.view.checkpoint

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        """Read rows after the key `after` (None: from the first), about `max_bytes`, at least one if any."""
        self._thread.worker.do(lambda: self._read(after, max_bytes, done))

    def close(self) -> None:
        """Unpin it; reads under way are not answered any more."""
        if not self._closed:
            self._closed = True
            self._thread.worker.do(lambda: self._thread.release(self._shared))

    def _read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        """On the snapshot thread."""
        if not self._closed:
            rows = self._shared.view.read(after, max_bytes)
            self._thread.reactor.run(self._answer, done, rows)

    def _answer(self, done: Callable[[Rows], None], rows: Rows) -> None:
        if not self._closed:
            done(rows)


class IncomingSnapshot:
    """A snapshot that a peer sends: `host.ports.SnapshotWriter`. For the reactor's thread."""

    def __init__(self, thread: SnapshotThread, group: int, receiver: StateReceiver) -> None:
        self._thread = thread
        self._group = group
        self._receiver = receiver

    def write(self, data: bytes, done: Callable[[str], None]) -> None:
        """Add `Rows.data`; '' when it is in the file, else what is wrong, and then nothing of it is."""
        self._thread.worker.do(lambda: self._write(data, done))

    def finish(self, done: Callable[[Received | str], None]) -> None:
        """Compare with what was promised, make it durable, load it; a text says what is wrong."""
        self._thread.worker.do(lambda: self._finish(done))

    def abandon(self) -> None:
        """Remove the file, unless it is in use."""
        self._thread.worker.do(lambda: self._thread.files.discard(self._group, self._receiver))

    # On the snapshot thread.

    def _write(self, data: bytes, done: Callable[[str], None]) -> None:
        reactor = self._thread.reactor
        wrong = self._receiver.write(data)
        if wrong == DISK_FULL:
            reactor.run(reactor.observer.error, "snapshot")
        reactor.run(done, wrong)

    def _finish(self, done: Callable[[Received | str], None]) -> None:
        reactor = self._thread.reactor
        began = time.perf_counter()
        received = self._receiver.finish()
        if isinstance(received, Received):
            reactor.run(reactor.observer.checkpoint_loaded, self._group, time.perf_counter() - began)
        reactor.run(done, received)
