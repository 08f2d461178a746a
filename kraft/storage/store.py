"""`Store`: the writer thread around `LogDatabase`, and the `host.ports.Disk` that the reactor sees.

Group commit: whatever waits when the thread is free goes into one transaction and one fsync, and all its
answers cross to the reactor in one call. Checkpoints run between commits, when nobody waits if that is
possible.

A full disk fails every transaction that waits, also those that were handed over before the host could hear of
the failure: they were made on top of the ones that failed. Each carries the era in which it was handed over;
a failure ends the era, and the reactor's thread enters the next one just before it runs the failed callbacks.

State files have two threads of their own, `checkpoint_thread` and `snapshot_thread`; only what changes
the log's database,
the name of a group's file, passes through here.
"""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import apsw

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.node.values import Loaded, Transaction
from kraft.raft.messages import Entry
from kraft.storage import ballast
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import NoSpace, StorageError
from kraft.storage.lock import DirectoryLock
from kraft.storage.log.database import LogDatabase
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE, WAL_FILE
from kraft.storage.ports import Directory, Settings, StorageObserver
from kraft.storage.sqlite import PAGE_BYTES
from kraft.storage.state.checkpoint_thread import CheckpointThread, Stopped
from kraft.storage.state.files import StateFiles
from kraft.storage.state.snapshot_thread import SnapshotThread

IDLE_SECONDS = 0.05  # without work for so long, the writer thread looks after free pages
RETRY_SECONDS = 1.0  # until what found no space is tried again


class _Commit(NamedTuple):
    transaction: Transaction
    done: Callable[[bool], None]
    era: int


class _Fetch(NamedTuple):
    group: int
    first: int
    last: int
    max_bytes: int
    done: Callable[[Sequence[Entry]], None]


class _Fence(NamedTuple):
    group: int
    fenced: bool
    done: Callable[[], None]


class _Point(NamedTuple):
    group: int
    number: int
    answer: SimpleQueue[bool]


class _Ping(NamedTuple):
    done: Callable[[], None]


_Work = _Commit | _Fetch | _Fence | _Point | _Ping | None  # None: close


def open_store(
    directory: str,
    *,
    node_id: str,
    incarnation: Callable[[], str],
    call_in_reactor: Callable[..., object],
    fatal: Callable[[str], None],
    observer: StorageObserver,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    vfs: str = "",
) -> "Store":
    """Lock, open and load the data directory of `node_id`, and start the threads.

    An empty directory becomes this node's, with the incarnation that `incarnation()` gives, durable on
    return. `call_in_reactor(function, *arguments)` runs a function on the reactor's thread
    (`callFromThread`). `fatal` is called there, once, with one line, when the disk failed; nothing is
    answered any more after it. Raises `StorageError` with one line that says why the directory cannot be
    used.
    """
    prepare_directory(directory)
    lock = DirectoryLock(directory)
    files = RealDirectory(directory)

    def opened() -> tuple[LogDatabase, StateFiles]:
        database = LogDatabase(files, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs)
        try:
            return database, _load_states(files, database, settings, observer)
        except BaseException:
            database.abandon()
            raise

    try:
        try:
            database, states = opened()
        except NoSpace:
            if not ballast.throw_off(directory):
                raise
            database, states = opened()
    except BaseException:
        lock.release()
        raise
    ballast.lay_in(directory)
    return Store(database, states, files, lock, settings, call_in_reactor, fatal, observer)


def _load_states(
    files: Directory, database: LogDatabase, settings: Settings, observer: StorageObserver
) -> StateFiles:
    """On the real disk, whatever VFS the log is on: readers need shared memory."""
    began = time.perf_counter()
    states = StateFiles(files, database.loaded, database.replica, settings=settings)
    for group in states.loaded.checkpoints:
        observer.checkpoint_loaded(group, time.perf_counter() - began)
    return states


class Store:
    """`host.ports.Disk` on a `LogDatabase`. All methods are for the reactor's thread.

    `loaded` is what the directory held; `sqlite_version` is that of the library in use; `closed` is true
    after `close`.
    """

    sqlite_version: str = apsw.sqlite_lib_version()

    def __init__(
        self,
        database: LogDatabase,
        states: StateFiles,
        directory: Directory,
        lock: DirectoryLock,
        settings: Settings,
        call_in_reactor: Callable[..., object],
        fatal: Callable[[str], None],
        observer: StorageObserver,
    ) -> None:
        self.loaded: Loaded = states.loaded
        self._database = database
        self._directory = directory
        self._lock = lock
        self._settings = settings
        self._call_in_reactor = call_in_reactor
        self._fatal = fatal
        self._observer = observer
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._era = 0  # of the reactor's thread
        self._writable_era = 0  # of the writer thread: work of earlier eras fails
        self._checkpoint_at = settings.wal_bytes
        self._checkpoint_forced_at = settings.wal_bytes_max
        self._vacuum_above = settings.free_bytes // PAGE_BYTES
        self._fences: list[_Fence] = []  # of the writer thread: those that found no space
        self._failed = False
        self.closed = False
        self._states = states
        self._thread = Thread(target=self._run, name="kraft-writer", daemon=True)
        self._thread.start()
        self._checkpoints = CheckpointThread(
            states, self._point, settings, call_in_reactor, self._fail, observer
        )
        self._snapshots = SnapshotThread(
            states, self._checkpoints.tidy, call_in_reactor, self._fail, observer
        )

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        """See `host.ports.Disk`. After a `done(False)`, all that was handed over before it fails as well."""
        if not self._failed:
            self._queue.put(_Commit(transaction, done, self._era))

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """See `host.ports.Disk`; nothing at all only when the log meanwhile begins behind `first` or ends
        before it.
        """
        if not self._failed:
            self._queue.put(_Fetch(group, first, last, max_bytes, done))

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """See `host.ports.Disk`. None as well when a snapshot takes the place of what was captured."""
        if not self._failed:
            self._checkpoints.checkpoint(group, capture, done)

    def open_snapshot(self, group: int, done: Callable[[Any], None]) -> None:
        """Pin the group's last checkpoint for reading: an `OpenSnapshot`, None without one."""
        if not self._failed:
            self._snapshots.open(group, done)

    def receive_snapshot(self, group: int, checkpoint: Checkpoint, done: Callable[[Any], None]) -> None:
        """Begin a state file for `checkpoint`, which a peer sends: an `IncomingSnapshot`, None when the disk
        is full.
        """
        if not self._failed:
            self._snapshots.begin(group, checkpoint, done)

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        """See `host.ports.Disk`. A full disk delays it. A switch to another state file undoes a fence."""
        if not self._failed:
            self._queue.put(_Fence(group, fenced, done))

    def ping(self, done: Callable[[], None]) -> None:
        """Run `done` when the writer thread has come by: a sign of life, also of a full disk."""
        if not self._failed:
            self._queue.put(_Ping(done))

    def close(self) -> None:
        """Finish what was handed over, checkpoint, close, let the next process in. Waits for the threads.

        A checkpoint of a keyspace under way is dropped: the log has it all.
        """
        if self.closed:
            return
        self.closed = True
        self._snapshots.stop()
        self._checkpoints.stop()
        self._queue.put(None)
        self._thread.join()
        if self._failed:
            self._states.abandon()
            self._database.abandon()
        self._lock.release()

    def sizes(self) -> dict[str, int]:
        """Bytes of the files log, wal and highwater; `log_free` inside log, `wal_pending` not yet in log;
        of state files with their WALs, `state_free` inside them, and of a snapshot that arrives.
        """
        return {
            "log": self._directory.size(LOG_FILE),
            "wal": self._directory.size(WAL_FILE),
            "highwater": self._directory.size(HIGHWATER_FILE),
            "wal_pending": self._database.wal_bytes,
            "log_free": self._database.free_pages * PAGE_BYTES,
            **self._states.sizes(),
        }

    def queues(self) -> dict[str, int]:
        """Calls that wait for the threads: writer of the log, checkpoints, snapshots."""
        return {
            "writer": self._queue.qsize(),
            "state": self._checkpoints.waiting,
            "images": self._snapshots.waiting,
        }

    # The writer thread.

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._database.close()
        except StorageError as error:
            self._fail(str(error))
        except Exception as error:  # a thread that dies silently would look like a slow disk
            self._fail(f"the writer thread failed: {type(error).__name__}: {error}")

    def _turn(self) -> bool:
        """Wait for work and do all that waits; False when asked to close."""
        work: list[_Work] = []
        while not work:
            work = self._wait()
        work += [self._queue.get() for _ in range(self._queue.qsize())]  # this thread alone takes from it
        commits = [item for item in work if type(item) is _Commit]
        if commits:
            self._commit(commits)
        for item in work:
            if type(item) is _Fetch:
                entries = self._database.fetch(item.group, item.first, item.last, item.max_bytes)
                self._call_in_reactor(item.done, entries)
            elif type(item) is _Point:
                item.answer.put(self._database.point(item.group, item.number))
            elif type(item) is _Fence:
                self._fences.append(item)
            elif type(item) is _Ping:
                self._call_in_reactor(item.done)
        self._set_fences()
        self._checkpoint_if_due()
        return None not in work

    def _wait(self) -> list[_Work]:
        """The next piece of work; without any, one step of what can wait for such a moment."""
        vacuum = self._database.free_pages > self._vacuum_above
        if not vacuum and not self._fences:
            return [self._queue.get()]
        try:
            return [self._queue.get(timeout=IDLE_SECONDS if vacuum else RETRY_SECONDS)]
        except Empty:
            if vacuum:
                self._vacuum()
            self._set_fences()
            return []

    def _vacuum(self) -> None:
        if self._database.vacuum(self._settings.vacuum_pages):
            self._checkpoint_if_due()
        else:  # no space to do it in: not again before there is more to win
            self._vacuum_above = self._database.free_pages + self._settings.free_bytes // PAGE_BYTES

    def _set_fences(self) -> None:
        while self._fences and self._database.fence(self._fences[0].group, self._fences[0].fenced):
            self._call_in_reactor(self._fences.pop(0).done)

    def _commit(self, commits: list[_Commit]) -> None:
        stale = [item for item in commits if item.era < self._writable_era]
        if stale:
            self._call_in_reactor(self._refused, stale, self._writable_era)
        current = commits[len(stale) :]
        if not current:
            return
        failures = self._database.highwater_failures
        began = time.perf_counter()
        durable = self._database.commit([item.transaction for item in current])
        seconds = time.perf_counter() - began
        if durable:
            switched = self._switch(current)
            self._call_in_reactor(self._committed, current, seconds, switched)
        else:
            self._writable_era = current[-1].era + 1
            self._call_in_reactor(self._observer.error, "commit")
            self._call_in_reactor(self._refused, current, self._writable_era)
        if self._database.highwater_failures != failures:
            self._call_in_reactor(self._observer.error, "highwater")

    def _switch(self, commits: list[_Commit]) -> list[int]:
        """The groups that have another state file now; before the reactor can ask for a checkpoint of it."""
        switched = []
        for item in commits:
            for group, persist in item.transaction.writes:
                if persist.state is not None:
                    self._checkpoints.switch(group, persist.state)
                    switched.append(group)
        if switched:  # a fence that still waits for room was for the state before
            late = [fence for fence in self._fences if fence.group in switched]
            self._fences = [fence for fence in self._fences if fence.group not in switched]
            for fence in late:
                self._call_in_reactor(fence.done)
        return switched

    def _checkpoint_if_due(self) -> None:
        used = self._database.wal_bytes
        if used < self._checkpoint_at or (used < self._checkpoint_forced_at and not self._queue.empty()):
            return
        began = time.perf_counter()
        if self._database.checkpoint():
            self._checkpoint_at = self._settings.wal_bytes
            self._checkpoint_forced_at = self._settings.wal_bytes_max
            self._call_in_reactor(self._observer.wal_checkpointed, time.perf_counter() - began)
            if self._database.free_pages > self._vacuum_above:
                self._vacuum()  # one step also where it is never idle
        else:  # the disk is full: try again when the WAL has grown as much once more, not at every commit
            self._checkpoint_at = self._checkpoint_forced_at = used + self._settings.wal_bytes
            self._call_in_reactor(self._observer.error, "checkpoint")

    def _fail(self, reason: str) -> None:
        """On any of the threads: the first one to fail is told of."""
        if not self._failed:
            self._failed = True
            self._call_in_reactor(self._fatal, reason)

    def _point(self, group: int, number: int) -> bool:
        """On the thread of checkpoints: have the writer thread name the group's first state file."""
        answer: SimpleQueue[bool] = SimpleQueue()
        self._queue.put(_Point(group, number, answer))
        while True:
            try:
                return answer.get(timeout=RETRY_SECONDS)
            except Empty:
                if not self._thread.is_alive():
                    raise Stopped from None

    # Calls that the writer thread sends to the reactor's.

    def _committed(self, commits: list[_Commit], seconds: float, switched: list[int]) -> None:
        for group in switched:
            self._checkpoints.heard(group)
        for item in commits:
            item.done(True)
        sizes = [
            len(entry.data)
            for item in commits
            for _, persist in item.transaction.writes
            for entry in persist.entries
        ]
        self._observer.committed(seconds, len(sizes), sum(sizes))

    def _refused(self, commits: list[_Commit], era: int) -> None:
        self._era = max(self._era, era)
        for item in commits:
            item.done(False)
