"""When an index of keys is built, who waits for it, and when it is dropped."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.background import Background
from kraft.host.key_indexes import IDLE_SECONDS, KeyIndexes
from kraft.kv.key_index import KeyIndex
from kraft.kv.key_order import KeyOrder
from kraft.kv.keyspace import IndexType
from kraft.kv.machine import Machine
from tests.host.fakes import Clock


class Node:
    """One group of a node, with some keys."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.groups: dict[int, Any] = {}
        self.indexes = KeyIndexes(self.groups, Background(self.clock), self.clock)
        self.ready = 0

    def form(self, keys: int = 1000) -> None:
        self.groups[0] = SimpleNamespace(state=SimpleNamespace(machine=Machine()))
        for number in range(keys):
            self.keyspace.put(b"%d" % number, b"", number + 1)

    @property
    def keyspace(self) -> Any:
        return self.groups[0].state.machine.keyspace

    def ask(self, kind: IndexType = KeyIndex) -> None:
        def done() -> None:
            self.ready += 1

        self.indexes.when_ready(0, kind, done)


@pytest.fixture
def node() -> Node:
    return Node()


def test_all_who_ask_meanwhile_wait_for_one_index(node: Node) -> None:
    node.form()
    node.ask()
    node.ask()
    assert (node.ready, node.keyspace.index) == (0, None)
    node.clock.advance(1)
    assert node.ready == 2
    assert len(node.keyspace.index) == 1000
    node.ask()
    assert node.ready == 3


def test_an_index_is_dropped_when_nobody_needed_it_for_long(node: Node) -> None:
    node.form()
    node.ask()
    node.clock.advance(IDLE_SECONDS * 0.9)
    node.ask()
    node.clock.advance(IDLE_SECONDS * 0.9)
    assert node.keyspace.index is not None
    node.clock.advance(IDLE_SECONDS * 0.5)
    assert node.keyspace.index is None
    node.ask()
    node.clock.advance(1)
    assert node.ready == 3


def test_those_who_ask_before_the_group_has_formed_leave_nothing(node: Node) -> None:
    """The host refuses them; later ones get an index, and it is dropped again."""
    node.ask()
    assert node.ready == 1
    node.clock.advance(IDLE_SECONDS * 2)
    node.form()
    node.ask()
    node.clock.advance(1)
    assert node.ready == 2
    node.clock.advance(IDLE_SECONDS * 2)
    assert node.keyspace.index is None


def test_a_snapshot_meanwhile_ends_the_wait(node: Node) -> None:
    """Those who wait ask again, and get the index of the new state."""
    node.form(100_000)
    node.ask()
    node.form(10)
    node.clock.advance(1)
    assert (node.ready, node.keyspace.index) == (1, None)
    node.ask()
    node.clock.advance(1)
    assert node.ready == 2
    assert len(node.keyspace.index) == 10


def test_two_indexes_are_built_one_after_the_other(node: Node) -> None:
    """Whoever needs the second one waits for both."""
    node.form()
    node.ask(KeyIndex)
    node.ask(KeyOrder)
    node.ask(KeyIndex)
    node.clock.advance(1)
    assert node.ready == 3
    assert len(node.keyspace.index) == len(node.keyspace.order) == 1000


def test_each_index_is_dropped_for_itself(node: Node) -> None:
    node.form()
    node.ask(KeyIndex)
    node.ask(KeyOrder)
    node.clock.advance(1)
    node.clock.advance(IDLE_SECONDS * 0.9)
    node.ask(KeyOrder)
    node.clock.advance(IDLE_SECONDS * 0.5)
    assert (node.keyspace.has_index(KeyIndex), node.keyspace.has_index(KeyOrder)) == (False, True)
    node.clock.advance(IDLE_SECONDS)
    assert not node.keyspace.has_index(KeyOrder)


def test_a_snapshot_while_two_are_awaited_ends_both_waits(node: Node) -> None:
    """The second one is of the new state."""
    node.form(100_000)
    node.ask(KeyIndex)
    node.ask(KeyOrder)
    node.form(10)
    node.clock.advance(1)
    assert node.ready == 2
    assert (node.keyspace.index, len(node.keyspace.order)) == (None, 10)
