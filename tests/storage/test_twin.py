"""Log and state files against dictionaries: any lawful sequence of writes, checkpoints and snapshots reads
back the same, after any restart.
"""

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.node.values import Transaction
from kraft.raft.messages import Entry, EntryKind
from kraft.raft.ready import Persist
from kraft.storage.directory import RealDirectory
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from tests.storage.node import Node
from tests.storage.twin import Twin, check, persist, step

TAIL_BYTES = 1000


def opened(path):
    return LogDatabase(
        RealDirectory(path),
        node_id="K1",
        incarnation=lambda: "ab" * 16,
        settings=StorageSettings(tail_bytes=TAIL_BYTES),
    )


@settings(max_examples=40, deadline=None)
@given(plans=st.lists(step, max_size=20))
def test_any_sequence_of_writes_and_restarts_equals_the_twin(plans):
    """The log alone, with several writes in one transaction."""
    with tempfile.TemporaryDirectory() as path:
        database = opened(path)
        twins: dict[int, Twin] = {}
        waiting: list[Transaction] = []
        for plan in plans:
            twin = twins.setdefault(plan["group"], Twin())
            state = 1 if plan["snapshot"] is not None else None
            waiting.append(Transaction(((plan["group"], persist(twin, plan, state=state)),)))
            if plan["then"] == "together":
                continue
            assert database.commit(waiting)
            waiting = []
            if plan["then"] == "checkpoint":
                assert database.checkpoint_wal()
            if plan["then"] in ("close", "kill"):
                (database.close if plan["then"] == "close" else database.abandon)()
                database = opened(path)
                check(database.loaded, twins)
        assert database.commit(waiting)
        for group, twin in twins.items():
            first = twin.base.index + 1
            assert database.fetch(group, first, twin.last, 1 << 30) == tuple(twin.log.values())
        database.close()
        database = opened(path)
        check(database.loaded, twins)
        database.abandon()


@pytest.mark.parametrize("shared", [False, True])
@settings(max_examples=12, deadline=None)
@given(plans=st.lists(step, max_size=15))
def test_any_sequence_of_checkpoints_and_snapshots_equals_the_twin(shared, plans):
    with tempfile.TemporaryDirectory() as path:
        node = Node(RealDirectory(path), shared=shared)
        for plan in plans:
            node.carry_out(plan)
            if plan["then"] in ("close", "kill"):
                (node.close if plan["then"] == "close" else node.die)()
                node.restart()
        node.read_back()
        node.close()
        node.restart()
        node.read_back()
        node.die()


def test_the_tail_in_memory_is_bounded_by_what_is_committed():
    """A long committed log leaves only its end; what is not known to be committed is all kept."""
    with tempfile.TemporaryDirectory() as path:
        database = opened(path)
        for index in range(1, 101):
            entry = Entry(index, 1, index, EntryKind.COMMANDS, b"x" * 100)
            database.commit([Transaction(((0, Persist(0, None, None, (entry,), min(index, 60))),))])
        database.close()
        database = opened(path)
        restored = database.loaded.groups[0]
        database.abandon()

    assert restored.commit == 60
    assert restored.tail[0].index == 61
    assert restored.tail[-1].index == 100
