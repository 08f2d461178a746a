"""A client port without sockets: real sessions on a fake host."""

from collections import Counter
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.testing import StringTransport

from kraft.config.values import (
    ClientConfig,
    Config,
    LimitsConfig,
    NodeConfig,
    OnceConfig,
    RaftConfig,
    ScriptsConfig,
    UsersConfig,
)
from kraft.server.capacity import Capacity
from kraft.server.factory import client_factory
from kraft.server.port import ClientPort
from kraft.server.protocol import ClientProtocol
from kraft.server.statistics import Statistics
from tests.server.fake_host import FakeClock, FakeHost


class Recorder:
    """Counts the reports of the client port."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.stopped: Counter[str] = Counter()
        self.paused_now = 0
        self.denials: Counter[str] = Counter()
        self.logins: list[tuple[str, str, str]] = []

    def connection_opened(self, protocol: str) -> None:
        self.open[protocol] += 1

    def connection_switched(self, before: str, after: str) -> None:
        self.open[before] -= 1
        self.open[after] += 1

    def connection_closed(self, protocol: str) -> None:
        self.open[protocol] -= 1

    def rejected(self, reason: str) -> None:
        self.rejections[reason] += 1

    def paused(self, connections: int) -> None:
        self.paused_now = connections

    def script_stopped(self, limit: str) -> None:
        self.stopped[limit] += 1

    def denied(self, reason: str) -> None:
        self.denials[reason] += 1

    def login(self, outcome: str, client: str, user: str) -> None:
        self.logins.append((outcome, client, user))


class Transport(StringTransport):
    """Counts writes, and knows whether reading is paused and how it was closed."""

    writes = 0
    aborted = False

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Port:
    """The client port under test."""

    def __init__(
        self,
        *,
        limits: LimitsConfig | None = None,
        client: ClientConfig | None = None,
        raft: RaftConfig | None = None,
        groups: int = 1,
        capacity: Capacity | None = None,
        scripts: ScriptsConfig | None = None,
        users: UsersConfig | None = None,
        once: OnceConfig | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.host = FakeHost(self.clock, groups)
        self.observer = Recorder()
        config = Config(
            NodeConfig("K1", "data"),
            limits=limits or LimitsConfig(),
            client=client or ClientConfig(),
            raft=raft or RaftConfig(),
            scripts=scripts or ScriptsConfig(),
            users=users or UsersConfig(),
            once=once or OnceConfig(),
        )
        self.factory = client_factory(config, self.host, self.observer, self.clock, capacity or Capacity())

    @property
    def statistics(self) -> Statistics:
        """What the client port has counted."""
        port: ClientPort = self.factory.port
        return port.statistics

    @property
    def names(self) -> dict[str, int]:
        """How often each command was answered."""
        return {name: row.latencies.number for name, row in self.statistics.commands.items()}

    @property
    def kinds(self) -> dict[str, int]:
        """How many commands of each kind were answered."""
        kinds: Counter[str] = Counter()
        for row in self.statistics.commands.values():
            kinds[row.kind] += row.latencies.number
        return kinds

    def settle(self) -> None:
        """Answer everything, and let what goes on in the next turn go on."""
        self.host.settle()
        self.clock.advance(0)
        while self.host.waiting:
            self.host.settle()
            self.clock.advance(0)

    def connect(self) -> "Talk":
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50_000))
        transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 50_000))
        protocol.makeConnection(transport)
        return Talk(self, protocol, transport)


class Talk:
    """One client's side."""

    def __init__(self, port: Port, protocol: ClientProtocol, transport: Transport) -> None:
        self.port = port
        self.protocol = protocol
        self.transport = transport

    def send(self, data: bytes) -> bytes:
        """Send; returns the replies since the last call."""
        self.protocol.dataReceived(data)
        return self.read()

    def ask(self, data: bytes) -> bytes:
        """Send and let the host answer everything."""
        self.protocol.dataReceived(data)
        self.port.settle()
        return self.read()

    def encode(self, *words: bytes | str) -> bytes:
        return encode(*words)

    def run(self, *words: bytes | str) -> bytes:
        return self.ask(self.encode(*words))

    def read(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def half_close(self) -> None:
        IHalfCloseableProtocol(self.protocol).readConnectionLost()

    def lose(self) -> None:
        self.protocol.connectionLost()


def encode(*words: bytes | str) -> bytes:
    """A request in RESP."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
