"""`Store`: a node's data directory with its three threads, as the `host.ports.Disk` that the reactor sees.

The writer thread (`log/writer.py`) makes transactions durable. The checkpoint thread brings state files up to
date, and the snapshot thread sends and receives copies of them. The two have files of their own; only what
`log.db` says of them, the name of a group's state file, passes through the writer.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import apsw

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.node.values import Loaded, Transaction
from kraft.raft.messages import Entry
from kraft.storage import ballast
from kraft.storage.damage import refuse_remembered_damage
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import NoSpace
from kraft.storage.lock import DirectoryLock
from kraft.storage.log.database import LogDatabase
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE, WAL_FILE
from kraft.storage.log.writer import LogWriter
from kraft.storage.ports import Directory, StorageObserver, StorageSettings
from kraft.storage.reactor_thread import ProcessEnd, ReactorThread
from kraft.storage.state.checkpoint_thread import CheckpointThread
from kraft.storage.state.files import StateFiles
from kraft.storage.state.snapshot_thread import IncomingSnapshot, OpenSnapshot, SnapshotThread


def open_store(
    directory: str,
    *,
    node_id: str,
    incarnation: Callable[[], str],
    call_in_reactor: Callable[..., object],
    fatal: ProcessEnd,
    observer: StorageObserver,
    settings: StorageSettings = StorageSettings(),  # noqa: B008 - frozen
    vfs: str = "",
) -> "Store":
    """Lock, open and load the data directory of `node_id`, and start the threads.

    An empty directory becomes this node's, with the incarnation that `incarnation()` gives, durable on
    return. `call_in_reactor(function, *arguments)` runs a function on the reactor's thread
    (`callFromThread`). `fatal` is called there, once, with one line, when the disk failed or is found to be
    damaged. After that nothing is answered any more, and later starts refuse a damaged directory. Raises
    `StorageError` with one line that says why the directory cannot be used.
    """
    prepare_directory(directory)
    lock = DirectoryLock(directory)
    files = RealDirectory(directory)

    def load() -> tuple[LogDatabase, StateFiles]:
        database = LogDatabase(files, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs)
        try:
            return database, _load_states(files, database, settings, observer)
        except BaseException:
            database.abandon()
            raise

    try:
        refuse_remembered_damage(files)
        try:
            database, states = load()
        except NoSpace:
            if not ballast.release(directory):
                raise
            database, states = load()
    except BaseException:
        lock.release()
        raise
    ballast.reserve(directory)
    reactor = ReactorThread(call_in_reactor, fatal, observer, files)
    return Store(database, states, files, lock, settings, reactor)


def _load_states(
    files: Directory, database: LogDatabase, settings: StorageSettings, observer: StorageObserver
) -> StateFiles:
    """State files are on the real disk, whatever VFS the log is on: their readers need shared memory."""
    began = time.perf_counter()
    states = StateFiles(
        files, database.loaded, database.replica, settings=settings, report=observer.state_loading
    )
    for group in states.loaded.checkpoints:
        observer.checkpoint_loaded(group, time.perf_counter() - began)
    return states


class Store:
    """The open data directory. All methods are for the reactor's thread; callbacks run there, later.

    `loaded` is what the directory held; `sqlite_version` is that of the library in use; `closed` is true
    after `close`. Nothing is answered after the disk failed.
    """

    sqlite_version: str = apsw.sqlite_lib_version()

    def __init__(
        self,
        database: LogDatabase,
        states: StateFiles,
        directory: Directory,
        lock: DirectoryLock,
        settings: StorageSettings,
        reactor: ReactorThread,
    ) -> None:
        self.loaded: Loaded = states.loaded
        self.closed = False
        self._directory = directory
        self._lock = lock
        self._reactor = reactor
        self._states = states
        self._writer = LogWriter(database, settings, reactor)
        self._checkpoints = CheckpointThread(states, self._writer, settings, reactor)
        self._snapshots = SnapshotThread(states, self._checkpoints, reactor)

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        """Make the transaction durable, in the order of calls; `done(False)`: the disk is full.

        The writer thread merges transactions that wait into one commit. With a `done(False)`, everything that
        was handed over before it is refused as well.
        """
        if self._reactor.failed:
            return
        for group, persist in transaction.writes:
            if persist.state_file is not None:
                done = partial(self._committed_switch, group, persist.state_file, done)
        for group, last in transaction.replicas:
            if not last.held:
                done = partial(self._committed_end, group, done)
        self._writer.commit(transaction, done)

    def _committed_switch(self, group: int, number: int, done: Callable[[bool], None], durable: bool) -> None:
        """Before the host hears that the group has another state file, and can ask for a checkpoint of it."""
        if durable:
            self._checkpoints.switch(group, number)
        done(durable)

    def _committed_end(self, group: int, done: Callable[[bool], None], durable: bool) -> None:
        """The host hears that a replica is destroyed when nothing can be written for it any more."""
        if durable:
            self._checkpoints.forget(group, partial(done, True))
        else:
            done(False)

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """Read entries `first` to at most `last`: about `max_bytes` (`entry_bytes`), at least one entry.

        Empty only when by then the log begins after `first` or ends before it.
        """
        if not self._reactor.failed:
            self._writer.fetch(group, first, last, max_bytes, done)

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """Bring the group's state file to `capture`, alongside all other work; one at a time a group.

        None when the disk is full, or when a snapshot replaced the captured state meanwhile.
        """
        if not self._reactor.failed:
            self._checkpoints.checkpoint(group, capture, done)

    def open_snapshot(self, group: int, done: Callable[[OpenSnapshot | None], None]) -> None:
        """Pin the group's last checkpoint, to be sent to peers; None when there is none."""
        if not self._reactor.failed:
            self._snapshots.open(group, done)

    def receive_snapshot(
        self, group: int, checkpoint: Checkpoint, done: Callable[[IncomingSnapshot | None], None]
    ) -> None:
        """Begin a state file for `checkpoint`, which a peer sends; None when the disk is full."""
        if not self._reactor.failed:
            self._snapshots.receive(group, checkpoint, done)

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        """Remember whether the group's state is known to be wrong. A full disk delays it.

        A switch to another state file undoes a fence.
        """
        if not self._reactor.failed:
            self._writer.fence(group, fenced, done)

    def ping(self, done: Callable[[], None]) -> None:
        """Run `done` when the writer thread has got to it: a sign of life, even on a full disk."""
        if not self._reactor.failed:
            self._writer.ping(done)

    def close(self) -> None:
        """Finish what was handed over, make WAL checkpoints, close, release the lock. Waits for the threads.

        A checkpoint of a keyspace under way is dropped: the log holds all of it.
        """
        if self.closed:
            return
        self.closed = True
        self._snapshots.stop()
        self._checkpoints.stop()
        self._writer.close()
        if self._reactor.failed:
            self._states.abandon()
        self._lock.release()

    def sizes(self) -> dict[str, int]:
        """Bytes of the files log, wal and highwater, of state files with their WALs, of arriving snapshots.

        `wal_pending` is the part of wal that is not yet in log; `log_free` and `state_free` are unused pages.
        """
        return {
            "log": self._directory.size(LOG_FILE),
            "wal": self._directory.size(WAL_FILE),
            "highwater": self._directory.size(HIGHWATER_FILE),
            "wal_pending": self._writer.wal_bytes,
            "log_free": self._writer.free_bytes,
            **self._states.sizes(),
        }

    def queues(self) -> dict[str, int]:
        """Calls that wait for the threads: `writer` of the log, `state` (checkpoints), `images` (snapshots).

        The names are those of the metrics.
        """
        return {
            "writer": self._writer.waiting,
            "state": self._checkpoints.waiting,
            "images": self._snapshots.waiting,
        }
