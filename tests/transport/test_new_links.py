"""New links between nodes: when they are dialled, and which of two stays."""

from itertools import pairwise

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from kraft.transport.dialler import pause
from kraft.transport.limits import LinkLimits
from tests.transport.wires import BEAT, Network, Node, pair


def test_a_newer_link_takes_the_place_of_an_older():
    """The dialling side lost the connection and knows it; the accepting side does not, until it is back."""
    network, clock, one, two = pair()
    network.pump()
    network.wires[0].near.end(ConnectionLost())
    network.wires[0].far.clogged = True
    network.pump()
    clock.advance(0.05)
    network.pump()

    assert two.owner.told == [("up", "K1"), ("down", "K1", False), ("up", "K1")]
    assert two.watcher.named("disconnected") == [("K1", "replaced by a newer link")]
    one.links.send("K2", [(0, BEAT)])
    two.links.send("K1", [(0, BEAT)])
    clock.advance(1)  # the old connection does not close by itself: it is aborted
    network.wires[0].far.clogged = False
    network.pump()
    assert network.wires[0].far.lost is not None
    assert len(one.owner.messages) == len(two.owner.messages) == 1
    assert two.links.connected() == {"K1"}


def test_pauses_between_attempts_grow_and_start_again():
    """From 50 ms to 2 s while the peer is away; a link that opened begins anew."""
    network, clock, one, two = pair()
    listening = network.ports.pop(two.address)
    network.wires.clear()
    one.links.disconnect("K2")
    network.attempts.clear()
    one.links.connect("K2", two.address)

    times = []
    for _ in range(2000):
        before = len(network.attempts)
        clock.advance(0.01)
        if len(network.attempts) > before:
            times.append(clock.seconds())
    gaps = [round(b - a, 2) for a, b in pairwise(times)]

    assert gaps[0] < gaps[1] < gaps[2]
    assert gaps[-3:] == pytest.approx([1.5] * 3, abs=0.02)
    attempts = [attempts for *_, attempts in one.watcher.named("unreachable")]
    assert attempts == [1, 2, 4, 8, 16][: len(attempts)]
    network.ports[two.address] = listening
    clock.advance(2)
    network.pump()
    assert one.owner.told[-1] == ("up", "K2")
    network.wires[-1].cut()
    network.pump()
    clock.advance(0.05)
    network.pump()
    assert one.owner.told[-1] == ("up", "K2")


@pytest.mark.parametrize("dice", [0.0, 0.5, 0.999])
def test_a_pause_is_spread_and_bounded(dice):
    """Between half and all of what doubling gives, never above the maximum."""
    limits = LinkLimits()
    for attempts in range(100):
        whole = min(0.05 * 2**attempts, 2.0)
        assert whole / 2 <= pause(attempts, limits, dice) <= whole


def test_a_connection_that_hangs_is_cancelled_on_disconnect():
    """No call is left when a peer is forgotten while it is dialled."""
    network, clock, one, _ = pair()
    one.links.disconnect("K2")
    network.ports["10.9.9.9:1"] = "hangs"
    one.links.connect("K2", "10.9.9.9:1")
    one.links.disconnect("K2")
    network.pump()

    assert [call for call in clock.getDelayedCalls() if call.func.__name__ == "start"] == []


def test_a_changed_address_is_dialled():
    """The old link goes down first; the same address again changes nothing."""
    network, clock, one, _ = pair()
    network.pump()
    other = Node(network, clock, "K2", 22)
    other.links.start({})

    one.links.connect("K2", "127.0.0.1:2")
    assert len(network.attempts) == 1
    one.links.connect("K2", "127.0.0.1:22")
    network.pump()

    assert network.attempts == ["127.0.0.1:2", "127.0.0.1:22"]
    assert one.owner.told == [("up", "K2"), ("down", "K2", False), ("up", "K2")]
    assert other.owner.told == [("up", "K1")]


def test_three_nodes_have_three_links():
    """Each pair one, whoever starts first."""
    network, clock = Network(), Clock()
    nodes = [Node(network, clock, f"K{n}", n) for n in (3, 1, 2)]
    peers = {node.owner.id: node.address for node in nodes}
    for node in nodes:
        node.links.start(peers)
        network.pump()
    clock.advance(1)
    network.pump()

    assert [sorted(node.links.connected()) for node in nodes] == [["K1", "K2"], ["K2", "K3"], ["K1", "K3"]]
    assert sum(wire.near.lost is None for wire in network.wires) == 3


@pytest.mark.parametrize("asker", [0, 1])
def test_greeting_again_brings_a_new_link(asker):
    """What a node says of itself changes when it forms, and only a new link says so; either end may ask."""
    network, clock, *nodes = pair()
    network.pump()
    nodes[asker].links.greet_again(("K2", "K1")[asker])
    network.pump()
    clock.advance(1.0)
    network.pump()
    assert [node.owner.told[-1][0] for node in nodes] == ["up", "up"]
    assert len(network.attempts) == 2
    ended = [node.watcher.named("renewed") + node.watcher.named("disconnected") for node in nodes]
    assert ended[asker] == [(("K2", "K1")[asker],)], "it did so itself: nothing that a warning should tell"
    assert ended[1 - asker] == [(("K1", "K2")[asker], "closed by the peer")]


@pytest.mark.parametrize("late", ["K1", "K2"])
def test_no_link_opens_with_a_greeting_of_before_its_node_has_formed(late):
    """The node has closed its links when it formed, and this one was in its handshake."""
    network, clock, one, two = pair()
    network.wires[0].near.step(1 << 30)  # now both have said who they are
    former, other = (one, two) if late == "K1" else (two, one)
    former.owner.cluster = "c" * 32
    network.pump()
    assert former.owner.told == []
    assert not other.links.connected()
    clock.advance(1.0)
    network.pump()
    assert former.links.connected() == {other.owner.id}
    assert other.owner.hellos[late].cluster == "c" * 32
