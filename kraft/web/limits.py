"""Bounds of the HTTP port, and the wrappers that keep them; the pages know nothing of these.

Who asks here are scrapers, load balancers and people: few, with short requests and no bodies.
"""

from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.server import Request

CONNECTIONS_MAX = 64  # a handful of scrapers and probes, each with a kept connection, and some browsers
URL_BYTES_MAX = 1024  # the longest real one is `/readyz?sync`
IDLE_SECONDS = 60.0  # longer than common probe intervals, so that a kept connection serves the next probe
SUBSCRIBERS_MAX = (
    16  # open pages that are told every change; far below the connections, which others need too
)
SUBSCRIBER_STALLED_SECONDS = 30.0  # after which one that reads nothing is closed; its page connects again
ROUND_SECONDS = 1.0  # between two rounds to the other nodes, however many look
ASK_SECONDS = 2.0  # for one answer, from dialling to its last byte
ASK_LINGER_SECONDS = 10  # a kept connection to another node outlasts the pause between two rounds
ANSWER_BYTES_MAX = 4 << 20  # of another node: fifty times what one in a cluster of nine says


class ConnectionLimit(WrappingFactory[ProtocolWrapper]):
    """Closes what comes beyond `CONNECTIONS_MAX` at once."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        """None, which closes the connection as Twisted's factories may, when there are enough."""
        if len(self.protocols) >= CONNECTIONS_MAX:
            return None
        return super().buildProtocol(addr)


class BoundedRequest(Request):
    """Refuses what no page here needs: a body and a long URL. Twisted itself bounds lines and headers."""

    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """Bodies of any length are refused before they come; None is one whose length is not told."""
        super().gotLength(0)  # type: ignore[no-untyped-call]
        if length != 0:
            self._refuse(b"413 Content Too Large")

    def handleContentChunk(self, data: bytes) -> None:
        """Nothing of a refused body is kept while the connection closes."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """A URL that is too long is refused before it is taken apart."""
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
