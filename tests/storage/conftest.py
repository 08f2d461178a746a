"""A reactor that runs calls on demand, an observer that records, and a disk that fails on demand."""

import os
import threading
from queue import SimpleQueue

import apsw
import pytest

from kraft.node.values import Transaction
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage import open_store
from kraft.storage.directory import RealDirectory
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import DISK_FULL, StorageSettings
from kraft.storage.state.database import StateDatabase
from tests.storage.states import base, filled, open_states

SETTINGS = StorageSettings()
INCARNATION = "0123456789abcdef" * 2


class Reactor:
    """Takes the place of `callFromThread`: keeps the calls until the test runs them."""

    def __init__(self):
        self._calls: SimpleQueue = SimpleQueue()

    def call(self, function, *arguments):
        self._calls.put((function, arguments))

    def run_until(self, condition):
        while not condition():
            function, arguments = self._calls.get(timeout=30)
            function(*arguments)

    def run_waiting(self):
        while not self._calls.empty():
            function, arguments = self._calls.get()
            function(*arguments)


class Witness:
    """An observer that records what it is told."""

    def __init__(self):
        self.commits = []
        self.wal_checkpoints = 0
        self.errors = []
        self.reasons = []
        self.checkpoints = []
        self.loads = []
        self.deaths = []
        self.damaged = []

    def died(self, reason, /, *, damaged=False):
        self.deaths.append(reason)
        self.damaged.append(damaged)

    def committed(self, seconds, entries, size, /):
        assert seconds >= 0
        self.commits.append((entries, size))

    def wal_checkpointed(self, seconds, /):
        assert seconds >= 0
        self.wal_checkpoints += 1

    def checkpoint_written(self, group, seconds, written, index, size, /):
        assert seconds >= 0
        self.checkpoints.append((group, written, index, size))

    def checkpoint_failed(self, group, /):
        self.checkpoints.append((group, None))

    def state_loading(self, group, keys, of, /):
        assert 0 <= keys <= of

    def checkpoint_loaded(self, group, seconds, /):
        assert seconds >= 0
        self.loads.append(group)

    def error(self, operation, reason=DISK_FULL, /):
        self.errors.append(operation)
        self.reasons.append(reason)


class FaultyVFS(apsw.VFS):
    """The real disk, until `faults` says otherwise: (kind of file, operation) -> SQLite result code.

    Kinds are wal and db, operations write and sync. While `gate` is clear, syncs of the WAL wait.
    """

    def __init__(self, name):
        self.name = name
        self.faults = {}
        self.syncs = 0
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        super().__init__(name, "unix")

    def xOpen(self, name, flags):
        kind = "wal" if flags[0] & apsw.SQLITE_OPEN_WAL else "db"
        return FaultyFile(self, kind, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs, kind, name, flags):
        self._vfs, self._kind = vfs, kind
        super().__init__("unix", name, flags)

    def _fail_on_demand(self, operation):
        code = self._vfs.faults.get((self._kind, operation))
        if code is not None:
            raise apsw.exception_for(code)

    def xWrite(self, data, offset):
        self._fail_on_demand("write")
        super().xWrite(data, offset)

    def xSync(self, flags):
        if self._kind == "wal":
            self._vfs.syncs += 1
            if not self._vfs.gate.is_set():
                self._vfs.at_gate.set()
                assert self._vfs.gate.wait(30)
        self._fail_on_demand("sync")
        super().xSync(flags)


class FaultyDirectory(RealDirectory):
    """A real directory whose high-water file fails with `errno` when that is set."""

    errno = 0

    def record_file(self, name):
        return FaultyRecordFile(self, super().record_file(name))


class FaultyRecordFile:
    def __init__(self, directory, file):
        self._directory, self._file = directory, file
        self.read, self.sync, self.close = file.read, file.sync, file.close

    def write(self, offset, data):
        if self._directory.errno:
            raise OSError(self._directory.errno, os.strerror(self._directory.errno))
        self._file.write(offset, data)


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def witness():
    return Witness()


@pytest.fixture
def done():
    """The list to which callbacks append their answers."""
    return []


@pytest.fixture
def faulty_vfs():
    vfs = FaultyVFS("faulty")
    yield vfs
    vfs.faults.clear()
    vfs.gate.set()
    vfs.unregister()


@pytest.fixture
def open_at(reactor, witness, faulty_vfs):
    """Opens a store on the real disk, with everything else faked; closes what the test left open."""
    opened = []

    def open_it(path, *, node_id="K1", settings=SETTINGS, vfs=""):
        store = open_store(
            str(path),
            node_id=node_id,
            incarnation=lambda: INCARNATION,
            call_in_reactor=reactor.call,
            fatal=witness.died,
            observer=witness,
            settings=settings,
            vfs=vfs,
        )
        opened.append(store)
        return store

    yield open_it
    faulty_vfs.faults.clear()
    faulty_vfs.gate.set()
    for store in opened:
        if not store.closed:
            store.close()


@pytest.fixture
def database_at():
    """Opens the database alone, as a simulator does."""
    opened = []

    def open_it(directory, *, node_id="K1", incarnation=lambda: INCARNATION, settings=SETTINGS, vfs=""):
        if not hasattr(directory, "record_file"):
            directory = RealDirectory(str(directory))
        database = LogDatabase(
            directory, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs
        )
        opened.append(database)
        return database

    yield open_it
    for database in opened:
        database.abandon()


@pytest.fixture
def file_at():
    """Opens one state file, as the only connection."""
    opened = []

    def open_it(path, *, vfs="", shared=False):
        opened.append(StateDatabase(str(path), vfs=vfs, shared=shared, wal_bytes_max=1 << 20))
        return opened[-1]

    yield open_it
    for database in opened:
        database.abandon()


@pytest.fixture
def states_at(database_at):
    """Opens log and state files of a directory."""
    opened = []

    def open_it(path, *, vfs="", shared=False, settings=SETTINGS):
        log = database_at(path)
        try:
            states = open_states(RealDirectory(str(path)), log, vfs=vfs, settings=settings, shared=shared)
        except BaseException:
            log.abandon()
            raise
        opened.append(states)
        return log, states

    yield open_it
    for states in opened:
        states.abandon()


@pytest.fixture
def faulty_directory(tmp_path):
    return FaultyDirectory(str(tmp_path))


def entries(first, last, *, term=1, data=b"data", kind=EntryKind.COMMANDS):
    return tuple(Entry(index, term, 1000 + index, kind, data) for index in range(first, last + 1))


def moved(at, *, group=0, truncate_from=None, rows=(), state=None, commit=0):
    """The transaction that moves a log's beginning."""
    return Transaction(((group, Persist(0, None, truncate_from, rows, commit, at, state)),))


class Ask:
    """Asks a store and waits for the answer."""

    def __init__(self, reactor):
        self._reactor = reactor

    def __call__(self, method, *arguments):
        answers: list = []
        method(*arguments, lambda *answer: answers.append(*answer or (None,)))
        self._reactor.run_until(lambda: answers)
        return answers[0]


@pytest.fixture
def ask(reactor):
    return Ask(reactor)


@pytest.fixture
def store(tmp_path, open_at, ask, write):
    """A store with entries 1 to 20."""
    store = open_at(tmp_path)
    assert ask(store.commit, write(1, 20, commit=20))
    return store


@pytest.fixture
def write():
    """Builds the transaction of one group: `write(entries 1 to 3)`, with defaults for the rest."""

    def build(first=1, last=0, *, group=0, term=1, vote=None, truncate_from=None, commit=0, data=b"data"):
        hard_state = None if vote is None else HardState(term, vote)
        rows = entries(first, last, term=term, data=data)
        return Transaction(((group, Persist(0, hard_state, truncate_from, rows, commit)),))

    return build


@pytest.fixture
def written(tmp_path, states_at, write):
    """A closed directory: entries 1 to 9, a checkpoint of 30 keys at 7, the log cut at 5."""
    log, states = states_at(tmp_path)
    log.commit([write(1, 9)])
    assert states.write(0, filled(30).capture(7), log)
    log.commit([moved(base(5))])
    states.close()
    log.close()
    return tmp_path
