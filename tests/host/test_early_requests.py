"""Requests that come too early for their group."""

from functools import partial

import pytest

from kraft.host.requests.early_requests import EarlyRequests
from tests.host.fakes import Clock


class Node:
    """Early requests, and what becomes of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.early = EarlyRequests(self.clock)
        self.events: list[str] = []

    def wait(self, name: str, group: int = 0, seconds: float = 10.0):
        return self.early.wait(group, seconds, partial(self._again, name), partial(self._refused, name))

    def _again(self, name: str):
        self.events.append(f"{name} again")
        return partial(self.events.append, f"{name} leaves")

    def _refused(self, name: str) -> None:
        self.events.append(f"{name} refused")


@pytest.fixture
def node() -> Node:
    return Node()


def test_they_are_made_again_in_order_when_their_group_serves(node: Node) -> None:
    node.wait("first")
    node.wait("other", group=1)
    node.wait("second")
    node.clock.advance(5)
    assert node.events == []
    node.early.served(0)
    assert node.events == ["first again", "second again"]
    node.clock.advance(100)
    assert node.events == ["first again", "second again", "other refused"]


def test_one_that_has_waited_long_enough_is_refused_once(node: Node) -> None:
    node.wait("short", seconds=1)
    node.wait("long")
    node.clock.advance(2)
    assert node.events == ["short refused"]
    node.early.served(0)
    node.early.served(0)
    assert node.events == ["short refused", "long again"]


def test_nothing_happens_inside_the_call(node: Node) -> None:
    node.wait("hopeless", seconds=0)
    assert node.events == []
    node.clock.advance()
    assert node.events == ["hopeless refused"]


def test_a_client_that_leaves_is_not_asked_for_again(node: Node) -> None:
    leave = node.wait("left")
    leave()
    leave()
    node.early.served(0)
    node.clock.advance(100)
    assert node.events == ["left refused"]


def test_a_client_that_leaves_later_leaves_the_place_that_it_has_then(node: Node) -> None:
    leave = node.wait("lock")
    node.early.served(0)
    leave()
    assert node.events == ["lock again", "lock leaves"]


def test_a_node_that_stops_refuses_them_all(node: Node) -> None:
    for number in range(3):
        node.wait(str(number), group=number)
    node.early.abandon()
    node.clock.advance(100)
    node.early.served(0)
    assert node.events == ["0 refused", "1 refused", "2 refused"]
