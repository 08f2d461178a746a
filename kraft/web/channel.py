"""One HTTP connection: one request at a time, a deadline for every wait, and an answer whatever arrives.

Twisted's channel parses requests and writes answers; this one adds what a port needs that anybody may use.

* The next request of a pipeline is taken in a later turn of the reactor, and not before the last answer has
  left this process. Meanwhile nothing is read, so that the client's own system holds the rest.
* A deadline covers the whole head of a request, so that a client gains nothing by sending it byte by byte.
  Other deadlines cover the time between two requests, an answer that is not read, and the close.
* A client that closes its sending side gets the answers that it waits for, and then the close.
* What cannot be served gets a status and one line of text. The rest of what such a client sends is read and
  dropped for a moment, because a close with unread bytes would destroy the answer on its way.
"""

from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IReactorTime,
)
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from kraft.web.connections import Connections
from kraft.web.limits import ANSWER_SECONDS, CLOSE_SECONDS, DISCARDED_BYTES_MAX, HEAD_SECONDS, IDLE_SECONDS
from kraft.web.request import PageRequest, PageServer


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """One connection.

    `refused`: the client got an error, and the connection is closing.
    `received_at`: when the newest bytes arrived, by the clock of the reactor. No request arrived later.
    """

    transport: Any
    delimiter = b"\n"  # RFC 9112 section 2.2: a line may end with LF alone, as it does when typed into nc
    refused = False
    requestFactory = PageRequest

    def __init__(self, pages: PageServer, connections: Connections, clock: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pages = pages
        self._clock = clock
        self.callLater = clock.callLater  # type: ignore[method-assign, assignment]
        self.timeOut = HEAD_SECONDS  # type: ignore[assignment]
        self.received_at = clock.seconds()
        self._connections = connections
        self._begun = False  # a head has begun to arrive
        self._backed_up = False  # the client does not read
        self._sent_all = False  # the client has closed its sending side
        self._closing = False
        self._discarded = 0
        self._next: IDelayedCall | None = None  # takes the next request

    # -- the connection -------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The deadline of the first head starts."""
        self._connections.opened(self)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The connection is gone: nothing more is worth doing for its client."""
        self._cancel_next()
        self._connections.closed(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def readConnectionLost(self) -> None:
        """The client sends no more. It may still wait for an answer."""
        self._sent_all = True
        if self.refused:
            self.transport.loseConnection()
        else:
            self._end_if_idle()

    def writeConnectionLost(self) -> None:
        """The sending side is closed, as `refuse` asked."""

    def loseConnection(self) -> None:
        """Send what was written, then close; abort if that takes longer than CLOSE_SECONDS."""
        self._closing = True
        self._cancel_next()
        self._connections.closing(self)
        self._set_deadline(CLOSE_SECONDS)
        super().loseConnection()  # type: ignore[no-untyped-call]

    def give_way(self) -> None:
        """Close at once: the place is needed."""
        self._closing = True
        self._cancel_next()
        self.transport.abortConnection()

    def _set_deadline(self, seconds: float) -> None:
        self.setTimeout(seconds)  # type: ignore[no-untyped-call]

    def resetTimeout(self) -> None:
        """More bytes of a head do not extend its deadline."""

    def timeoutConnection(self) -> None:
        """A deadline has passed."""
        if self._closing or self.refused or self._backed_up:
            self.transport.abortConnection()
        elif self._begun:
            self.refuse(408, "the request was not complete in time")
        else:
            self.loseConnection()

    # -- requests -------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes have arrived; or, while paused, Twisted returns those after a request that was answered."""
        if not self.paused:
            self.received_at = self._clock.seconds()
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Parse a part of a request; the first part of a head starts its deadline."""
        if self.refused:
            self._discarded += len(data)
            if self._discarded > DISCARDED_BYTES_MAX:
                self.transport.abortConnection()
            return
        if not self._begun and not self._handlingRequest:
            self._begun = True
            self._set_deadline(HEAD_SECONDS)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """Parse one line of a head."""
        super().lineReceived(line.removesuffix(b"\r"))  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002  Twisted's signature
        """A line is too long for a head."""
        self.refuse(431, f"a line of the request is longer than {self.MAX_LENGTH} bytes")

    def allContentReceived(self) -> None:
        """A request is complete: nothing is due from the client until it is answered."""
        self._begun = False
        self._connections.asked(self)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """A request was answered: take the next one in the next turn."""
        self.paused = True  # keeps the rest of a pipeline in the line buffer
        self._connections.answered(self)
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self.persistent and not self._closing:
            self.transport.pauseProducing()
            self._set_deadline(ANSWER_SECONDS)
            self._schedule_next()

    def _schedule_next(self) -> None:
        if not self._backed_up and self._next is None:
            self._next = self._clock.callLater(0, self._take_next)

    def _take_next(self) -> None:
        self._next = None
        self.paused = False
        if not self._sent_all:
            self.transport.resumeProducing()
        waiting = self.clearLineBuffer()  # type: ignore[no-untyped-call]
        if waiting:
            self._parse(waiting)
        else:
            self._set_deadline(IDLE_SECONDS)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        """Close if no request can follow, as the client sends no more, and it waits for no answer."""
        if not self._sent_all or self._handlingRequest or self.paused or self._closing:
            return
        if self._begun:
            self.refuse(400, "the request ends before the empty line that completes it")
        else:
            self.loseConnection()

    def _cancel_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def pauseProducing(self) -> None:
        """The client does not read: take no further request."""
        self._backed_up = True
        self._cancel_next()
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """The client has read what was written."""
        self._backed_up = False
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self.paused and not self._closing and not self.refused:
            self._schedule_next()

    # -- refusals -------------------------------------------------------------------------------------

    def refuse(self, code: int, reason: str) -> None:
        """Answer with an error and close, however much of the request has arrived."""
        if self.refused or self._closing:
            return
        self.refused = self.paused = True  # paused: the rest of what has arrived is not parsed
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        self._connections.closing(self)
        body = f"{reason}\n".encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nserver: kraft\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (code, _PHRASES[code], len(body), body)
        )
        transport = self.transport
        if self._sent_all or not IHalfCloseableDescriptor.providedBy(transport):
            self.loseConnection()
            return
        self._set_deadline(CLOSE_SECONDS)
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted calls this for what is no HTTP request."""
        self.refuse(400, "this is not an HTTP/1.1 request that can be served here")

    def _send100Continue(self) -> None:
        """Twisted calls this before a body arrives; none is taken."""


_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}
