"""Who meets whom: nodes that introduce themselves, and nodes that dial each other at one moment."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from kraft.raft.messages import Heartbeat
from kraft.transport.endpoints import endpoints
from tests.transport.wires import Network, Node, pair

BEAT = Heartbeat(1, 0, 1)


def strangers():
    """Two nodes that listen and know nobody: (network, clock, K1, K2)."""
    network, clock = Network(), Clock()
    one, two = Node(network, clock, "K1", 1), Node(network, clock, "K2", 2)
    one.links.start({})
    two.links.start({})
    return network, clock, one, two


def open_wires(network):
    return [wire for wire in network.wires if wire.near.lost is wire.far.lost is None]


def are_linked(one, two):
    """Whether a batch comes through both ways."""
    for node, other in ((one, two), (two, one)):
        node.links.send(other.owner.id, [(0, BEAT)])
    return one.links.connected() == {"K2"} and two.links.connected() == {"K1"}


@pytest.mark.parametrize("dialler", [0, 1])
def test_a_node_meets_one_that_does_not_know_it(dialler):
    """Whatever the ids; both are told of a link like any other, and it carries batches both ways."""
    network, _, *nodes = strangers()
    me, you = nodes[dialler], nodes[1 - dialler]

    me.links.introduce(you.owner.id, you.address)
    network.pump()

    assert me.owner.told == [("up", you.owner.id)]
    assert you.owner.told == [("up", me.owner.id)]
    assert [status.dialled for status in me.links.statistics()] == [True]
    assert [status.dialled for status in you.links.statistics()] == [False]
    assert are_linked(*nodes)
    network.pump()
    assert len(nodes[0].owner.messages) == len(nodes[1].owner.messages) == 1


def test_an_introduction_is_one_attempt():
    """Nobody there, or refused: it is told, and not tried again until it is asked for again."""
    network, clock, one, two = strangers()
    two.owner.refuse = "not now"
    for _ in range(5):
        two.links.introduce("K9", "127.0.0.1:9")
        one.links.introduce("K2", two.address)
        network.pump()
        clock.advance(60)

    assert network.attempts == ["127.0.0.1:9", "127.0.0.1:2"] * 5
    assert [attempts for *_, attempts in two.watcher.named("unreachable")] == [1, 2, 4]
    assert "not now" in one.watcher.named("unreachable")[0][1]
    assert clock.getDelayedCalls() == []

    two.owner.refuse = None
    one.links.introduce("K2", two.address)
    network.pump()
    assert are_linked(one, two)
    network.wires[-1].cut()
    network.pump()
    clock.advance(60)
    assert len(network.attempts) == 11  # it does not come back by itself either


def test_an_introduction_is_not_made_twice():
    """Not beside an attempt, not beside a link, not to oneself, not to a peer that is dialled by rule."""
    network, _, one, two = strangers()
    network.ports["10.0.0.1:1"] = "hangs"
    for _ in range(2):
        one.links.introduce("K3", "10.0.0.1:1")
        one.links.introduce("K1", one.address)
        one.links.introduce("K2", two.address)
        network.pump()
    two.links.introduce("K1", one.address)
    assert network.attempts == ["10.0.0.1:1", "127.0.0.1:2"]

    one.links.connect("K4", "127.0.0.1:4")
    one.links.introduce("K4", "127.0.0.1:4")
    assert network.attempts[2:] == ["127.0.0.1:4"]


def test_a_node_is_met_elsewhere_than_where_it_was():
    """A replacement of the same id at another address: the old one is dialled in vain until there is a link,
    and when the new address is the one to keep, that link stays.
    """
    network, clock, one, two = strangers()
    one.links.connect("K2", "127.0.0.1:22")
    one.links.introduce("K2", two.address)
    network.pump()
    clock.advance(60)
    one.links.connect("K2", two.address)
    clock.advance(60)
    network.pump()

    assert network.attempts == ["127.0.0.1:22", two.address]
    assert one.owner.told == [("up", "K2")]
    network.wires[0].cut()
    network.pump()
    clock.advance(0.05)
    network.pump()
    assert network.attempts[2:] == [two.address]
    assert are_linked(one, two)


def test_after_disconnect_and_after_stop_nobody_is_introduced():
    """An attempt that hangs is given up, and none begins."""
    network, clock, one, _ = strangers()
    network.ports["10.0.0.1:1"] = "hangs"
    one.links.introduce("K3", "10.0.0.1:1")
    one.links.disconnect("K3")
    one.links.introduce("K3", "10.0.0.1:1")
    results: list = []
    one.links.stop().addCallback(results.append)
    one.links.introduce("K3", "10.0.0.1:1")

    assert network.attempts == ["10.0.0.1:1"] * 2
    assert one.watcher.named("unreachable") == []
    assert results == [None]
    assert clock.getDelayedCalls() == []


def test_a_link_that_was_introduced_ends_with_a_stop():
    """Although its peer was never to be kept connected."""
    network, _, one, two = strangers()
    two.links.introduce("K1", one.address)
    network.pump()

    results: list = []
    two.links.stop().addCallback(results.append)
    network.pump()

    assert results == [None]
    assert one.owner.told[-1] == ("down", "K2", True)


def test_who_comes_to_know_the_peer_keeps_the_link_and_dials_when_it_ends():
    """The leader introduced itself; by it the new node learns whom to dial, and has a link already."""
    network, clock, one, two = strangers()
    two.links.introduce("K1", one.address)
    network.pump()

    one.links.connect("K2", two.address)
    two.links.connect("K1", one.address)
    clock.advance(60)
    network.pump()
    assert network.attempts == [one.address]
    assert one.owner.told == [("up", "K2")]

    network.wires[0].cut()
    network.pump()
    clock.advance(0.05)
    network.pump()
    assert network.attempts == [one.address, two.address]
    assert one.owner.told == [("up", "K2"), ("down", "K2", True), ("up", "K2")]
    assert are_linked(one, two)


def test_an_introduction_ends_the_attempts_of_the_other():
    """K1 dials K2 in vain, where nobody hears it; K2 can reach K1, and that is one link for both."""
    network, clock, one, two = strangers()
    network.ports["10.0.0.2:2"] = "hangs"
    one.links.connect("K2", "10.0.0.2:2")

    two.links.introduce("K1", one.address)
    network.pump()
    clock.advance(60)
    network.pump()

    assert network.attempts == ["10.0.0.2:2", one.address]
    assert one.owner.told == [("up", "K2")]
    assert are_linked(one, two)


def test_a_link_that_is_newer_takes_the_place_of_a_dead_one():
    """Also of one that the smaller id dialled: the larger lost it, and introduces itself."""
    network, clock, one, two = pair()
    network.pump()
    are_linked(one, two)
    network.pump()
    network.wires[0].far.end(ConnectionLost())
    network.wires[0].near.clogged = True
    network.pump()

    two.links.introduce("K1", one.address)
    network.pump()

    assert one.owner.told == [("up", "K2"), ("down", "K2", False), ("up", "K2")]
    assert one.watcher.named("disconnected") == [("K2", "replaced by a newer link")]
    assert are_linked(one, two)
    clock.advance(1)
    network.pump()
    assert len(open_wires(network)) == 1


def speak_at_once(node):
    """As a host does when it hears of a link."""
    tell = node.owner.link_up

    def link_up(peer, hello):
        tell(peer, hello)
        node.links.send(peer, [(0, BEAT)])

    node.owner.link_up = link_up


def run(network, picks):
    """Deliver in the order of `picks`, one read of one end at a time, then whatever is left."""
    for pick in picks:
        ends = [end for wire in network.wires for end in (wire.near, wire.far)]
        ends[pick % len(ends)].step(1 << 30)
    network.pump()


# The ends are 0 and 1 of the first connection, 2 and 3 of the second; the even ones dialled.
IN_STEP = [0, 2, 1, 3] * 8  # last words cross
OVERTAKEN = [0, 1, *[2, 3] * 6]  # the second handshake is through before the first one's last word arrives
OVERHEARD = [0, 2, 1, 3, 0, 2, 1, 3, 0, 1]  # words on the first link, then the last word on the second


@given(st.lists(st.integers(0, 3), max_size=24), st.booleans())
@example(IN_STEP, False)
@example(OVERTAKEN, False)
@example(OVERTAKEN, True)
@example(OVERHEARD, False)
def test_two_nodes_that_dial_each_other_have_one_link(picks, by_rule):
    """In whatever order the bytes of the two connections arrive: one and the same link, without another try,
    and at most one change of mind on either side.
    """
    network, clock, one, two = strangers()
    speak_at_once(one)
    speak_at_once(two)
    (one.links.connect if by_rule else one.links.introduce)("K2", two.address)
    two.links.introduce("K1", one.address)
    run(network, picks)

    assert len(network.attempts) == 2
    assert len(open_wires(network)) == 1
    assert are_linked(one, two)
    network.pump()
    for node in (one, two):
        assert node.owner.messages[-1][2] == BEAT
        assert [told[0] for told in node.owner.told] in (["up"], ["up", "down", "up"])
    clock.advance(60)
    network.pump()
    assert len(network.attempts) == 2
    assert len(open_wires(network)) == 1


@given(st.lists(st.integers(0, 3), max_size=24), st.integers(0, 24), st.integers(0, 1))
def test_a_cut_on_the_way_costs_no_more_than_a_try(picks, at, which):
    """One of two crossing connections is reset at any moment: within two more tries there is a link."""
    network, clock, one, two = strangers()
    one.links.connect("K2", two.address)
    two.links.introduce("K1", one.address)
    run_until = picks[:at]
    for pick in run_until:
        ends = [end for wire in network.wires for end in (wire.near, wire.far)]
        ends[pick % len(ends)].step(1 << 30)
    network.wires[which].cut(ConnectionLost())
    run(network, picks[at:])
    for _ in range(2):
        clock.advance(0.1)
        network.pump()

    assert len(network.attempts) <= 4
    assert len(open_wires(network)) == 1
    assert are_linked(one, two)


def test_what_is_no_address_is_a_failure_of_the_attempt():
    """A replicated configuration may hold anything; it must not stop the node that applies it."""
    _, _, one, _ = strangers()
    one.links._endpoint_for = endpoints(None, 1.0)
    for address in ("", "h", "h:", "h:x", ":1", "h:0", "h:65536", "h:" + "9" * 5000):
        one.links.connect("K2", address)
        one.links.introduce("K3", address)

    reasons = [reason for _, reason, _ in one.watcher.named("unreachable")]
    assert "h:x" in " ".join(reasons)
    assert all("is not host:port" in reason for reason in reasons)
