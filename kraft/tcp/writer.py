"""Writes to a socket in the same turn. This is the only module that looks into a Twisted transport's buffer.

`transport.write` hands bytes to the reactor, which sends them after its next poll. A node sends small frames
and waits for their answers, so that poll would be a part of every round trip. Twisted has no public way to
send at once or to ask what waits unsent; `_tempDataBuffer` and `_tempDataLen` are its names for what `write`
has added since the reactor last wrote.
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ITransport


class DirectWriter:
    """Writes to one transport, at once if it is a plain socket.

    TLS and the transports of tests have no such way in: there `write` is the transport's own.
    """

    __slots__ = ("_send", "_transport")

    def __init__(self, transport: ITransport) -> None:
        self._transport = cast(FileDescriptor, transport)
        self._send: Callable[[bytes], int] | None = None  # of the socket
        if isinstance(transport, FileDescriptor) and not getattr(transport, "TLS", False):
            connection: Any = transport
            self._send = connection.getHandle().send

    def write(self, data: bytes) -> int:
        """Send `data` after everything written before; returns how many bytes now wait unsent.

        An error of the socket is not handled here: the bytes are left to the reactor, which meets the same
        error in its next turn and ends the connection.
        """
        transport, send = self._transport, self._send
        if send is None:
            transport.write(data)
            return 0
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
        if self._send is None:
            return 0
        transport = self._transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001
        return unsent
