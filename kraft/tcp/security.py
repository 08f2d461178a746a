"""TLS on the connections of a port: from its first byte on, a TLS socket takes the place of the plain one.

The first byte of a TLS connection is that of a handshake record (RFC 8446 section 5.1), with which no
protocol of kraft begins. So a port may take both kinds of connections while a cluster changes from one to the
other, and can tell a client that speaks plain text to a TLS port what is wrong.

The protocol of the port is connected from the start, with the socket's transport, so that its limits hold for
connections that say nothing. When the handshake is complete, its `handshakeCompleted` is called, if it has
one; what it writes to that transport is encrypted from then on. Knows no certificates: those who make the TLS
sockets do.
"""

import socket
from collections.abc import Callable
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

HANDSHAKE_RECORD = 0x16
NO_TLS = "it does not speak TLS, which this port asks for"


class TlsFault(Exception):
    """A connection ended before its TLS handshake was complete; the argument is the reason in one line."""


class TlsSocket(Protocol):
    """Has the methods of a socket, and takes and gives plain text.

    completed: is called when the handshake is complete.
    fault: why TLS failed, in one line; '' if it did not.
    """

    completed: Callable[[], None]

    @property
    def fault(self) -> str: ...

    def begin(self, data: bytes = b"") -> None:
        """Begin the handshake, with the first bytes of the other end if it was first. Raises OSError."""

    def certificate(self) -> bytes | None:
        """The certificate that the other end has shown, as DER; None without one."""


class ConnectionCreator(Protocol):
    """Makes the TLS sockets of connections."""

    def secure(self, plain: socket.socket) -> TlsSocket:
        """The TLS socket of a new connection."""


class PortSecurity(Protocol):
    """How a listening port takes connections.

    creator: of TLS sockets.
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


@implementer(IHalfCloseableProtocol)
class SecuredConnection(TwistedProtocol):
    """Stands before a protocol until TLS is established, and then passes its bytes on."""

    transport: Any

    def __init__(self, protocol: IProtocol, creator: ConnectionCreator) -> None:
        self._protocol: Any = protocol
        self._creator = creator
        self._socket: TlsSocket | None = None  # once TLS has begun
        self._is_secure = False

    def makeConnection(self, transport: Any) -> None:
        """Connect the protocol; it is told about TLS when that is established."""
        self.transport = transport
        self.connected = True
        self._protocol.makeConnection(transport)

    def begin(self, data: bytes = b"") -> None:
        """Begin TLS, with the first bytes of the other end if it was first."""
        transport = self.transport
        self._socket = transport.socket = secure = self._creator.secure(transport.socket)
        secure.completed = self._complete
        transport.peer_certificate = secure.certificate
        try:
            secure.begin(data)
        except OSError:
            transport.loseConnection()

    def _complete(self) -> None:
        """TLS is established: bytes go to the protocol from now on."""
        self._is_secure = True
        self.dataReceived = self._protocol.dataReceived  # type: ignore[method-assign]
        self.secured()
        if IHandshakeListener.providedBy(self._protocol):
            self._protocol.handshakeCompleted()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell the protocol, and what was wrong with TLS in words."""
        secure = self._socket
        if secure is not None:
            if not self._is_secure:
                self.failed(secure.fault or "it closed the connection during the TLS handshake")
            if secure.fault:
                reason = Failure(TlsFault(secure.fault))
            secure.completed = _nothing  # a circle of references
        self.__dict__.pop("dataReceived", None)  # another one
        self._protocol.connectionLost(reason)

    def secured(self) -> None:
        """The handshake is complete."""

    def failed(self, reason: str) -> None:
        """The handshake failed."""

    def readConnectionLost(self) -> None:
        """The other end sends no more."""
        if (self._socket is None or self._is_secure) and IHalfCloseableProtocol.providedBy(self._protocol):
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
            self.begin(data)
        elif port.takes_plain:
            transport.protocol = self._protocol
            port.taken_plain(transport.getPeer())
            self._protocol.dataReceived(data)
        else:
            self._is_refused = True
            port.refused(transport.getPeer(), NO_TLS)
            transport.write(port.farewell)
            transport.loseConnection()

    def secured(self) -> None:
        """The handshake is complete."""
        self._port.secured(self.transport.getPeer())

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

    _waiting: Deferred[IProtocol] | None = None

    def when_secured(self) -> Deferred[IProtocol]:
        """Fires with the protocol when it may write, or fails with TlsFault. Asked for once, at first."""
        self._waiting = Deferred(self._given_up)
        return self._waiting

    def _given_up(self, _: object) -> None:
        self._waiting = None
        self.transport.abortConnection()

    def secured(self) -> None:
        """The handshake is complete."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(self._protocol)

    def failed(self, reason: str) -> None:
        """The handshake failed."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(TlsFault(reason))

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
    """Dials `endpoint` and begins TLS with the sockets of `creator`."""

    def __init__(self, endpoint: IStreamClientEndpoint, creator: ConnectionCreator) -> None:
        self._endpoint = endpoint
        self._creator = creator

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial. Fires when the connection is made; the TLS handshake follows."""
        return self._endpoint.connect(_DiallingFactory(factory, self._creator))


@implementer(IStreamClientEndpoint)
class HandshakeEndpoint:
    """As SecuredEndpoint, for protocols that write when they are connected: TLS is established by then."""

    def __init__(self, endpoint: IStreamClientEndpoint, creator: ConnectionCreator) -> None:
        self._secured = SecuredEndpoint(endpoint, creator)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial. Fires when the handshake is complete."""
        connected: Deferred[Any] = self._secured.connect(factory)
        secured: Deferred[IProtocol] = connected.addCallback(DialledConnection.when_secured)
        return secured


def _nothing() -> None:
    """Nobody waits for the handshake."""
