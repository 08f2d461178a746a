"""Twisted's end of a client connection: bytes to its session, and replies to the socket."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPullProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.server.port import ClientPort
from kraft.server.session import Session
from kraft.server.validation import Validation
from kraft.tcp.writer import DirectWriter


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPullProducer)
class ClientProtocol(Protocol):
    """One client. Policies look at `session` and add to `when_lost`; they see no bytes."""

    session: Session
    write: Callable[[bytes], int]

    def __init__(self, port: ClientPort, validation: Validation) -> None:
        self._port = port
        self._validation = validation
        self._awaits_sent = False
        self.when_lost: list[Callable[[ClientProtocol], None]] = []

    def connectionMade(self) -> None:
        """Begin a session. Bytes go to it, and from it to the socket, without a call in between.

        So `dataReceived` is that of the session, `Session.received`, from here on.
        """
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self._writer = DirectWriter(transport)
        self.write = self._writer.write
        peer, local = _address(transport.getPeer()), _address(transport.getHost())
        self.session = Session(self._port, self._validation, self, peer, local)
        self.dataReceived = self.session.received  # type: ignore[method-assign]

    def handshakeCompleted(self) -> None:
        """TLS is established: the client may be the user that its certificate names."""
        field = self._port.config.client.certificate_user
        if field != "off":
            from kraft.tls.connections import peer_users

            names = [name.encode("utf-8", "surrogateescape") for name in peer_users(self.transport, field)]
            self._port.users.certified(self.session.state, names)

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002  # Twisted's signature
        """End the session, then report to the policies."""
        self.session.lost()
        for call in self.when_lost:
            call(self)
        # Cut all circles of references: buffers may be large, and what is in a circle waits for a collection.
        self.when_lost.clear()
        self.transport = None
        for name in ("session", "dataReceived", "write", "_writer"):
            self.__dict__.pop(name, None)

    def readConnectionLost(self) -> None:
        """The client will send no more, but may still read (`nc -N`)."""
        self.session.input_ended()

    def writeConnectionLost(self) -> None:
        """Never called, because this side half-closes nothing."""

    @property
    def fd(self) -> int:
        """The number of the socket in this process, -1 if it has none."""
        transport: Any = self.transport
        return transport.fileno() if hasattr(transport, "fileno") else -1

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait in this process; 0 where that cannot be known."""
        return self._writer.unsent_bytes

    def notify_sent(self) -> None:
        """Call the session's `sent` once nothing waits unsent; never if the connection is lost before."""
        self._writer.await_sent(self)  # it asks for more at once: ignore that first call
        self._awaits_sent = True

    def resumeProducing(self) -> None:
        """Twisted asks a producer for more when everything is sent."""
        if self._awaits_sent:
            self._awaits_sent = False
            self._writer.sent()  # without a producer the connection closes in the usual way
            self.session.sent()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._awaits_sent = False

    def close(self) -> None:
        """Close after everything is sent."""
        self._writer.close()

    def abort(self) -> None:
        """Close at once and drop what is unsent."""
        transport: Any = self.transport
        transport.abortConnection()

    def pause(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()


def _address(address: Any) -> str:
    host = getattr(address, "host", None)
    if host is None:
        return "unix:0"
    return f"[{address.host}]:{address.port}" if ":" in host else f"{address.host}:{address.port}"
