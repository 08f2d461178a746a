"""What Twisted promises holds on kraft's reactor as on the stock one, and `call_soon` is the same on both.

The reactors here are real ones on loopback sockets, beside the global one of the process.
"""

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread, get_ident
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.python import log

from kraft.process import reactor as module
from kraft.process.clock import ReactorClock
from kraft.process.reactor import Reactor

LIMIT = 20.0  # seconds; far above what a test takes on a busy machine
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close resets the connection
MUCH = 4 << 20  # bytes; more than the buffers of a loopback connection
TESTS_LEAST = 200  # of Twisted's own tests


@pytest.fixture(params=[EPollReactor, Reactor], ids=["stock", "kraft"])
def reactor(request) -> Iterator[Any]:
    """A reactor beside the global one."""
    made = request.param()
    yield made
    for reader in list(made._internalReaders):
        made.removeReader(reader)
        reader.connectionLost(None)
    made.disconnectAll()
    made._poller.close()


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """The exceptions that Twisted's log gets."""
    found: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if event["isError"]:
            found.append(event["failure"].value)

    log.addObserver(observe)
    yield found
    log.removeObserver(observe)


def iterate(reactor: Any, until: Callable[[], object]) -> None:
    """Iterations of the reactor, until the condition holds."""
    for _ in range(round(LIMIT / 0.01)):
        reactor.iterate(0.01)
        if until():
            return
    raise AssertionError(f"not within {LIMIT} s")


class Recorder(Protocol):
    """Keeps what happens to its connection."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if b"raise" in data:
            raise ValueError(data.decode())

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason.type.__name__
        if b"badly" in self.received:
            raise LookupError("badly")


class Ends:
    """A port of the reactor, and clients of it as plain sockets."""

    def __init__(self, reactor: Any) -> None:
        self.protocols: list[Recorder] = []
        self._reactor = reactor
        factory = Factory.forProtocol(self._build)
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self._clients: list[socket.socket] = []

    def _build(self) -> Recorder:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def connect(self) -> socket.socket:
        self._clients.append(socket.create_connection(("127.0.0.1", self._port.getHost().port), LIMIT))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._port.stopListening()
        iterate(self._reactor, lambda: all(protocol.lost for protocol in self.protocols))


@pytest.fixture
def ends(reactor) -> Iterator[Ends]:
    made = Ends(reactor)
    yield made
    made.close()


def test_an_error_ends_its_connection_alone_and_is_logged(reactor, ends, failures):
    """Also when the protocol raises once more while it is told."""
    for words in (b"raise", b"raise badly", b"well"):
        ends.connect().sendall(words)
    iterate(reactor, lambda: len(ends.protocols) == 3 and all(p.received for p in ends.protocols))
    ended = {protocol.received: protocol.lost for protocol in ends.protocols}
    assert ended == {b"raise": "ValueError", b"raise badly": "ValueError", b"well": None}
    assert sorted(map(str, failures)) == ["badly", "raise", "raise badly"]


@pytest.mark.parametrize(("linger", "reason"), [(b"", "ConnectionDone"), (RESET, "ConnectionLost")])
def test_the_end_of_a_connection_has_its_reason(reactor, ends, linger, reason):
    client = ends.connect()
    client.sendall(b"last words")
    iterate(reactor, lambda: ends.protocols and ends.protocols[0].received)
    if linger:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()
    iterate(reactor, lambda: ends.protocols[0].lost)
    assert ends.protocols[0].lost == reason


def test_a_connection_that_an_event_closes_gets_no_event_of_the_same_poll(reactor, ends, failures):
    clients = [ends.connect() for _ in range(2)]
    iterate(reactor, lambda: len(ends.protocols) == 2)
    first, second = ends.protocols
    for one, other in ((first, second), (second, first)):
        one.dataReceived = lambda _, other=other: other.transport.abortConnection()
    for client in clients:
        client.sendall(b"x")
    iterate(reactor, lambda: first.lost or second.lost)
    assert sorted([str(first.lost), str(second.lost)]) == ["ConnectionAborted", "None"]
    assert failures == []


def test_a_reader_that_stalls_pauses_the_producer(reactor, ends):
    """And goes on where it stopped."""
    client = ends.connect()
    iterate(reactor, lambda: ends.protocols)
    said: list[str] = []

    class Producer:
        def pauseProducing(self) -> None:
            said.append("pause")

        def resumeProducing(self) -> None:
            said.append("resume")

        def stopProducing(self) -> None:
            said.append("stop")

    transport: Any = ends.protocols[0].transport
    transport.registerProducer(Producer(), True)
    transport.write(bytes(MUCH))
    got = 0

    def drained() -> bool:
        nonlocal got
        got += len(client.recv(1 << 20))
        return got == MUCH

    iterate(reactor, drained)
    iterate(reactor, lambda: said[-1] == "resume")
    assert said == ["pause", "resume"]


def test_a_paused_transport_is_not_read(reactor, ends):
    client = ends.connect()
    iterate(reactor, lambda: ends.protocols)
    transport: Any = ends.protocols[0].transport
    transport.pauseProducing()
    client.sendall(b"x")
    for _ in range(5):
        reactor.iterate(0.01)
    assert ends.protocols[0].received == b""
    transport.resumeProducing()
    iterate(reactor, lambda: ends.protocols[0].received == b"x")


def test_calls_of_other_threads_run_in_order_and_wake_the_reactor(reactor):
    done: list[int] = []
    threads = set()

    def call(number: int) -> None:
        done.append(number)
        threads.add(get_ident())
        if number == 99:
            reactor.stop()

    thread = Thread(target=lambda: [reactor.callFromThread(call, number) for number in range(100)])
    reactor.callWhenRunning(thread.start)
    late = reactor.callLater(LIMIT, reactor.stop)
    reactor.run(installSignalHandlers=False)
    thread.join()
    assert late.active(), "the reactor slept"
    assert done == list(range(100))
    assert threads == {get_ident()}
    late.cancel()


def test_call_soon_runs_in_order_and_once_a_poll(reactor):
    """What a call asks for waits for the next iteration, so that sockets are read in between."""
    soon = ReactorClock(reactor).call_soon
    done: list[str] = []

    def first() -> None:
        done.append("first")
        soon(lambda: done.append("third"))

    soon(first)
    soon(lambda: done.append("second"))
    reactor.iterate(0)
    assert done == ["first", "second"]
    reactor.iterate(0)
    assert done == ["first", "second", "third"]


def test_call_soon_does_not_sleep(reactor):
    """Although no timer is due."""
    ReactorClock(reactor).call_soon(reactor.stop)
    late = reactor.callLater(LIMIT, lambda: None)
    reactor.run(installSignalHandlers=False)
    assert late.active()
    late.cancel()


def test_an_error_in_call_soon_leaves_the_others(reactor, failures):
    soon = ReactorClock(reactor).call_soon
    done: list[int] = []
    for number in (1, 0, 2):
        soon(lambda number=number: done.append(2 // number))
    reactor.iterate(0)
    assert done == [2, 1]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


def test_timers_keep_their_order(reactor):
    done: list[int] = []
    for number in (3, 1, 2):
        reactor.callLater(0.005 * number, done.append, number)
    iterate(reactor, lambda: len(done) == 3)
    assert done == [1, 2, 3]


def test_twisted_has_the_private_names_that_the_reactor_uses():
    """If this fails with a new Twisted, nodes run on its stock reactor until `Reactor` does without them."""
    stock = EPollReactor()
    assert [name for name in module.PRIVATE if not hasattr(stock, name)] == []


def test_a_twisted_without_one_of_them_is_refused(monkeypatch):
    monkeypatch.setattr(module, "PRIVATE", ("_poller", "_gone"))
    with pytest.raises(ImportError, match="has no EPollReactor"):
        module.install()


def test_twisted_s_own_tests_pass():
    """Of the core, sockets, timers, threads and descriptors: in a process of its own, as they replace the
    global reactor.
    """
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("twisted_tests.py"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran is not None
    assert int(ran[1]) >= TESTS_LEAST, done.stderr[-500:]
