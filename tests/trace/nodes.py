"""Three production nodes in one process: real host, consensus, storage, links and client port.

Only the reactor and the sockets are simulated. A reactor runs one iteration at a time on demand, so that a
test knows which node works, in which iteration, and on which event. Disks are real: an iteration waits for
one result of their threads.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from random import Random
from time import thread_time
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.config import Config
from kraft.config.values import ClientConfig, ClusterConfig, NodeConfig, PeerConfig
from kraft.host.host import Host
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.ports import Cancellable
from kraft.peerwire.hello import NONCE_BYTES
from kraft.server.factory import client_factory
from kraft.storage.store import open_store
from kraft.telemetry.metrics.holders import Count
from kraft.transport.links import Links

START_WALL_MS = 1_700_000_000_000
DISK_SECONDS = 30.0  # real seconds, within which a disk has answered
ROUND_SECONDS = 0.005  # virtual seconds that pass when no node has anything to do
ROUNDS_MAX = 5_000
NOTHING = nullcontext()


class Silent:
    """An observer that ignores every report; it replaces all observers."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    def traffic(self, _: str) -> tuple[Count, Count]:
        return Count(), Count()


class Reactor(Clock):
    """One node's reactor: as in Twisted, a call deferred in one iteration runs in the next."""

    def __init__(self) -> None:
        super().__init__()
        self.thread_calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()
        self.sockets: list[Socket] = []
        self.wants_write: list[Socket] = []
        self.began: float | None = None  # processor time at which a turn began, where that counts

    def call_from_thread(self, call: Callable[..., object], *arguments: Any) -> None:
        self.thread_calls.put((call, arguments))

    def addReader(self, socket: "Socket") -> None:
        """Do nothing: every socket is read."""

    removeReader = addReader

    def addWriter(self, socket: "Socket") -> None:
        if socket not in self.wants_write:
            self.wants_write.append(socket)

    def removeWriter(self, socket: "Socket") -> None:
        if socket in self.wants_write:
            self.wants_write.remove(socket)

    def threads_turn(self) -> None:
        """Run an iteration for one result of a thread, and wait for it."""
        call, arguments = self.thread_calls.get(timeout=DISK_SECONDS)
        call(*arguments)

    def timers_turn(self) -> bool:
        """Run an iteration for the calls that are due; return whether there were any."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return bool(due)

    def sockets_turn(self) -> bool:
        """Run an iteration for one socket that can write, read or close; return whether there was one."""
        if self.wants_write:
            socket = self.wants_write[0]
            if socket.doWrite() is not None:
                socket.abortConnection()
            return True
        for socket in self.sockets:
            if socket.connected and socket.arrived:
                data, socket.arrived = b"".join(socket.arrived), []
                socket.protocol.dataReceived(data)
                return True
            if socket.connected and socket.ended:
                socket.abortConnection()
                return True
        return False


class NodeClock:
    """`node.ports.Clock`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def seconds(self) -> float:
        began = self._reactor.began
        return self._reactor.seconds() + (0.0 if began is None else thread_time() - began)

    def wall_ms(self) -> int:
        return START_WALL_MS + int(self.seconds() * 1000)

    def call_later(self, delay: float, call: Callable[[], object]) -> Cancellable:
        return self._reactor.callLater(delay, call)

    def call_soon(self, call: Callable[[], object]) -> None:
        self._reactor.callLater(0, call)


class Socket(FileDescriptor):
    """One end of a connection; bytes written here arrive at the other end at once."""

    def __init__(self, reactor: Reactor, port: int) -> None:
        super().__init__(cast(Any, reactor))
        self.connected = 1
        self._turns = reactor
        self.port = port
        self.protocol: Any = None
        self.other: Socket | None = None
        self.arrived: list[bytes] = []
        self.ended = False  # closed by the other end
        reactor.sockets.append(self)

    def getHandle(self) -> "Socket":
        return self

    def writeSomeData(self, data: bytes) -> int:
        return self.send(data)

    def send(self, data: bytes) -> int:
        assert self.other is not None
        self.other.arrived.append(bytes(data))
        return len(data)

    def abortConnection(self) -> None:
        self.connected = 0
        self._turns.callLater(0, self._cut)

    def _cut(self) -> None:
        assert self.other is not None
        self._turns.sockets.remove(self)
        self.other.ended = True
        reason = Failure(ConnectionDone())
        self.connectionLost(reason)
        self.protocol.connectionLost(reason)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.port)

    def getPeer(self) -> IPv4Address:
        assert self.other is not None
        return self.other.getHost()


def connect(near: Reactor, far: Reactor, port: int, dialler: Any, factory: Any) -> Socket:
    """Create a connection; return its near end."""
    one, two = Socket(near, 40_000 + len(near.sockets)), Socket(far, port)
    one.other, two.other = two, one
    for socket, maker in ((one, dialler), (two, factory)):
        socket.protocol = maker.buildProtocol(socket.getPeer())
    for socket in (one, two):
        socket.protocol.makeConnection(socket)
    return one


@implementer(IStreamServerEndpoint, IStreamClientEndpoint)
class Endpoint:
    """The peer port of one node: it listens, the others connect."""

    def __init__(self, nodes: "Nodes", reactor: Reactor, address: str) -> None:
        self._nodes = nodes
        self._reactor = reactor
        self._address = address

    def listen(self, factory: Any) -> Any:
        self._nodes.listening[self._address] = (self._reactor, factory)
        return succeed(self)

    def connect(self, factory: Any) -> Any:
        if self._address not in self._nodes.listening:
            return fail(ConnectError())
        far, listener = self._nodes.listening[self._address]
        port = int(self._address.rpartition(":")[2])
        return succeed(connect(self._reactor, far, port, factory, listener).protocol)


class CountedDisk:
    """The store, with the number of calls that it has not answered yet, and of all disk transactions."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.pending = 0
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, *arguments: Any) -> None:
        self.commits += 1
        self._store.commit(*self._counted(*arguments))

    def checkpoint(self, *arguments: Any) -> None:
        self._store.checkpoint(*self._counted(*arguments))

    def fetch(self, *arguments: Any) -> None:
        self._store.fetch(*self._counted(*arguments))

    def _counted(self, *arguments: Any) -> tuple[Any, ...]:
        *rest, done = arguments

        def answered(result: Any) -> None:
            self.pending -= 1
            done(result)

        self.pending += 1
        return *rest, answered


class ProductionNode:
    """One node, composed as in `kraft.process.service`."""

    def __init__(
        self, nodes: "Nodes", id_: str, members: dict[str, str], directory: Path, groups: int
    ) -> None:
        self.reactor = Reactor()
        config = Config(
            NodeConfig(id_, str(directory / id_)),
            ClusterConfig(members, groups=groups),
            PeerConfig(advertise=members[id_]),
            ClientConfig(),
        )
        dice = Random(id_)
        clock = NodeClock(self.reactor)
        self.store = open_store(
            config.node.data,
            node_id=id_,
            incarnation=lambda: f"{dice.getrandbits(128):032x}",
            call_in_reactor=self.reactor.call_from_thread,
            fatal=_fatal,
            observer=Silent(),
        )
        self.disk = CountedDisk(self.store)
        self.host = Host(
            config,
            self.store.loaded,
            clock=clock,
            disk=self.disk,
            jitter=dice.randrange,
            observer=Silent(),
            raft_observer=Silent(),
            fatal=_fatal,
        )
        self.links = Links(
            id=id_,
            clock=self.reactor,
            listening=Endpoint(nodes, self.reactor, members[id_]),
            endpoint_for=lambda address: Endpoint(nodes, self.reactor, address),
            secret=None,
            dice=lambda: 0.5,
            nonce=lambda: dice.randbytes(NONCE_BYTES),
            receiver=self.host.peer_receiver,
            observer=Silent(),
        )
        self.clients = client_factory(config, self.host, Silent(), clock)

    def start(self) -> None:
        def started() -> None:
            self.links.start(self.host.peers.first_peers)

        self.host.start(self.links, started)

    @property
    def leads(self) -> bool:
        return self.host.leader(0) == self.host.id

    @property
    def serves(self) -> bool:
        """It knows the leaders, and its cluster has the newest machine version in force."""
        raised = self.host.peers.formation.version.in_force == MACHINE_VERSION
        return raised and all(map(self.host.leader, range(self.host.slots.groups)))

    def turn(self) -> bool:
        """Run one iteration of its reactor; return whether there was anything to do."""
        if self.disk.pending:
            self.reactor.threads_turn()
            return True
        return self.reactor.timers_turn() or self.reactor.sockets_turn()

    def close(self) -> None:
        self.store.close()


class Nodes:
    """A cluster of three nodes with a leader, and one client connected to the leader."""

    def __init__(self, directory: Path, groups: int = 1) -> None:
        self.listening: dict[str, tuple[Reactor, Any]] = {}
        members = {f"K{n}": f"127.0.0.1:{10_000 + n}" for n in (1, 2, 3)}
        self.nodes = [ProductionNode(self, id_, members, directory, groups) for id_ in members]
        for node in self.nodes:
            node.start()
        self._let_pass(lambda: any(node.leads for node in self.nodes))
        self.leader = next(node for node in self.nodes if node.leads)
        self.followers = [node for node in self.nodes if node is not self.leader]
        self.client = self._connect()
        self._others: list[Socket] = []
        self._let_pass(lambda: all(node.serves for node in self.nodes))

    def _connect(self) -> Socket:
        return connect(Reactor(), self.leader.reactor, 10_011, _Silence(), self.leader.clients)

    def connect_more(self, count: int) -> None:
        """Connect so many clients to the leader, for `ask_all`."""
        self._others += [self._connect() for _ in range(count)]
        self.rest()

    def _let_pass(self, reached: Callable[[], bool]) -> None:
        """Run all nodes, and let time pass when they are idle, until `reached()` and all are idle."""
        for _ in range(ROUNDS_MAX):
            if not any(node.turn() for node in self.nodes):
                if reached():
                    return
                for node in self.nodes:
                    node.reactor.rightNow += ROUND_SECONDS
        raise AssertionError("the cluster does not reach the state")

    def ask(self, request: bytes, around: AbstractContextManager[object] = NOTHING) -> bytes:
        """Send a request to the leader and run iterations until it is answered, in a realistic order.

        The leader runs as far as it can, including its disk; then the followers run; then the leader receives
        a reply of one of them. Returns the reply at the end of the iteration that sent it. `around` is
        entered for each iteration of the leader.
        """
        assert self.client.other is not None
        self.client.other.arrived.append(request)
        for _ in range(ROUNDS_MAX):
            if self.client.arrived:
                reply, self.client.arrived = b"".join(self.client.arrived), []
                return reply
            with around:
                busy = self.leader.turn()
            if not busy and not any(node.turn() for node in self.followers):
                raise AssertionError("no answer, and nothing more to do")
        raise AssertionError("no answer")

    def ask_all(self, request: bytes, around: AbstractContextManager[object] = NOTHING) -> list[bytes]:
        """Send a request of every client to the leader at once; returns their replies. No time passes.

        `around` is that of `ask`.
        """
        clients = [self.client, *self._others]
        for client in clients:
            assert client.other is not None
            client.other.arrived.append(request)
        while not all(client.arrived for client in clients):
            with around:
                busy = self.leader.turn()
            assert busy or any(node.turn() for node in self.followers)
        self.rest()
        replies = [b"".join(client.arrived) for client in clients]
        for client in clients:
            client.arrived = []
        return replies

    def let_pass(self, seconds: float) -> None:
        """Let so much time pass, and everything be done that is due."""
        end = self.leader.reactor.seconds() + seconds
        self._let_pass(lambda: self.leader.reactor.seconds() >= end)

    def rest(self) -> None:
        """Let everything be done that is under way; no time passes."""
        self._let_pass(lambda: True)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class _Silence:
    """The protocol of a client that only reads."""

    def buildProtocol(self, _: Any) -> "_Silence":
        return self

    def makeConnection(self, _: Any) -> None:
        pass


def _fatal(reason: str, *, outdated: bool = False, damaged: bool = False) -> Any:
    raise AssertionError(reason)
