"""The way of committed entries into the state machine."""

from typing import Any

import pytest

from kraft.host.applier import Applier
from kraft.kv import commands as kv
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.commands import Increment
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.node.values import Received
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, EntryKind

ENTRY = kv.encode([Increment(b"n", 1)])


class Told:
    """Who is told of what is applied, and of what cannot be."""

    def __init__(self):
        self.indices = []
        self.errors = []

    def applied(self, entry, replies):
        self.indices.append(entry.index)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def applying(told):
    """A slice has room for two entries."""
    nothing_to_replay: Any = None
    return Applier(
        0,
        nothing_to_replay,
        Machine(),
        0,
        lambda _: None,
        told.applied,
        told.errors.append,
        2 * len(ENTRY),
    )


def entries(first, last):
    return [Entry(index, 1, 1_000 + index, EntryKind.COMMANDS, ENTRY) for index in range(first, last + 1)]


def counted(applying):
    return applying.machine.keyspace.get(b"n")


def test_a_backlog_is_applied_in_slices(applying, told):
    applying.add(entries(1, 5))
    applying.slice()
    assert told.indices == [1, 2]
    assert applying.waiting
    applying.slice()
    applying.slice()
    assert told.indices == [1, 2, 3, 4, 5]
    assert not applying.waiting
    assert (applying.index, counted(applying)) == (5, b"5")


def test_what_waits_when_a_snapshot_comes_is_not_applied_to_it(applying, told):
    """The snapshot contains it: it would count twice."""
    applying.add(entries(1, 5))
    applying.slice()
    keyspace = Keyspace()
    keyspace.load([(b"n", b"7", 7, 0)])
    base = Base(index=7, term=1, stamp=1_007)
    applying.restore(Received(1, Checkpoint(base, 7, 1, 2, bytes(16)), keyspace))
    assert not applying.waiting
    applying.add(entries(8, 8))
    applying.slice()
    assert told.indices == [1, 2, 8]
    assert (applying.index, counted(applying)) == (8, b"8")


def test_an_entry_that_cannot_be_applied_is_told_and_raised(applying, told):
    """Going on would leave out what the others apply."""
    applying.add([Entry(1, 1, 1_001, EntryKind.COMMANDS, b"\xc1")])
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        applying.slice()
    assert told.errors == [raised.value]
    assert applying.index == 0
