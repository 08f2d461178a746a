"""An in-memory network for links: connections that carry bytes when told to, and can be cut or clogged."""

from dataclasses import dataclass, field
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint, IStreamServerEndpoint, ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.peerwire.hello import NONCE_BYTES, Hello
from kraft.raft.messages import Append, Entry, Heartbeat
from kraft.telemetry.metrics.holders import Count
from kraft.transport.limits import LinkLimits
from kraft.transport.links import Links

BUFFER_BYTES = 1 << 16  # above it a transport pauses its producer, as Twisted's do
BEAT = Heartbeat(term=1, commit=0, round=1)


def append(size, index=1):
    return Append(1, index - 1, min(index - 1, 1), 0, (Entry(index, 1, 0, 1, b"x" * size),))


@implementer(ITransport, IConsumer)
class End:
    """One end of a wire, as a transport."""

    def __init__(self, host, peer):
        self._host, self._peer = host, peer
        self.protocol: Any = None
        self.other: Any = None
        self.outgoing = []
        self.clogged = False
        self.producer = None
        self.paused = False
        self.closing = False
        self.lost = None  # reason of the end of this end
        self.pending = None  # reason waiting for delivery

    def getHost(self):
        return self._host

    def getPeer(self):
        return self._peer

    def write(self, data):
        if self.lost is None and self.pending is None and not self.closing:
            self.outgoing.append(bytes(data))
            if sum(map(len, self.outgoing)) > BUFFER_BYTES and self.producer is not None and not self.paused:
                self.paused = True
                self.producer.pauseProducing()

    def writeSequence(self, data):
        self.write(b"".join(data))

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def loseConnection(self):
        self.closing = True

    def abortConnection(self):
        if self.lost is None and self.pending is None:
            self.outgoing.clear()
            self.pending = ConnectionAborted()
            self.other.end(ConnectionLost())

    def end(self, reason):
        """The connection ends at this side, at the next turn."""
        if self.lost is None and self.pending is None:
            self.pending = reason

    def step(self, size):
        """One turn of this end; whether anything happened."""
        if self.lost is None and self.pending is not None:
            self.lost, self.pending = self.pending, None
            protocol, self.protocol, self.producer = self.protocol, None, None  # as Twisted lets go of them
            protocol.connectionLost(Failure(self.lost))
            return True
        if self.lost is not None or self.clogged:
            return False
        if self.outgoing:
            data, self.outgoing = b"".join(self.outgoing), []
            if self.paused:
                self.paused = False
                if self.producer is not None:
                    self.producer.resumeProducing()
            for start in range(0, len(data), size):
                if self.other.lost is None and self.other.pending is None:
                    self.other.protocol.dataReceived(data[start : start + size])
            return True
        if self.closing:
            self.end(ConnectionDone())
            self.other.end(ConnectionDone())
            return True
        return False


class Descriptor(FileDescriptor):
    """A descriptor whose socket takes `room` bytes, or raises it. It is that socket itself."""

    TLS = False

    def __init__(self, room):
        super().__init__(reactor=MemoryReactorClock())
        self.connected = 1
        self.room, self.sent = room, b""

    def getHandle(self):
        return self

    def writeSomeData(self, data):
        try:
            return self.send(data)
        except OSError as error:
            return error

    def send(self, data):
        if isinstance(self.room, Exception):
            raise self.room
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def startWriting(self):
        pass

    def stopWriting(self):
        pass


@dataclass
class Wire:
    """A connection: `near` dialled."""

    near: End
    far: End
    stranger: Any = None  # who dialled, where it is no node

    def pump(self, size=1 << 30):
        """Carry everything both ways, at most `size` bytes per read, until nothing moves; whether any did."""
        moved = False
        while self.near.step(size) + self.far.step(size):
            moved = True
        return moved

    def cut(self, reason=None):
        """The far process died."""
        self.far.end(ConnectionAborted())
        self.near.end(reason or ConnectionDone())


@dataclass
class Network:
    """Ports by `host:port`, and every wire ever made. `silent` addresses accept no connection."""

    ports: dict = field(default_factory=dict)
    wires: list = field(default_factory=list)
    attempts: list = field(default_factory=list)
    dialling_from: str = "127.0.0.1"

    def wire(self, address, factory, dialler):
        host, port = address.split(":")
        near = IPv4Address("TCP", self.dialling_from, 40000 + len(self.wires))
        far = IPv4Address("TCP", host, int(port))
        accepted = factory.buildProtocol(near)
        if accepted is None:
            return None
        wire = Wire(End(near, far), End(far, near))
        wire.near.other, wire.far.other = wire.far, wire.near
        wire.near.protocol, wire.far.protocol = dialler.buildProtocol(far), accepted
        self.wires.append(wire)
        for end in (wire.near, wire.far):
            end.protocol.transport = end
        wire.near.protocol.makeConnection(wire.near)
        wire.far.protocol.makeConnection(wire.far)
        return wire

    def pump(self, size=1 << 30):
        while sum(wire.pump(size) for wire in self.wires):
            pass


@implementer(IStreamClientEndpoint)
class ClientEnd:
    def __init__(self, network, address):
        self.network, self.address = network, address

    def connect(self, factory):
        self.network.attempts.append(self.address)
        port = self.network.ports.get(self.address)
        if port is None:
            return fail(ConnectError())
        if port == "hangs":
            return Deferred()
        wire = self.network.wire(self.address, port, factory)
        return fail(ConnectError()) if wire is None else succeed(wire.near.protocol)


@implementer(IStreamServerEndpoint)
class ServerEnd:
    def __init__(self, network, address):
        self.network, self.address = network, address

    def listen(self, factory):
        if self.address in self.network.ports:
            return fail(CannotListenError("127.0.0.1", 0, OSError("in use")))
        self.network.ports[self.address] = factory
        return succeed(self)

    def stopListening(self):
        del self.network.ports[self.address]


class Recorder:
    """The owner of one node's links: keeps what it is told. `refuse` is its answer to every peer."""

    def __init__(self, name, cluster="", refuse=None):
        self.id, self.cluster, self.refuse = name, cluster, refuse
        self.told, self.messages, self.checked, self.refusals, self.parts = [], [], [], [], []
        self.failures, self.hellos = [], {}

    def hello(self):
        return Hello(id=self.id, incarnation=self.id.encode().hex().zfill(32), cluster=self.cluster)

    def check(self, hello):
        self.checked.append(hello.id)
        if self.refuse is not None:
            return self.refuse
        if self.cluster and hello.cluster and self.cluster != hello.cluster:
            return f"{hello.id} belongs to another cluster"
        return None

    def refused(self, hello, reason):
        self.refusals.append((hello.id, reason))

    def unreachable(self, peer, reason):
        self.failures.append((peer, reason))

    def link_up(self, peer, hello):
        self.told.append(("up", peer))
        self.hellos[peer] = hello

    def link_down(self, peer, closed_by_peer):
        self.told.append(("down", peer, closed_by_peer))

    def received(self, peer, messages):
        self.messages.extend((peer, group, message) for group, message in messages)

    def receiving(self, peer):
        self.parts.append(peer)


class Watcher:
    """Observer of one node."""

    def __init__(self):
        self.events, self.sent, self.received = [], Count(), Count()

    def __getattr__(self, name):
        return lambda *arguments: self.events.append((name, *arguments))

    def traffic(self, _peer):
        return self.sent, self.received

    def named(self, name):
        return [event[1:] for event in self.events if event[0] == name]


class Node:
    """A `Links` with a recording owner, at `127.0.0.1:<port>` of a network."""

    def __init__(self, network, clock, name, port, secret=None, limits=None, **owner):
        self.address = f"127.0.0.1:{port}"
        self.owner, self.watcher = Recorder(name, **owner), Watcher()
        self._nonces = 0
        self.links = Links(
            id=name,
            clock=clock,
            listening=ServerEnd(network, self.address),
            endpoint_for=lambda address: ClientEnd(network, address),
            secret=secret,
            dice=lambda: 0.5,
            nonce=self._nonce,
            receiver=self.owner,
            observer=self.watcher,
            limits=limits or LinkLimits(),
        )

    def _nonce(self):
        self._nonces += 1
        return f"{self.owner.id} {self._nonces}".encode().ljust(NONCE_BYTES, b".")


def pair(secret=None, limits=None, network=None, first=None, second=None):
    """Two nodes that know each other, not yet pumped: (network, clock, K1, K2)."""
    network, clock = network or Network(), Clock()
    one = Node(network, clock, "K1", 1, **{"secret": secret, "limits": limits, **(first or {})})
    two = Node(network, clock, "K2", 2, **{"secret": secret, "limits": limits, **(second or {})})
    peers = {"K1": one.address, "K2": two.address}
    two.links.start(peers)
    one.links.start(peers)
    return network, clock, one, two
