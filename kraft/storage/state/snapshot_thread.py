"""The thread of snapshots on their way: it reads pinned views for peers, and writes what peers send.

Views have their own connections, so a checkpoint under way does not hold them up. All receivers that start
from the same checkpoint share one view.
"""

import time
from collections.abc import Callable
from typing import Any

from kraft.kv.checkpoint import Checkpoint
from kraft.node.values import Received, Rows
from kraft.storage.ports import StorageObserver
from kraft.storage.state.files import StateFiles
from kraft.storage.state.receiver import DISK_FULL, StateReceiver
from kraft.storage.state.view import StateView
from kraft.storage.worker import Worker

CallInReactor = Callable[..., object]


class SnapshotThread:
    """For the reactor's thread. `released` is called, on this class' own one, when a view has gone."""

    def __init__(
        self,
        files: StateFiles,
        released: Callable[[], None],
        call_in_reactor: CallInReactor,
        fail: Callable[[str], None],
        observer: StorageObserver,
    ) -> None:
        self._files = files
        self._released = released
        self._call_in_reactor = call_in_reactor
        self._observer = observer
        self._worker = Worker("kraft-snapshots", fail)
        self._shared: dict[int, _Shared] = {}  # of the thread: the newest view of each group
        self._open: set[_Shared] = set()  # of the thread

    def open(self, group: int, done: Callable[[Any], None]) -> None:
        """See `host.ports.Disk.open_snapshot`."""
        self._worker.do(lambda: self._open_view(group, done))

    def begin(self, group: int, checkpoint: Checkpoint, done: Callable[[Any], None]) -> None:
        """See `host.ports.Disk.receive_snapshot`."""
        self._worker.do(lambda: self._begin(group, checkpoint, done))

    def stop(self) -> None:
        """Let go of all views. Waits for the thread."""
        self._worker.do(self._close_all)
        self._worker.stop()

    @property
    def waiting(self) -> int:
        """Calls that the thread has not begun."""
        return self._worker.waiting

    # The thread itself.

    def _open_view(self, group: int, done: Callable[[Any], None]) -> None:
        shared = self._shared.get(group)
        if shared is None or not shared.users or shared.view.checkpoint != self._files.checkpoint(group):
            view = self._files.open_view(group)
            if view is None:
                self._call_in_reactor(done, None)
                return
            shared = self._shared[group] = _Shared(view)
            self._open.add(shared)
        shared.users += 1
        handle = OpenSnapshot(shared, self._worker, self._let_go, self._call_in_reactor)
        self._call_in_reactor(done, handle)

    def _let_go(self, shared: "_Shared") -> None:
        shared.users -= 1
        if not shared.users and shared in self._open:
            self._open.remove(shared)
            shared.view.close()
            self._released()

    def _begin(self, group: int, checkpoint: Checkpoint, done: Callable[[Any], None]) -> None:
        receiver = self._files.begin(group, checkpoint)
        if receiver is None:
            self._call_in_reactor(self._observer.error, "snapshot")
            self._call_in_reactor(done, None)
            return
        arriving = IncomingSnapshot(
            group, receiver, self._worker, self._files, self._call_in_reactor, self._observer
        )
        self._call_in_reactor(done, arriving)

    def _close_all(self) -> None:
        for shared in self._open:
            shared.view.close()
        self._open.clear()


class _Shared:
    """A view and how many use it."""

    def __init__(self, view: StateView) -> None:
        self.view = view
        self.users = 0


class OpenSnapshot:
    """`host.ports.SnapshotReader`. For the reactor's thread."""

    def __init__(
        self,
        shared: _Shared,
        worker: Worker,
        let_go: Callable[[_Shared], None],
        call_in_reactor: CallInReactor,
    ) -> None:
        self._shared = shared
        self._worker = worker
        self._let_go = let_go
        self._call_in_reactor = call_in_reactor
        self._closed = False

    @property
    def checkpoint(self) -> Checkpoint:
        """What the view holds."""
        return self._shared.view.checkpoint

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Any], None]) -> None:
        """See `host.ports.SnapshotReader`; `done` is given `values.Rows`."""

        def work() -> None:
            if not self._closed:
                rows = self._shared.view.read(after, max_bytes)
                self._call_in_reactor(self._answer, done, rows)

        self._worker.do(work)

    def _answer(self, done: Callable[[Any], None], rows: Rows) -> None:
        if not self._closed:
            done(rows)

    def close(self) -> None:
        """Let go of it; reads under way are not answered any more."""
        if not self._closed:
            self._closed = True
            self._worker.do(lambda: self._let_go(self._shared))


class IncomingSnapshot:
    """`host.ports.SnapshotWriter`. For the reactor's thread."""

    def __init__(
        self,
        group: int,
        receiver: StateReceiver,
        worker: Worker,
        files: StateFiles,
        call_in_reactor: CallInReactor,
        observer: StorageObserver,
    ) -> None:
        self._group = group
        self._receiver = receiver
        self._worker = worker
        self._files = files
        self._call_in_reactor = call_in_reactor
        self._observer = observer

    def write(self, data: bytes, done: Callable[[str], None]) -> None:
        """See `host.ports.SnapshotWriter`."""

        def work() -> None:
            wrong = self._receiver.write(data)
            if wrong == DISK_FULL:
                self._call_in_reactor(self._observer.error, "snapshot")
            self._call_in_reactor(done, wrong)

        self._worker.do(work)

    def finish(self, done: Callable[[Any], None]) -> None:
        """See `host.ports.SnapshotWriter`; `done` is given `values.Received` or a text."""

        def work() -> None:
            began = time.perf_counter()
            received = self._receiver.finish()
            if isinstance(received, Received):
                seconds = time.perf_counter() - began
                self._call_in_reactor(self._observer.checkpoint_loaded, self._group, seconds)
            self._call_in_reactor(done, received)

        self._worker.do(work)

    def abandon(self) -> None:
        """Remove the file, unless it is in use."""
        self._worker.do(lambda: self._files.give_up(self._group, self._receiver))
