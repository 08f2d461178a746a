"""What a simulated path may lose, and what only the end of a connection."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.peerwire import codec
from kraft.peerwire.messages import GroupPlace
from kraft.raft.messages import HeartbeatReply
from tests.simulation.network import Network, Weather
from tests.simulation.world import World

PATH = ("K1", "K2")
PLACES = [GroupPlace(term, 1, "K1", ("K1",), 8) for term in range(1, 41)]
REPLIES = [HeartbeatReply(term, 0, 0) for term in range(1, 41)]


@pytest.fixture
def received():
    return []


@pytest.fixture
def network(received):
    """One with a connection between two nodes, of which the second one notes what it gets."""
    network = Network(World(1), Weather())
    network.connections.links[PATH] = 1
    process: Any = SimpleNamespace(
        clock=SimpleNamespace(run=lambda call: call()),
        received=lambda _, data: received.extend(message for _, message in codec.decode(data)),
    )
    network.connections.processes["K2"] = process
    return network


def send(network):
    for messages in zip(PLACES, REPLIES, strict=True):
        assert network.send(*PATH, [(1, message) for message in messages])


def test_reports_of_places_are_lost_only_with_their_connection(network, received):
    """A node is told of a change once (`host/absent/place_reports.py`)."""
    network.weather = Weather(loss=0.5)
    send(network)
    network.world.run_until(1.0)
    network.connections.links[PATH] = 2
    network.world.run_until(10.0)
    places, replies = [{m.term for m in received if type(m) is kind} for kind in (GroupPlace, HeartbeatReply)]
    assert replies < places
    assert len(places) < len(PLACES)


@pytest.mark.parametrize("blocked_at", [0.0, 0.001])
def test_they_arrive_after_their_path_was_blocked_for_a_moment(network, received, blocked_at):
    network.world.call_later(blocked_at, lambda: network.block([PATH]))
    network.world.call_later(0.0005, lambda: send(network))
    network.world.call_later(0.01, lambda: network.unblock([PATH]))
    network.world.run_until(10.0)
    assert {m.term for m in received if isinstance(m, GroupPlace)} == {m.term for m in PLACES}
    assert len([m for m in received if isinstance(m, HeartbeatReply)]) < len(REPLIES)
