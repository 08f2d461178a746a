"""Twisted's end of a client connection: bytes to its session, and the quickest way back to the socket."""

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.server.port import ClientPort
from kraft.server.session import Session


@implementer(IHalfCloseableProtocol)
class ClientProtocol(Protocol):
    """One client. Policies look at `session` and add to `when_lost`; they see no bytes."""

    session: Session

    def __init__(self, clients: ClientPort) -> None:
        self._clients = clients
        self._direct = False
        self.when_lost: list[Callable[[ClientProtocol], None]] = []

    def connectionMade(self) -> None:
        """Begin a session."""
        transport: Any = self.transport
        # A plain socket may be written to at once; TLS has a layer of its own to go through.
        self._direct = isinstance(transport, FileDescriptor) and not getattr(transport, "TLS", False)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        peer, local = _address(transport.getPeer()), _address(transport.getHost())
        self.session = Session(self._clients, self, peer, local)
        self.dataReceived = self.session.received  # type: ignore[method-assign]  # one call less per read

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002  # Twisted's signature
        """The session ends, then policies are told."""
        self.session.lost()
        for call in self.when_lost:
            call(self)
        # The connection's buffers hang on a circle of references; cut it, or they wait for a full collection.
        self.when_lost.clear()
        self.transport = None
        self.__dict__.pop("dataReceived", None)

    def readConnectionLost(self) -> None:
        """The client will send no more, but may still read (`nc -N`)."""
        self.session.input_ended()

    def writeConnectionLost(self) -> None:
        """Nothing is ever half-closed from here."""

    def send(self, data: bytes) -> int:
        """Write at once when nothing waits before it: that spares a round through the reactor's poll."""
        transport: Any = self.transport
        if not self._direct:
            transport.write(data)
            return 0
        if not (transport.dataBuffer or transport._tempDataBuffer) and transport.connected:  # noqa: SLF001
            sent = transport.writeSomeData(data)
            if sent == len(data):
                return 0
            if isinstance(sent, int):
                data = data[sent:]
            # An exception means a dead socket: the reactor meets it again when it writes, and ends it.
        transport.write(data)
        return self.unsent_bytes

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet; 0 where that cannot be known."""
        transport: Any = self.transport
        if not self._direct or transport is None:
            return 0
        buffered: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
        return buffered

    def when_sent(self, call: Callable[[], None]) -> None:
        """Run `call` when the socket has taken all there is."""
        transport: Any = self.transport
        producer = _AllSent(transport)
        transport.registerProducer(producer, streaming=False)
        producer.call = call  # from now on: registering asks for more at once, which is no news

    def close(self) -> None:
        """Once everything is sent."""
        transport: Any = self.transport
        transport.loseConnection()

    def abort(self) -> None:
        """Now, whatever is unsent."""
        transport: Any = self.transport
        transport.abortConnection()

    def pause(self) -> None:
        """Stop reading."""
        transport: Any = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        transport: Any = self.transport
        transport.resumeProducing()


@implementer(IPullProducer)
class _AllSent:
    """Twisted asks a producer for more when everything is sent: that it asks is all that matters here."""

    call: Callable[[], None] | None = None

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def resumeProducing(self) -> None:
        """Everything is sent. Without a producer again, the connection can be closed in the usual way."""
        call, self.call = self.call, None
        if call is not None:
            self._transport.unregisterProducer()
            call()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self.call = None


def _address(address: Any) -> str:
    host = getattr(address, "host", None)
    if host is None:
        return "unix:0"
    return f"[{address.host}]:{address.port}" if ":" in host else f"{address.host}:{address.port}"
