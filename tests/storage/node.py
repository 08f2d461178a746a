"""A node's log and state files beside the twins of its groups: plans are carried out on both."""

import copy

import msgspec

from kraft.kv.keyspace import Keyspace
from kraft.node.values import Transaction
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from tests.storage.states import State, open_states, rows_of
from tests.storage.twin import Twin, change_keys, check, check_state, persist, snapshot_base

SETTINGS = StorageSettings(tail_bytes=1000, free_bytes=8192, vacuum_pages=4)


class Node:
    """`twins` are what is durable, `before` what was durable before the write under way."""

    def __init__(self, directory, vfs="", *, shared=False):
        self._directory = directory
        self._vfs = vfs
        self._shared = shared
        self.twins: dict[int, Twin] = {}
        self.before: dict[int, Twin] = {}
        self.open()

    def open(self):
        self.log = LogDatabase(
            self._directory,
            node_id="K1",
            incarnation=lambda: "ab" * 16,
            settings=SETTINGS,
            vfs=self._vfs,
        )
        try:
            self.states = open_states(
                self._directory, self.log, vfs=self._vfs, settings=SETTINGS, shared=self._shared
            )
        except BaseException:
            self.log.abandon()
            raise

    def carry_out(self, plan):
        """Carry out one plan, durably on return."""
        self.before = copy.deepcopy(self.twins)
        twin = self.twins.setdefault(plan["group"], Twin())
        if plan["snapshot"] is not None:
            self._install(twin, plan)
        else:
            self._commit(plan["group"], persist(twin, plan, compact=True))
        self.before = self.twins
        if plan["then"] == "checkpoint":
            assert self.log.checkpoint_wal()
        elif plan["then"] == "state":
            self._write_state(twin, plan)

    def _commit(self, group, write):
        assert self.log.commit([Transaction(((group, write),))])

    def _write_state(self, twin, plan):
        index = max(twin.recorded, twin.base.index)
        if index == 0 or (twin.checkpoint is not None and index < twin.checkpoint.base.index):
            return
        self.before = copy.deepcopy(self.twins)
        change_keys(twin, plan)
        capture = twin.state.capture(index)
        capture = msgspec.structs.replace(capture, base=twin.at(index))
        twin.checkpoint, twin.records = (
            _checkpoint(twin.state, capture.base),
            dict(twin.state.keyspace.records),
        )
        assert self.states.write(plan["group"], capture, self.log) == twin.checkpoint
        self.before = self.twins
        while self.states.tidy():
            pass

    def _install(self, twin, plan):
        """A snapshot of another node arrives, and the group switches to it."""
        sender = State()
        sender.revision = twin.state.revision
        sender.machine_version = max(twin.state.machine_version, plan["version"])
        for number, value in plan["keys"]:
            if value is not None:
                sender.put(b"%d" % number, value)
        term = max(twin.hard_state.term, 1) + plan["new_term"]
        checkpoint = _checkpoint(sender, snapshot_base(twin, plan, term))
        receiver = self.states.receive(plan["group"], checkpoint)
        for piece in pieces_of(sender):
            assert receiver.write(piece) == ""
        received = receiver.finish()
        assert received.checkpoint == checkpoint
        assert received.keyspace.records == sender.keyspace.records
        write = persist(twin, plan, state=received.number)
        twin.checkpoint, twin.records = checkpoint, dict(sender.keyspace.records)
        twin.state = sender
        sender.keyspace.take_changes()
        self._commit(plan["group"], write)
        self.states.switch(plan["group"], received.number)

    def die(self):
        self.states.abandon()
        self.log.abandon()

    def close(self):
        self.states.close()
        self.log.close()

    def check(self):
        check(self.states.loaded, self.twins)
        check_state(self.states.loaded, self.twins)
        for group, twin in self.twins.items():
            assert self.log.fetch(group, twin.base.index + 1, twin.last, 1 << 30) == tuple(twin.log.values())

    def restart(self):
        """Open again: all of the last write is there, or none of it; the twins follow, and what was not in a
        checkpoint is lost from their keyspaces.
        """
        self.open()
        try:
            self.check()
        except (AssertionError, KeyError):
            self.twins = self.before
            self.check()
        for twin in self.twins.values():
            twin.state.keyspace = _keyspace(twin.records)
            twin.state.revision = 0 if twin.checkpoint is None else twin.checkpoint.revision
            twin.state.machine_version = 1 if twin.checkpoint is None else twin.checkpoint.machine_version

    def read_back(self):
        """Compare what a peer would be sent of each group."""
        for group, twin in self.twins.items():
            view = self.states.open_view(group)
            assert (view is None) == (twin.checkpoint is None)
            if view is not None:
                assert view.checkpoint == twin.checkpoint
                rows = [row for piece in rows_of(view, 100) for row in msgspec.msgpack.decode(piece.data)]
                assert rows == [[k, r.value, r.revision, r.expires] for k, r in sorted(twin.records.items())]
                view.close()


def _checkpoint(state, base):
    checkpoint = state.checkpoint(0)
    return msgspec.structs.replace(checkpoint, base=base)


def _keyspace(records):
    keyspace = Keyspace()
    keyspace.load((key, r.value, r.revision, r.expires) for key, r in records.items())
    return keyspace


def pieces_of(state, count=3):
    """All rows of a state as a peer sends them, `count` in a piece."""
    rows = [(k, r.value, r.revision, r.expires) for k, r in sorted(state.keyspace.records.items())]
    return [msgspec.msgpack.encode(rows[at : at + count]) for at in range(0, len(rows), count)]
