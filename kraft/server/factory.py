"""Makes client connections, and the policies around that: each is a factory that wraps another.

A policy sees connections come and go, never their bytes, so it costs nothing per request.
"""

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from kraft.config.values import Config
from kraft.node.ports import Cancellable, Clock
from kraft.server.errors import MAX_CLIENTS
from kraft.server.port import ClientPort
from kraft.server.ports import Host, ServerObserver
from kraft.server.protocol import ClientProtocol


class ClientFactory(Factory):
    """One session per connection, without any policy."""

    noisy = False

    def __init__(self, clients: ClientPort) -> None:
        self.clients = clients

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:  # noqa: ARG002  # Twisted's signature
        """A connection with its session."""
        return ClientProtocol(self.clients)


class Policy(Factory):
    """A factory around another."""

    noisy = False

    def __init__(self, wrapped: Factory, clients: ClientPort) -> None:
        self.wrapped = wrapped
        self.clients = clients

    def doStart(self) -> None:
        """Both start."""
        self.wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        """Both stop."""
        super().doStop()  # type: ignore[no-untyped-call]
        self.wrapped.doStop()


class ConnectionCap(Policy):
    """Refuses connections beyond `limits.connections` with Redis' words."""

    def __init__(self, wrapped: Factory, clients: ClientPort) -> None:
        super().__init__(wrapped, clients)
        self._open = 0

    def buildProtocol(self, addr: Any) -> Any:
        """The wrapped one's, or one that only says why not."""
        if self._open >= self.clients.limits.connections:
            self.clients.rejected("max_clients")
            return Refusal(MAX_CLIENTS)
        protocol: Any = self.wrapped.buildProtocol(addr)
        if isinstance(protocol, ClientProtocol):
            self._open += 1
            protocol.when_lost.append(self._lost)
        return protocol

    def _lost(self, _: ClientProtocol) -> None:
        self._open -= 1


class Refusal(Protocol):
    """Says one error and hangs up."""

    def __init__(self, text: str) -> None:
        self._text = text

    def connectionMade(self) -> None:
        """All it does."""
        transport: Any = self.transport
        transport.write(f"-{self._text}\r\n".encode())
        transport.loseConnection()


class Timeouts(Policy):
    """Closes connections that never send a whole request, or nothing for long.

    One sweep over all connections instead of a timer each: a connection goes at most a quarter of the shorter
    timeout late. One that waits for an answer is not idle.
    """

    def __init__(self, wrapped: Factory, clients: ClientPort) -> None:
        super().__init__(wrapped, clients)
        self._protocols: set[ClientProtocol] = set()
        self._sweep: Cancellable | None = None

    @property
    def _idle(self) -> float:
        return self.clients.config.client.idle_timeout

    @property
    def _handshake(self) -> float:
        return self.clients.config.client.handshake_timeout

    def buildProtocol(self, addr: Any) -> Any:
        """The wrapped one's, under watch."""
        protocol: Any = self.wrapped.buildProtocol(addr)
        if isinstance(protocol, ClientProtocol):
            self._protocols.add(protocol)
            protocol.when_lost.append(self._lost)
            if self._sweep is None:
                self._arm()
        return protocol

    def _arm(self) -> None:
        shortest = min(timeout for timeout in (self._idle, self._handshake) if timeout)
        self._sweep = self.clients.clock.call_later(shortest / 4, self._check)

    def _check(self) -> None:
        now = self.clients.clock.seconds()
        for protocol in list(self._protocols):
            session = protocol.session
            if not session.requests_received:
                if now - session.opened_at >= self._handshake:
                    session.abort("handshake_timeout")
            elif self._idle and session.idle and now - session.last_input_at >= self._idle:
                session.abort("idle_timeout")
        self._arm()

    def _lost(self, protocol: ClientProtocol) -> None:
        self._protocols.discard(protocol)
        if not self._protocols and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None


def client_factory(config: Config, host: Host, observer: ServerObserver, clock: Clock) -> Policy:
    """The factory to listen with: sessions under all policies. Drain its `clients` before the stop."""
    clients = ClientPort(config, host, observer, clock)
    return ConnectionCap(Timeouts(ClientFactory(clients), clients), clients)
