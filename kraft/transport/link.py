"""One connection to a peer, dialled or accepted: handshake, then batches both ways, pings, and its end.

A batch leaves in the turn it is given: straight to the socket when nothing waits, else behind what waits in
the outbox. While the connection is backed up (the transport says so as to any producer) all waits in the
outbox, where control overtakes bulk; so a heartbeat waits for two pieces and the kernel's buffer at most.
Bytes of any kind show that the peer lives. A link that hears nothing for some pings is given up: neither a
connect nor a write that succeeds tells that a process still runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol as Interface
from typing import cast

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.peerwire import codec
from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.frames import (
    GREETING,
    LINK,
    PIECE_BYTES,
    PING,
    PONG,
    FrameReader,
    frame,
    parse_probe,
    probe,
)
from kraft.peerwire.handshake import Handshake, HandshakeState
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Message
from kraft.tcp.writer import DirectWriter
from kraft.transport.limits import LinkLimits
from kraft.transport.outbox import Outbox
from kraft.transport.ports import Receiver, TransportObserver
from kraft.transport.sockets import is_loopback, text_of, tune


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What all links of a node share. `nonce` makes a fresh one of NONCE_BYTES at each call; `order` numbers
    what happens to them.
    """

    clock: IReactorTime
    limits: LinkLimits
    secret: bytes | None
    nonce: Callable[[], bytes]
    receiver: Receiver
    observer: TransportObserver
    order: Iterator[int] = field(default_factory=count)


class Owner(Interface):
    """Who made the link: the dialler or the listener, on behalf of all links."""

    def opened(self, link: "Link") -> None:
        """The handshake is done; `link.peer` says with whom."""

    def closed(self, link: "Link") -> None:
        """The connection is gone; `link.was_open`, `link.reason` and `link.closed_by_peer` say how."""


@implementer(IPushProducer)
class Link(Protocol):
    """A connection to a peer. `dialled` is the id that was dialled, None for an accepted connection."""

    transport: ITCPTransport  # or, in tests, what behaves alike

    def __init__(self, around: LinkContext, owner: Owner, dialled: str | None = None) -> None:
        self._around = around
        self._owner = owner
        self._dialled = dialled
        self._handshake: Handshake | None = None
        self._reader = FrameReader(around.limits.message_bytes)
        limits = around.limits
        self._outbox = Outbox(limits.queue_bytes, limits.control_bytes, limits.message_bytes)
        self._paused = False
        self._direct = False
        self._silent_pings = 0
        self._timer: IDelayedCall | None = None  # the handshake's deadline, then the next ping
        self._abort_timer: IDelayedCall | None = None
        self._closing = False
        self.hello: Hello | None = None
        self.peer = ""
        self.is_open = False
        self.was_open = False
        # In `LinkContext.order`, None before: our side agreed; the peer was heard on the open link.
        self.agreed_at: int | None = None
        self.confirmed_at: int | None = None
        self.reason = ""
        self.closed_by_peer = False
        self.address = ""
        self.round_trip: float | None = None
        self.sent_bytes = 0
        self.received_bytes = 0

    # Life and death

    def connectionMade(self) -> None:
        """Begin the handshake."""
        around, transport = self._around, self.transport
        self.address = text_of(transport.getPeer())
        tune(transport, around.limits.user_timeout)
        self._writer = DirectWriter(transport)
        self._timer = around.clock.callLater(around.limits.handshake_timeout, self._handshake_timed_out)
        self._handshake = Handshake(
            around.receiver.hello(),
            nonce=around.nonce(),
            secret=around.secret,
            loopback=is_loopback(transport.getHost()) and is_loopback(transport.getPeer()),
            dialled=self._dialled,
        )
        cast(IConsumer, transport).registerProducer(self, True)
        self._greet(self._handshake.start())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, once, how it ended."""
        self.is_open = False
        for call in (self._timer, self._abort_timer):
            if call is not None and call.active():
                call.cancel()
        # A timer that has run holds on to us; kept, it would make the buffers wait for a full collection.
        self._timer = self._abort_timer = None
        if not self._closing:
            # Twisted says ConnectionLost for a reset by a killed process and for a timeout of the kernel
            # alike; the timeout only comes after silence.
            reset = reason.check(ConnectionLost) is not None and self._silent_pings <= 2
            self.closed_by_peer = reset or reason.check(ConnectionDone) is not None
            self.reason = "closed by the peer" if self.closed_by_peer else reason.getErrorMessage()
        self._owner.closed(self)

    def close(self, reason: str) -> None:
        """Send what the transport holds and close; abort when that takes too long."""
        if self._closing:
            return
        self._end(reason)
        self.transport.loseConnection()
        self._abort_timer = self._around.clock.callLater(
            self._around.limits.close_grace, self.transport.abortConnection
        )

    def abort(self, reason: str) -> None:
        """Close at once; what was not sent is lost."""
        if not self._closing:
            self._end(reason)
        self.transport.abortConnection()

    def _end(self, reason: str) -> None:
        self._closing = True
        self.is_open = False
        self.reason = reason
        cast(IConsumer, self.transport).unregisterProducer()

    def _handshake_timed_out(self) -> None:
        state = self._handshake.state if self._handshake else HandshakeState.HELLO
        self.abort(f"no handshake in time: still waiting for {state.value}")

    # Sending

    @property
    def dialled(self) -> bool:
        """Whether it was this side that dialled."""
        return self._dialled is not None

    @property
    def waiting_bytes(self) -> int:
        """What waits here, without what the transport and the kernel hold."""
        return self._outbox.control_waiting + self._outbox.bulk_waiting

    def send(self, messages: Sequence[tuple[int, Message]]) -> str | None:
        """Send or queue a batch; None, or why it was dropped: then nothing of its bulk is on its way."""
        if len(messages) > codec.BATCH_MESSAGES_MAX:
            half = len(messages) // 2
            first, second = self.send(messages[:half]), self.send(messages[half:])
            return first and second
        payload = codec.encode(messages)
        if len(payload) <= PIECE_BYTES and not self._paused and not self._outbox:
            self._write(self._outbox.whole(payload))
            return None
        dropped = self._outbox.put(messages, payload)
        self._pump()
        return dropped

    def _pump(self) -> None:
        """Write what waits until the transport is backed up.

        A peer that reads as fast as we write must not keep the reactor here: behind a burst the transport's
        own buffer is used, which fills and hands over to the reactor.
        """
        burst = self._around.limits.burst_bytes
        while not self._paused and not self._closing and (data := self._outbox.next_frame()) is not None:
            self._write(data, at_once=burst > 0)
            burst -= len(data)

    def _write(self, data: bytes, *, at_once: bool = True) -> None:
        self.sent_bytes += len(data)
        self._around.observer.sent(self.peer, len(data))
        if at_once:
            self._writer.write(data)
        else:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """The transport is backed up: hold everything here."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport is empty again."""
        self._paused = False
        if self.is_open:
            self._pump()

    def stopProducing(self) -> None:
        """The transport is gone, `connectionLost` follows."""
        self._paused = True

    # Receiving

    def dataReceived(self, data: bytes) -> None:
        """Everything complete in it goes to its receiver; anything wrong in it ends the link."""
        self._silent_pings = 0
        self.received_bytes += len(data)
        if self.is_open:
            self._around.observer.received(self.peer, len(data))
            if self.confirmed_at is None:
                self.confirmed_at = next(self._around.order)
        self._reader.feed(data)
        try:
            while not self._closing and (message := self._reader.next_message()) is not None:
                self._message_received(*message)
        except WireError as error:
            self.abort(f"bad bytes from the peer: {error}")
        except RefusedByPeer as error:
            self._refused(error)
        except HandshakeError as error:
            self._refuse(str(error))

    def _message_received(self, channel: int, payload: bytes) -> None:
        if channel == GREETING:
            self._greeting_received(payload)
        elif channel == LINK:
            self._probe_received(payload)
        else:
            self._around.receiver.received(self.peer, codec.decode(payload))

    # Handshake

    def _greet(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.transport.write(frame(GREETING, 0, payload))

    def _greeting_received(self, payload: bytes) -> None:
        handshake = self._handshake
        if handshake is None:
            raise WireError("a handshake that is over")
        self._greet(handshake.received(payload))
        if handshake.state is HandshakeState.DECISION and handshake.peer is not None:
            reason = self._around.receiver.check(handshake.peer)
            if reason is not None:
                raise HandshakeError(reason)
            self._greet(handshake.accept())
            self.agreed_at = next(self._around.order)
        if handshake.state is HandshakeState.OPEN and handshake.peer is not None:
            self._open(handshake.peer)

    def _refuse(self, reason: str) -> None:
        if self._handshake is not None:
            self._greet(self._handshake.refuse(reason))
        self.close(reason)

    def _refused(self, error: RefusedByPeer) -> None:
        """Our owner hears of a proved peer all the same: what it said may be a reason to leave."""
        if error.proved and self._handshake is not None and self._handshake.peer is not None:
            self._around.receiver.check(self._handshake.peer)
        self.close(str(error))

    def _open(self, hello: Hello) -> None:
        self._handshake = None
        self._reader.open()
        self.hello, self.peer = hello, hello.id
        self.is_open = self.was_open = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._around.clock.callLater(self._around.limits.ping_interval, self._ping)
        self._owner.opened(self)

    # Pings

    def _ping(self) -> None:
        around = self._around
        self._timer = around.clock.callLater(around.limits.ping_interval, self._ping)
        if self._silent_pings >= around.limits.silent_pings:
            self.abort(f"silent for {self._silent_pings} pings")
            return
        self._silent_pings += 1
        self._send_probe(PING, int(around.clock.seconds() * 1e6))

    def _send_probe(self, kind: int, token: int) -> None:
        self._outbox.put_probe(probe(kind, token))
        self._pump()

    def _probe_received(self, payload: bytes) -> None:
        kind, token = parse_probe(payload)
        if kind == PING:
            self._send_probe(PONG, token)
        elif kind == PONG:  # its token is the time at which it was sent
            seconds = self._around.clock.seconds() - token / 1e6
            if seconds >= 0:  # the clock may have been set back
                self.round_trip = seconds
                self._around.observer.round_trip(self.peer, seconds)
