"""The same over real sockets of this machine, on a reactor of its own."""

import gc
import weakref

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint

from kraft.peerwire.hello import NONCE_BYTES
from kraft.raft.messages import Append, Entry, Heartbeat
from kraft.transport.endpoints import endpoints
from kraft.transport.limits import LinkLimits
from kraft.transport.links import Links
from tests.transport.wires import Recorder, Watcher

BEAT = Heartbeat(1, 0, 1)
LARGE = [Append(1, n, min(n, 1), 0, (Entry(n + 1, 1, 0, 1, bytes(4 << 20)),)) for n in range(5)]


def node(reactor, name, port):
    owner, watcher = Recorder(name), Watcher()
    links = Links(
        id=name,
        clock=reactor,
        listening=TCP4ServerEndpoint(reactor, port, interface="127.0.0.1"),
        endpoint_for=endpoints(reactor, 3.0),
        secret=b"secret",
        dice=lambda: 0.5,
        nonce=lambda: name.encode().ljust(NONCE_BYTES, b"."),
        receiver=owner,
        observer=watcher,
        limits=LinkLimits(ping_interval=0.02),
    )
    return links, owner, watcher


@pytest.mark.slow
def test_links_over_tcp():
    """Bulk of 20 MiB with a heartbeat in it, pings, and a connection that is reset, whose links are freed."""
    epoll = pytest.importorskip("twisted.internet.epollreactor")
    reactor = epoll.EPollReactor()
    first, one, one_watcher = node(reactor, "K1", 0)
    second, two, _ = node(reactor, "K2", 0)

    cut: list = []
    left: list = []

    def until(condition, then):
        reactor.callLater(0, then) if condition() else reactor.callLater(0.005, until, condition, then)

    def listening(_):
        port = second._port.getHost().port
        first.start({"K2": f"127.0.0.1:{port}"})
        until(lambda: first.connected() and second.connected(), talk)

    def talk():
        for message in LARGE:
            assert first.send("K2", [(0, message)])
        assert first.send("K2", [(0, BEAT)])
        until(lambda: len(two.messages) == 6 and one_watcher.named("round_trip"), die)

    def die():
        gc.disable()
        cut.extend(weakref.ref(links._links[peer]) for links, peer in ((first, "K2"), (second, "K1")))
        second._links["K1"].transport.abortConnection()  # a reset, as from a process killed with unread bytes
        until(lambda: ("down", "K2", True) in one.told, finish)

    def finish():
        left.extend(link() is not None for link in cut)
        gc.enable()
        gatherResults([first.stop(), second.stop()]).addCallback(lambda _: reactor.stop())

    reactor.callWhenRunning(lambda: second.start({}).addCallback(listening))
    reactor.callLater(20, reactor.stop)
    reactor.run(installSignalHandlers=False)

    received = [message for _, _, message in two.messages]
    assert received.index(BEAT) < 5
    assert [message for message in received if message != BEAT] == LARGE
    assert left == [False, False]
    assert one.told[:2] == [("up", "K2"), ("down", "K2", True)]
