"""Makes client connections, and the policies around that: each is a factory that wraps another.

A policy sees connections come and go, never their bytes, so it costs nothing per request.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from kraft.config.values import Config
from kraft.node.ports import Cancellable, Clock
from kraft.server.asked_queries import AskedQueries
from kraft.server.capacity import Capacity
from kraft.server.commands.acl_table import catalog_of
from kraft.server.commands.table import TABLE, UNLISTED
from kraft.server.errors import MAX_CLIENTS
from kraft.server.lua.evaluator import LuaEvaluator
from kraft.server.password_queue import InThread
from kraft.server.port import ClientPort
from kraft.server.ports import NodeHost, ServerObserver
from kraft.server.protocol import ClientProtocol
from kraft.server.validation import Validation

REFUSED_MAX = 28  # connections that are being refused; `process/open_files.py` counts on it


class ClientFactory(Factory):
    """Makes one session per connection, without any policy."""

    noisy = False

    def __init__(self, port: ClientPort, validation: Validation) -> None:
        self._port = port
        self._validation = validation

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:  # noqa: ARG002  # Twisted's signature
        """A connection with its session."""
        return ClientProtocol(self._port, self._validation)


class Policy(Factory):
    """A factory around another, which it starts and stops with itself."""

    noisy = False

    def __init__(self, wrapped: Factory, port: ClientPort) -> None:
        self.wrapped = wrapped
        self.port = port

    def doStart(self) -> None:
        self.wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        super().doStop()  # type: ignore[no-untyped-call]
        self.wrapped.doStop()


class ConnectionCap(Policy):
    """Refuses connections above `connections_max` with Redis' error.

    A refused connection is open until the error is sent. Those above `REFUSED_MAX` are closed without one,
    so that a flood takes no more files than that.
    """

    def __init__(self, wrapped: Factory, port: ClientPort) -> None:
        super().__init__(wrapped, port)
        self._open = 0
        self._refused = 0

    def buildProtocol(self, addr: Any) -> Any:
        """The wrapped factory's protocol, one that refuses the connection, or None, which closes it."""
        if self._open >= self.port.connections_max:
            self.port.rejected("max_clients")
            return self._refusal()
        protocol: Any = self.wrapped.buildProtocol(addr)
        if isinstance(protocol, ClientProtocol):
            self._open += 1
            protocol.when_lost.append(self._lost)
        return protocol

    def _refusal(self) -> "RefusedConnection | None":
        if self._refused >= REFUSED_MAX:
            return None
        self._refused += 1
        return RefusedConnection(MAX_CLIENTS, self._refusal_sent)

    def _refusal_sent(self) -> None:
        self._refused -= 1

    def _lost(self, _: ClientProtocol) -> None:
        self._open -= 1


class RefusedConnection(Protocol):
    """Sends one error and closes; calls `lost` when the connection is gone."""

    def __init__(self, text: str, lost: Callable[[], None]) -> None:
        self._text = text
        self._lost = lost

    def connectionMade(self) -> None:
        """Send the error and close."""
        transport: Any = self.transport
        transport.write(f"-{self._text}\r\n".encode())
        transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002  # Twisted's signature
        """Make room for another refusal."""
        self._lost()


class Timeouts(Policy):
    """Closes connections that never send a whole request, or no request for a long time.

    One sweep over all connections replaces a timer for each: a connection is closed at most a quarter of the
    shorter timeout late. A connection that waits for an answer is not idle.
    """

    def __init__(self, wrapped: Factory, port: ClientPort) -> None:
        super().__init__(wrapped, port)
        self._protocols: set[ClientProtocol] = set()
        self._sweep: Cancellable | None = None

    @property
    def _idle(self) -> float:
        return self.port.config.client.idle_timeout

    @property
    def _handshake(self) -> float:
        return self.port.config.client.handshake_timeout

    def buildProtocol(self, addr: Any) -> Any:
        """The wrapped factory's protocol, watched."""
        protocol: Any = self.wrapped.buildProtocol(addr)
        if isinstance(protocol, ClientProtocol):
            self._protocols.add(protocol)
            protocol.when_lost.append(self._lost)
            if self._sweep is None:
                self._schedule()
        return protocol

    def _schedule(self) -> None:
        shortest = min(timeout for timeout in (self._idle, self._handshake) if timeout)
        self._sweep = self.port.clock.call_later(shortest / 4, self._check)

    def _check(self) -> None:
        now = self.port.clock.seconds()
        for protocol in list(self._protocols):
            session = protocol.session
            state = session.state
            if not state.requests_received:
                if now - state.opened_at >= self._handshake:
                    session.abort("handshake_timeout")
            elif self._idle and session.idle and now - state.last_input_at >= self._idle:
                session.abort("idle_timeout")
        self._schedule()

    def _lost(self, protocol: ClientProtocol) -> None:
        self._protocols.discard(protocol)
        if not self._protocols and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None


def client_factory(
    config: Config,
    host: NodeHost,
    observer: ServerObserver,
    clock: Clock,
    capacity: Capacity = Capacity(),  # noqa: B008 - frozen
    in_thread: InThread = execute,
) -> Policy:
    """The factory to listen with: sessions under all policies. Drain its `port` before the stop.

    `in_thread` calls what takes long: comparisons of passwords, and the users' file.
    """
    port = ClientPort(config, host, observer, clock, catalog_of(TABLE), capacity, in_thread)
    validation = Validation(port, TABLE, UNLISTED)
    port.evaluator = LuaEvaluator(port, validation)
    host.use_evaluator(port.evaluator, AskedQueries(host))
    host.users.watch(port.users.changed)
    return ConnectionCap(Timeouts(ClientFactory(port, validation), port), port)
