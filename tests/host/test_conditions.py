"""What nodes report about themselves to their peers."""

import pytest
from msgspec.structs import replace

from kraft.host.membership.conditions import REPEAT_SECONDS, Conditions
from kraft.peerwire.hello import WIRE_CONDITION, Hello
from kraft.peerwire.messages import NodeCondition

NEW, OLD = Hello("K2", "x"), Hello("K3", "y", wire_max=WIRE_CONDITION - 1)
FULL = NodeCondition(disk_full=True)


class Network:
    """Records what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, peer, messages):
        self.sent.append((peer, *messages))
        return True

    def take(self):
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def conditions(network):
    """Those of a node that has reported to its peers at 10 s."""
    conditions = Conditions()
    conditions.tick(10.0, NodeCondition(wall_ms=1), {"K2": NEW}, network)
    assert network.take() == [("K2", (0, NodeCondition(wall_ms=1)))]
    return conditions


def test_a_condition_is_reported_after_a_change_and_every_few_seconds(conditions, network):
    """The clock moves all the time, and is no change."""
    for at, own, reported in (
        (10.1, NodeCondition(wall_ms=2), False),
        (10.2, FULL, True),
        (10.3, replace(FULL, wall_ms=3), False),
        (10.2 + REPEAT_SECONDS, FULL, True),
        (10.3 + REPEAT_SECONDS, NodeCondition(), True),
    ):
        conditions.tick(at, own, {"K2": NEW}, network)
        assert network.take() == ([("K2", (0, own))] if reported else [])
        assert conditions.own == own


def test_a_new_link_gets_the_condition_in_the_next_tick(conditions, network):
    """Its peer knows nothing of this node."""
    conditions.link_up()
    conditions.tick(10.1, NodeCondition(), {"K2": NEW}, network)
    assert network.take() == [("K2", (0, NodeCondition()))]


def test_a_peer_of_an_older_wire_gets_none(conditions, network):
    """It would take the message for malformed, and close the link."""
    conditions.tick(20.0, FULL, {"K2": NEW, "K3": OLD}, network)
    assert network.take() == [("K2", (0, FULL))]


def test_a_condition_counts_while_its_link_is_open(conditions):
    """After that it is unknown."""
    assert conditions.of("K2") is None
    conditions.received("K2", FULL)
    assert conditions.of("K2") == FULL
    conditions.link_down("K2")
    assert conditions.of("K2") is None
