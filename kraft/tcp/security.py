"""TLS on the connections of a port, begun by Twisted's `startTLS`.

The first byte of a TLS connection is that of a handshake record (RFC 8446 section 5.1), with which no
protocol of kraft begins. So a port may take both kinds of connections while a cluster changes from one to the
other, and can tell a client that speaks plain text to a TLS port what is wrong.

The protocol of the port is connected from the start, with the socket's transport, so that its limits hold for
connections that say nothing. Once TLS has begun, what it writes to that transport is encrypted; when the
handshake is complete, Twisted calls its `handshakeCompleted`, if it has one. Knows no certificates: those who
make the TLS objects do.
"""

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.tcp.writer import encrypt_at_once

HANDSHAKE_RECORD = 0x16
NO_TLS = "it does not speak TLS, which this port asks for"


class TlsFault(Exception):
    """A connection ended before its TLS handshake was complete; the argument is the reason in one line."""


class ConnectionCreator(Protocol):
    """Makes the TLS objects of connections, as Twisted asks for them, and explains what failed."""

    def explain(self, connection: Any, failure: Failure) -> str:
        """Why the handshake of a TLS object failed, in one line; '' if TLS had no part in it."""


class PortSecurity(Protocol):
    """How a listening port takes connections.

    creator: of TLS objects; provides Twisted's IOpenSSLServerConnectionCreator.
    takes_plain: whether connections without TLS are taken as well.
    farewell: what a client that speaks plain text to a TLS port is told.
    """

    @property
    def creator(self) -> ConnectionCreator: ...

    @property
    def takes_plain(self) -> bool: ...

    @property
    def farewell(self) -> bytes: ...

    def secured(self, address: object) -> None:
        """A handshake is complete."""

    def taken_plain(self, address: object) -> None:
        """A connection without TLS is taken."""

    def refused(self, address: object, reason: str) -> None:
        """A connection ended before it was secured."""


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class SecuredConnection(TwistedProtocol):
    """Stands before a protocol until TLS is established, and then passes its bytes on."""

    transport: Any

    def __init__(self, protocol: IProtocol, creator: ConnectionCreator) -> None:
        self._protocol: Any = protocol
        self._creator = creator
        self._is_tls = self._is_secure = False

    def makeConnection(self, transport: Any) -> None:
        """Connect the protocol; it is told about TLS when that is established."""
        self.transport = transport
        self.connected = True
        self._protocol.makeConnection(transport)

    def begin(self) -> None:
        """Begin TLS."""
        self._is_tls = True
        self.transport.startTLS(self._creator)
        encrypt_at_once(self.transport)

    def handshakeCompleted(self) -> None:
        """TLS is established: bytes go to the protocol from now on."""
        self._is_secure = True
        self.dataReceived = self._protocol.dataReceived  # type: ignore[method-assign]
        if IHandshakeListener.providedBy(self._protocol):
            self._protocol.handshakeCompleted()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell the protocol, and what was wrong with TLS in words."""
        if self._is_tls and not self._is_secure:
            text = self._creator.explain(self.transport.getHandle(), reason)
            self.failed(text or "it closed the connection during the TLS handshake")
            reason = Failure(TlsFault(text)) if text else reason
        self.__dict__.pop("dataReceived", None)  # a circle of references
        self._protocol.connectionLost(reason)

    def failed(self, reason: str) -> None:
        """The handshake failed."""

    def readConnectionLost(self) -> None:
        """The client sends no more, and has sent nothing."""
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing is half-closed from here."""


class AcceptedConnection(SecuredConnection):
    """Looks at the first byte of a connection that was accepted."""

    def __init__(self, protocol: IProtocol, port: PortSecurity) -> None:
        super().__init__(protocol, port.creator)
        self._port = port
        self._is_refused = False  # for want of TLS

    def dataReceived(self, data: bytes) -> None:
        """The first bytes: begin TLS, or let the protocol take the connection as it is, or refuse it."""
        transport, port = self.transport, self._port
        if self._is_refused:
            return
        if data[0] == HANDSHAKE_RECORD:
            self.begin()
            transport.protocol.dataReceived(data)
        elif port.takes_plain:
            transport.protocol = self._protocol
            port.taken_plain(transport.getPeer())
            self._protocol.dataReceived(data)
        else:
            self._is_refused = True
            port.refused(transport.getPeer(), NO_TLS)
            transport.write(port.farewell)
            transport.loseConnection()

    def handshakeCompleted(self) -> None:
        """TLS is established."""
        self._port.secured(self.transport.getPeer())
        super().handshakeCompleted()

    def failed(self, reason: str) -> None:
        """The handshake failed."""
        self._port.refused(self.transport.getPeer(), reason)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell the protocol, and why this side closed the connection."""
        super().connectionLost(Failure(TlsFault(NO_TLS)) if self._is_refused else reason)


class SecuredFactory(Factory):
    """The factory of a listening port with TLS, around the one of its protocol."""

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, port: PortSecurity) -> None:
        self._wrapped: Any = wrapped
        self._port = port

    def doStart(self) -> None:
        self._wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        super().doStop()  # type: ignore[no-untyped-call]
        self._wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        """The wrapped factory's protocol, secured; None closes the connection."""
        protocol = self._wrapped.buildProtocol(addr)
        return None if protocol is None else AcceptedConnection(protocol, self._port)


class DialledConnection(SecuredConnection):
    """Begins TLS at once on a connection that this side has dialled."""

    def makeConnection(self, transport: Any) -> None:
        """Connect the protocol, which writes nothing before `handshakeCompleted`, and begin."""
        super().makeConnection(transport)
        self.begin()


class _DiallingFactory(Factory):
    noisy = False

    def __init__(self, wrapped: Any, creator: ConnectionCreator) -> None:
        self._wrapped = wrapped
        self._creator = creator

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        protocol = self._wrapped.buildProtocol(addr)
        return None if protocol is None else DialledConnection(protocol, self._creator)


@implementer(IStreamClientEndpoint)
class SecuredEndpoint:
    """Dials `endpoint` and begins TLS with the objects of `creator`, an IOpenSSLClientConnectionCreator."""

    def __init__(self, endpoint: IStreamClientEndpoint, creator: ConnectionCreator) -> None:
        self._endpoint = endpoint
        self._creator = creator

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial. Fires when the connection is made; the TLS handshake follows."""
        return self._endpoint.connect(_DiallingFactory(factory, self._creator))
