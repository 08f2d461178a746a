"""Keyspaces that change, captures of them, and state files under test."""

from kraft.kv.checkpoint import Capture, Checkpoint, moved_sum, record_hash
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.storage.ports import StorageSettings
from kraft.storage.state.files import StateFiles

SETTINGS = StorageSettings()
CONFIGURATION = Configuration.of_voters((Member("K1", "ab", "h:1"),))


def base(index, *, term=1):
    """The base at an entry as `conftest.entries` makes it."""
    return Base(index, term, 1000 + index, 0, CONFIGURATION)


class State:
    """A keyspace whose every change takes a revision."""

    def __init__(self):
        self.keyspace = Keyspace()
        self.revision = 0
        self.machine_version = 1

    def put(self, key, value=b"value", expires=0):
        self.revision += 1
        self.keyspace.put(key, value, self.revision, expires)

    def remove(self, key):
        self.revision += self.keyspace.remove(key) is not None

    def note(self, name, data=b"a reply", expires=0):
        self.revision += 1
        self.keyspace.ledger.put(LedgerKind.TOKEN, name, data, self.revision, expires)

    def clear(self):
        self.revision += 1
        self.keyspace.clear()

    def capture(self, index, *, term=1):
        return self._capture(base(index, term=term))

    def again(self, capture):
        """The next capture after `capture` was not written."""
        self.keyspace.give_back(capture.changes, cleared=capture.cleared)
        self.keyspace.ledger.give_back(capture.ledger)
        return self._capture(capture.base)

    def _capture(self, at):
        cleared, ledger = self.keyspace.cleared, self.keyspace.ledger.take_changes()
        return Capture(at, self.revision, self.keyspace.take_changes(), self.machine_version, cleared, ledger)

    def checkpoint(self, index, *, term=1):
        """What a file at `index` must hold, computed from scratch."""
        records = [(record, False) for record in self.keyspace.records.values()]
        records += [(row, True) for row in self.keyspace.ledger.rows.values()]
        size = sum(len(record.key) + len(record.value) for record, _ in records)
        total = 0
        for r, ledger in records:
            hash_ = record_hash(r.key, r.value, r.revision, r.expires, ledger=ledger)
            total += int.from_bytes(hash_, "big")
        sum_ = moved_sum(bytes(16), total, 0)
        at = base(index, term=term)
        return Checkpoint(at, self.revision, len(records), size, sum_, self.machine_version)


def filled(count, *, value=b"value"):
    state = State()
    for number in range(count):
        state.put(b"key %05d" % number, value, 0 if number % 3 else 10**12 + number)
    return state


def rows_of(view, max_bytes=1000):
    """All pieces of a view."""
    pieces: list = []
    after = None
    while not pieces or not pieces[-1].end:
        pieces.append(view.read(after, max_bytes))
        after = pieces[-1].last
    return pieces


def open_states(directory, database, *, vfs="", settings=SETTINGS, shared=False):
    return StateFiles(directory, database.loaded, database.replica, settings=settings, vfs=vfs, shared=shared)
