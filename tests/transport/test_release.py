"""A link that is gone lets go of its buffers at once, without waiting for a collection: those are rare."""

import gc
import weakref

import pytest
from twisted.internet.error import ConnectionLost

from kraft.peerwire.frames import BULK, frame
from kraft.raft.messages import Append, Entry
from kraft.transport.limits import LinkLimits
from kraft.transport.link import Link
from tests.transport.wires import pair

LARGE = Append(1, 0, 0, 0, (Entry(1, 1, 0, 1, bytes(1_000_000)),))


@pytest.fixture(autouse=True)
def _no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def made(monkeypatch):
    """Weak references to all links that are made, by the node that made them."""
    links = []
    begin = Link.connectionMade

    def connection_made(self):
        links.append(weakref.ref(self))
        begin(self)

    monkeypatch.setattr(Link, "connectionMade", connection_made)
    return links


def wait(network, clock, seconds):
    for _ in range(int(seconds * 10)):
        clock.advance(0.1)
        network.pump()


def backed_up(limits=None):
    """A pair with a link whose peer does not read: bulk waits at one end, half of a message at the other."""
    network, clock, one, two = pair(limits=limits or LinkLimits(retry_first=1000.0, retry_max=1000.0))
    network.pump()
    [wire] = network.wires
    wire.near.outgoing.append(frame(BULK, 1 << 20, bytes(60_000), last=False))
    network.pump()
    wire.near.clogged = True
    assert one.links.send("K2", [(0, LARGE)])
    return network, clock, one, two


def test_a_link_that_was_cut_off_is_freed(made):
    """By a reset, with megabytes that wait."""
    network, clock, _, _ = backed_up()
    clock.advance(0)
    network.wires[0].cut(ConnectionLost())
    network.pump()
    network.wires.clear()

    assert len(made) == 2
    assert [link() for link in made] == [None, None]


def test_a_silent_link_is_freed(made):
    """Given up after some pings."""
    network, clock, _, _ = backed_up()
    network.wires[0].far.clogged = True
    wait(network, clock, 8)
    network.wires.clear()

    assert [link() for link in made] == [None, None]


def test_a_link_closed_by_force_is_freed(made):
    """A stop whose last words nobody reads."""
    network, clock, one, two = backed_up()
    one.links.stop()
    two.links.stop()
    wait(network, clock, 2)
    network.wires.clear()

    assert [link() for link in made] == [None, None]


def test_a_handshake_that_took_too_long_is_freed(made):
    """Its timer has run, and held on to it."""
    network, clock, _, _ = pair(limits=LinkLimits(retry_first=1000.0, retry_max=1000.0))
    network.wires[0].near.clogged = network.wires[0].far.clogged = True
    wait(network, clock, 5)
    network.wires.clear()

    assert len(made) == 2
    assert [link() for link in made] == [None, None]


def test_a_link_that_was_replaced_or_crossed_is_freed(made):
    """Only the link that counts stays."""
    network, clock, one, two = pair()
    two.links.introduce("K1", one.address)
    network.pump()
    wait(network, clock, 2)
    network.wires[:] = [wire for wire in network.wires if wire.near.lost is None]

    assert len(made) == 4
    assert sum(link() is not None for link in made) == 2
