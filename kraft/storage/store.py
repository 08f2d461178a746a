"""`Store`: the one writer thread around `LogDatabase`, and the `host.ports.Disk` that the reactor sees.

Group commit: whatever waits when the thread is free goes into one transaction and one fsync, and all its
answers cross to the reactor in one call. Checkpoints run between commits, when nobody waits if that is
possible.

A full disk fails every transaction that waits, also those that were handed over before the host could hear of
the failure: they were made on top of the ones that failed. Each carries the era in which it was handed over;
a failure ends the era, and the reactor's thread enters the next one just before it runs the failed callbacks.
"""

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import apsw

from kraft.raft.messages import Entry
from kraft.storage.database import PAGE_BYTES
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import StorageError
from kraft.storage.files import HIGHWATER_FILE, LOG_FILE, WAL_FILE
from kraft.storage.lock import DirectoryLock
from kraft.storage.logdatabase import LogDatabase
from kraft.storage.ports import Directory, Observer, Settings
from kraft.storage.values import Loaded, Writes


class _Commit(NamedTuple):
    transaction: Writes
    done: Callable[[bool], None]
    era: int


class _Fetch(NamedTuple):
    group: int
    first: int
    last: int
    max_bytes: int
    done: Callable[[Sequence[Entry]], None]


_Work = _Commit | _Fetch | None  # None: close


def open_store(
    directory: str,
    *,
    node_id: str,
    incarnation: Callable[[], str],
    call_in_reactor: Callable[..., object],
    fatal: Callable[[str], None],
    observer: Observer,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    vfs: str = "",
) -> "Store":
    """Lock, open and load the data directory of `node_id`, and start the writer thread.

    An empty directory becomes this node's, with the incarnation that `incarnation()` gives, durable on
    return. `call_in_reactor(function, *arguments)` runs a function on the reactor's thread
    (`callFromThread`). `fatal` is called there, once, with one line, when the disk failed; nothing is
    answered any more after it. Raises `StorageError` with one line that says why the directory cannot be
    used.
    """
    prepare_directory(directory)
    lock = DirectoryLock(directory)
    files = RealDirectory(directory)
    try:
        database = LogDatabase(
            files, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs
        )
    except BaseException:
        lock.release()
        raise
    return Store(database, files, lock, settings, call_in_reactor, fatal, observer)


class Store:
    """`host.ports.Disk` on a `LogDatabase`. All methods are for the reactor's thread.

    `loaded` is what the directory held; `sqlite_version` is that of the library in use; `closed` is true
    after `close`.
    """

    sqlite_version: str = apsw.sqlite_lib_version()

    def __init__(
        self,
        database: LogDatabase,
        directory: Directory,
        lock: DirectoryLock,
        settings: Settings,
        call_in_reactor: Callable[..., object],
        fatal: Callable[[str], None],
        observer: Observer,
    ) -> None:
        self.loaded: Loaded = database.loaded
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
        self._failed = False
        self.closed = False
        self._thread = Thread(target=self._run, name="kraft-writer", daemon=True)
        self._thread.start()

    def commit(self, transaction: Writes, done: Callable[[bool], None]) -> None:
        """See `host.ports.Disk`. After a `done(False)`, all that was handed over before it fails as well."""
        if not self._failed:
            self._queue.put(_Commit(transaction, done, self._era))

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """See `host.ports.Disk`; nothing at all only when the log meanwhile ends before `first`."""
        if not self._failed:
            self._queue.put(_Fetch(group, first, last, max_bytes, done))

    def close(self) -> None:
        """Finish what was handed over, checkpoint, close, let the next process in. Waits for the thread."""
        if self.closed:
            return
        self.closed = True
        self._queue.put(None)
        self._thread.join()
        if self._failed:
            self._database.abandon()
        self._lock.release()

    def sizes(self) -> dict[str, int]:
        """Bytes of the files log, wal and highwater; `log_free` inside log, `wal_pending` not yet in log."""
        return {
            "log": self._directory.size(LOG_FILE),
            "wal": self._directory.size(WAL_FILE),
            "highwater": self._directory.size(HIGHWATER_FILE),
            "wal_pending": self._database.wal_bytes,
            "log_free": self._database.free_pages * PAGE_BYTES,
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
        work = [self._queue.get()]
        work += [self._queue.get() for _ in range(self._queue.qsize())]  # this thread alone takes from it
        commits = [item for item in work if type(item) is _Commit]
        if commits:
            self._commit(commits)
        for item in work:
            if type(item) is _Fetch:
                entries = self._database.fetch(item.group, item.first, item.last, item.max_bytes)
                self._call_in_reactor(item.done, entries)
        self._checkpoint_if_due()
        return None not in work

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
            self._call_in_reactor(self._committed, current, seconds)
        else:
            self._writable_era = current[-1].era + 1
            self._call_in_reactor(self._observer.error, "commit")
            self._call_in_reactor(self._refused, current, self._writable_era)
        if self._database.highwater_failures != failures:
            self._call_in_reactor(self._observer.error, "highwater")

    def _checkpoint_if_due(self) -> None:
        used = self._database.wal_bytes
        if used < self._checkpoint_at or (used < self._checkpoint_forced_at and not self._queue.empty()):
            return
        began = time.perf_counter()
        if self._database.checkpoint():
            self._checkpoint_at = self._settings.wal_bytes
            self._checkpoint_forced_at = self._settings.wal_bytes_max
            self._call_in_reactor(self._observer.checkpointed, time.perf_counter() - began)
        else:  # the disk is full: try again when the WAL has grown as much once more, not at every commit
            self._checkpoint_at = self._checkpoint_forced_at = used + self._settings.wal_bytes
            self._call_in_reactor(self._observer.error, "checkpoint")

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._call_in_reactor(self._fatal, reason)

    # Calls that the writer thread sends to the reactor's.

    def _committed(self, commits: list[_Commit], seconds: float) -> None:
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
