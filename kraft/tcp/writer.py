"""Writes to a socket in the same turn. This is the only module that looks into a Twisted transport's buffer.

`transport.write` hands bytes to the reactor, which sends them after its next poll. A node sends small frames
and waits for their answers, so that poll would be a part of every round trip. Twisted has no public way to
send at once or to ask what waits unsent; `_tempDataBuffer` and `_tempDataLen` are its names for what `write`
has added since the reactor last wrote.
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer, ITransport


class DirectWriter:
    """Writes to one transport, at once if it is a plain socket.

    TLS and the transports of tests have no such way in: there `write` is the transport's own. Which it is,
    the first write decides: a connection that was made without TLS may begin it before that.
    """

    __slots__ = ("_is_socket", "_send", "_transport")

    def __init__(self, transport: ITransport) -> None:
        self._transport = cast(FileDescriptor, transport)
        self._is_socket = isinstance(transport, FileDescriptor)
        self._send: Callable[[bytes], int] | None = None  # of the socket, from the first write on

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

        With TLS they are counted encrypted, and what Twisted collects of one turn, 64 kB at most, is not.
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
