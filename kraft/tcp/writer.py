"""Writes to a socket in the same turn. This is the only module that looks into a Twisted transport's buffer.

`transport.write` hands bytes to the reactor, which sends them after its next poll. A node sends small frames
and waits for their answers, so that poll would be a part of every round trip. Twisted has no public way to
send at once or to ask what waits unsent; `_tempDataBuffer` and `_tempDataLen` are its names for what `write`
has added since the reactor last wrote.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer, ITransport


class DirectWriter:
    """Writes to one transport, at once if it is a plain socket.

    With TLS (see `encrypt_at_once`) and on the transports of tests, `write` is the transport's own. Which it
    is, the first write decides: a connection that was made without TLS may begin it before that.
    """

    __slots__ = ("_is_socket", "_send", "_transport")

    def __init__(self, transport: ITransport, send: Callable[[bytes], int] | None = None) -> None:
        """`send` is that of the socket, if `transport` stands for one."""
        self._transport = cast(FileDescriptor, transport)
        self._is_socket = isinstance(transport, FileDescriptor)
        self._send = send  # of the socket, at the latest from the first write on

    def write(self, data: bytes) -> int:
        """Send `data` after everything written before; returns how many bytes now wait unsent.

        An error of the socket is not handled here: the bytes are left to the reactor, which meets the same
        error in its next turn and ends the connection.
        """
        transport, send = self._transport, self._send
        if send is None:
            if self._is_socket and not self._is_tls:
                connection: Any = transport
                self._send = connection.getHandle().send
                return self.write(data)
            transport.write(data)
            return self.unsent_bytes
        if transport.connected and not (
            transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting  # noqa: SLF001
        ):
            try:
                sent = send(data)
            except OSError:
                sent = 0
            if sent == len(data):
                return 0
            data = data[sent:]
        transport.write(data)
        return self.unsent_bytes

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait in this process; 0 where that cannot be known.

        With TLS they are counted encrypted.
        """
        if not self._is_socket:
            return 0
        transport = self._transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
        return unsent

    @property
    def _is_tls(self) -> bool:
        return bool(getattr(self._transport, "TLS", False))

    def await_sent(self, producer: IPullProducer) -> None:
        """Let the socket ask `producer` for more once nothing waits unsent; it asks once at first, too.

        With TLS, Twisted asks a pull producer again and again, whatever waits. So it is registered below TLS.
        """
        if self._is_tls:
            FileDescriptor.registerProducer(self._transport, producer, False)
        else:
            self._transport.registerProducer(producer, False)

    def sent(self) -> None:
        """The producer of `await_sent` wants to hear no more."""
        if self._is_tls:
            FileDescriptor.unregisterProducer(self._transport)
        else:
            self._transport.unregisterProducer()

    def close(self) -> None:
        """Close once everything is sent.

        With TLS the last thing is our close alert (RFC 8446 section 6.1). Twisted would wait for that of the
        other end, which may never come.
        """
        self._transport.loseConnection()
        if self._is_tls:
            FileDescriptor.loseConnection(self._transport)


class _AtOnce:
    """In place of Twisted's aggregator of small writes, which `writeSequence` and the end of TLS use too."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing waits."""


def encrypt_at_once(transport: Any) -> None:
    """Let a socket that has begun TLS encrypt and send in the same turn whatever is written to it.

    Twisted collects writes by a timer of the next turn, and hands the encrypted bytes to the reactor, which
    sends them after a poll. For small replies both together cost more than TLS does. Our replies of one turn
    are one write already. Other transports, as those of tests, are left as they are.
    """
    if not isinstance(transport, FileDescriptor):
        return
    from twisted.protocols.tls import TLSMemoryBIOProtocol  # with pyOpenSSL, which a node may not have

    connection: Any = transport
    tls = connection.protocol
    tls.write = partial(TLSMemoryBIOProtocol.write, tls)
    tls._aggregator = _AtOnce(tls.write)  # noqa: SLF001
    below = type(tls.transport)(FileDescriptor, connection)  # the connection without its TLS
    tls.transport.write = DirectWriter(below, connection.socket.send).write
