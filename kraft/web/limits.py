"""The limits of the HTTP port, and the wrappers that enforce them.

The port serves scrapers, load balancers and people: few clients, with short requests and without bodies.
"""

from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.server import Request

CONNECTIONS_MAX = 64  # some scrapers and probes with a persistent connection each, and some browsers
URL_BYTES_MAX = 1024  # the longest real one is `/readyz?sync`
IDLE_SECONDS = 60.0  # longer than common probe intervals, so that a connection serves several probes
KEEPALIVE_SECONDS = 60.0  # then a silent host is probed: an event stream may be idle for as long as it likes
SUBSCRIBERS_MAX = 16  # open pages that receive updates; far below the number of connections
SUBSCRIBER_STALLED_SECONDS = 30.0  # without reading, before a page is disconnected; it connects again
ROUND_SECONDS = 1.0  # between two rounds of requests to the other nodes, however many look
ASK_SECONDS = 2.0  # for one answer, from dialling to its last byte
ASK_LINGER_SECONDS = 10  # that an idle connection to another node stays open; longer than ROUND_SECONDS
ANSWER_BYTES_MAX = 4 << 20  # from another node: fifty times the report of a node in a cluster of nine


class ConnectionLimit(WrappingFactory[ProtocolWrapper]):
    """Closes connections beyond `CONNECTIONS_MAX` at once."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        """None, which makes Twisted close the connection, if there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAX:
            return None
        return super().buildProtocol(addr)


class BoundedRequest(Request):
    """Refuses bodies and long URLs, which no page needs. Twisted itself limits lines and headers."""

    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """Refuse any body before it arrives; None is a body of unknown length."""
        super().gotLength(0)  # type: ignore[no-untyped-call]
        if length != 0:
            self._refuse(b"413 Content Too Large")

    def handleContentChunk(self, data: bytes) -> None:
        """Ignore the refused body while the connection closes."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Refuse a URL that is too long before parsing it."""
        if self._is_refused:
            return
        if len(path) > URL_BYTES_MAX:
            self._refuse(b"414 URI Too Long")
            return
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def _refuse(self, status: bytes) -> None:
        self._is_refused = True
        answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        channel = self.channel
        if channel.transport is not None:
            channel.transport.write(answer)
            channel.loseConnection()
