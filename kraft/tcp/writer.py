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

    A TLS socket is one as well. On the transports of tests, `write` is the transport's own. The first write
    decides which socket it is: a connection that was made without TLS may begin it before that.
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
            if self._is_socket:
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
        """The bytes that wait in this process; 0 where that cannot be known."""
        if not self._is_socket:
            return 0
        transport = self._transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
        return unsent

    def await_sent(self, producer: IPullProducer) -> None:
        """Let the socket ask `producer` for more once nothing waits unsent; it asks once at first, too."""
        self._transport.registerProducer(producer, False)

    def sent(self) -> None:
        """The producer of `await_sent` wants to hear no more."""
        self._transport.unregisterProducer()

    def close(self) -> None:
        """Close once everything is sent."""
        self._transport.loseConnection()
