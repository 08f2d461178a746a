"""One connection to a peer, dialled or accepted: handshake, batches of messages both ways, pings, close.

A batch is sent in the turn in which it is given: directly to the socket if nothing waits, else after the
frames that wait in the outbox. While the connection is backed up (the transport pauses its producer) or its
congestion window is full, frames wait in the outbox, where control overtakes bulk. So a heartbeat waits for
at most a few pieces and what is on its way. Bytes of any kind prove that the peer is alive. A link that
receives nothing for several pings is given up, because neither a successful connect nor a successful write
proves that the process runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol as Interface
from typing import cast

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.peerwire import codec
from kraft.peerwire.earlier_peers import EarlierPeers
from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.frames import (
    CONTROL,
    GREETING,
    LINK,
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
from kraft.transport.backlog import Standing
from kraft.transport.congestion_window import CongestionWindow
from kraft.transport.encoded_batch import EncodedBatch
from kraft.transport.limits import LinkLimits
from kraft.transport.outbox import Outbox
from kraft.transport.ports import LinkSecurity, Receiver, TransportObserver
from kraft.transport.sockets import is_loopback, text_of, tune

FIRST_ASKED = 1 << 63  # tokens of pings of the owner; those of other pings are times in microseconds


@dataclass(frozen=True, slots=True)
class Dialling:
    """How a peer was dialled: by its id, like one of an earlier release, and with TLS."""

    peer: str
    as_earlier: bool = False
    with_tls: bool = False


@dataclass(frozen=True, slots=True)
class LinkContext:
    """Shared by all links of a node. `secret` is that of the cluster, None without one.

    `nonce` returns NONCE_BYTES fresh random bytes at each call. `order` numbers events of all links, so that
    the order of two events on different links can be told. `earlier_peers` belongs to the handshakes.
    `security` is None where links have no TLS.
    """

    clock: IReactorTime
    limits: LinkLimits
    secret: bytes | None
    nonce: Callable[[], bytes]
    receiver: Receiver
    observer: TransportObserver
    security: LinkSecurity | None = None
    order: Iterator[int] = field(default_factory=count)
    earlier_peers: EarlierPeers = field(default_factory=EarlierPeers)
    encoded: EncodedBatch = field(default_factory=EncodedBatch)

    def new_handshake(self, transport: ITCPTransport, dialling: Dialling | None, certified: str) -> Handshake:
        """The handshake of a link; `dialling` and `certified` are those of the link."""
        on_machine = is_loopback(transport.getHost()) and is_loopback(transport.getPeer())
        return Handshake(
            self.receiver.hello(),
            nonce=self.nonce(),
            secret=self.secret,
            trusted=bool(certified) or on_machine,
            dialled=None if dialling is None else dialling.peer,
            as_earlier=dialling is not None and dialling.as_earlier,
            earlier_peers=self.earlier_peers,
        )

    def node_of(self, transport: ITCPTransport) -> str:
        """The node whose certificate the other end has shown; '' without TLS."""
        return "" if self.security is None else self.security.node_of(transport)

    def check(self, hello: Hello, certified: str) -> str | None:
        """Why a peer that greets so is refused, None if it is not. `certified`: whose certificate it has."""
        if certified not in ("", hello.id):
            return f"{hello.id} has shown the certificate of {certified}"
        return self.receiver.check(hello)


class LinkOwner(Interface):
    """The factory that made a link: a listener or an attempt to dial."""

    def started(self, link: "Link") -> None:
        """The connection is made, and the handshake begins. May abort the link."""

    def opened(self, link: "Link") -> None:
        """The handshake is complete; `link.peer` is the id of the other end."""

    def closed(self, link: "Link") -> None:
        """The connection is gone; `link.was_open`, `link.reason` and `link.closed_by_peer` say how."""


class LinkRegistry(Interface):
    """Knows which link is the one to each peer."""

    def is_linked(self, peer: str) -> bool:
        """Whether there is a link to `peer`."""

    def is_member_at(self, ip: str) -> bool:
        """Whether a member has this IP address, as far as known."""

    def link_opened(self, link: "Link", dialled: str) -> None:
        """The handshake of `link` is complete. `dialled` is the address we dialled, '' if accepted."""

    def link_closed(self, link: "Link") -> None:
        """The connection of `link`, which was open, is gone."""

    def introduction_failed(self, peer: str, reason: str) -> None:
        """An introduction to `peer` led to no link."""


@implementer(IPushProducer, IHandshakeListener)
class Link(Protocol):
    """A connection to a peer.

    peer, hello: id and greeting of the other end; '' and None until the link is open.
    agreed_at: when this side accepted the peer, as a number of `LinkContext.order`; None before.
    confirmed_at: when the first bytes arrived on the open link, likewise.
    certified: the node that the certificate of the other end speaks for; '' without TLS.
    reason, closed_by_peer: how the connection ended.
    round_trip: seconds of the last answered ping, None before.
    """

    transport: ITCPTransport  # or a test's equivalent

    def __init__(self, context: LinkContext, owner: LinkOwner, dialling: Dialling | None = None) -> None:
        """`dialling` is None for an accepted connection."""
        self._context = context
        self._owner = owner
        self._dialling = dialling
        self.certified = self.peer = self.address = self.reason = ""
        self._handshake: Handshake | None = None
        limits = context.limits
        self._reader = FrameReader(limits.message_bytes)
        self._outbox = Outbox(limits.queue_bytes, limits.control_bytes, limits.message_bytes)
        self.window = CongestionWindow(limits)
        self._paused = self._closing = False
        self._silent_pings = 0
        self._timer: IDelayedCall | None = None  # the handshake's deadline, then the next ping
        self._abort_timer: IDelayedCall | None = None
        self.hello: Hello | None = None
        self.is_open = self.was_open = self.closed_by_peer = False
        self.agreed_at: int | None = None
        self.confirmed_at: int | None = None
        self.round_trip: float | None = None
        self._asked: dict[int, Callable[[], None]] = {}  # what to call at the answers to pings, by token
        self.sent_bytes = self.received_bytes = 0

    # -- open and close -------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Start the handshake, or wait for the peer to start it."""
        context, transport = self._context, self.transport
        self.address = text_of(transport.getPeer())
        self._writer = DirectWriter(transport)
        self._timer = context.clock.callLater(context.limits.handshake_timeout, self._handshake_timed_out)
        cast(IConsumer, transport).registerProducer(self, True)
        if self._dialling is not None and not self._dialling.with_tls:
            self._greet(self._new_handshake().start())
        self._owner.started(self)

    def handshakeCompleted(self) -> None:
        """TLS is established: the other end has shown the certificate of a node."""
        self.certified = self._context.node_of(self.transport)
        if self.dialled:
            self._greet(self._new_handshake().start())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end to the owner."""
        self.is_open = False
        for call in (self._timer, self._abort_timer):
            if call is not None and call.active():
                call.cancel()
        # A timer that has run refers to us: drop the cycle, so that the buffers are freed at once.
        self._timer = self._abort_timer = None
        if not self._closing:
            # Twisted reports ConnectionLost both for a reset by a killed process and for a timeout of the
            # kernel, but the timeout comes only after silence.
            reset = reason.check(ConnectionLost) is not None and self._silent_pings <= 2
            self.closed_by_peer = reset or reason.check(ConnectionDone) is not None
            self.reason = "closed by the peer" if self.closed_by_peer else reason.getErrorMessage()
            if self._is_unanswered:
                self.reason += ": it may be of an earlier release, without this kind of handshake"
        self._owner.closed(self)

    def close(self, reason: str) -> None:
        """Send what the transport holds, then close; abort if that takes longer than `close_grace`."""
        if self._closing:
            return
        self._end(reason)
        self.transport.loseConnection()
        self._abort_timer = self._context.clock.callLater(
            self._context.limits.close_grace, self.transport.abortConnection
        )

    def abort(self, reason: str) -> None:
        """Close at once; unsent data is lost."""
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

    # -- sending --------------------------------------------------------------------------------------

    @property
    def dialled(self) -> bool:
        """Whether this side dialled."""
        return self._dialling is not None

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the outbox, not counting the buffers of the transport and the kernel."""
        return self._outbox.control_waiting + self._outbox.bulk_waiting

    def send(self, messages: Sequence[tuple[int, Message]]) -> str | None:
        """Send or queue a batch of (group, message) pairs. Links that send the same one encode it once.

        Returns None, or why it was dropped: then certainly no part of its bulk was sent.
        """
        encoded, batch, window = self._context.encoded, tuple(messages), self.window
        if encoded.batch != batch:
            encoded.batch, encoded.payload, encoded.cut = batch, codec.encode(batch), ()
        payload = encoded.payload
        small = len(payload) <= window.piece_bytes and self.sent_bytes < window.attention
        if small and self._outbox.is_empty and not self._paused:
            self._write(frame(CONTROL, self._outbox.new_id(), payload))
            return None
        dropped = self._outbox.put_parts(encoded.parts())
        self._pump()
        return dropped

    def _pump(self) -> None:
        """Write waiting frames until the transport is backed up or the window is full.

        After a burst, frames go into the transport's buffer: a fast peer must not hold up the reactor.
        """
        burst, window = self._context.limits.burst_bytes, self.window
        while not self._paused and not self._closing:
            if self.sent_bytes >= window.attention and window.wants_mark(self.sent_bytes):
                token = window.mark(self.sent_bytes, self._context.clock.seconds())
                self._write(frame(LINK, self._outbox.new_id(), probe(PING, token)))
            data = self._outbox.next_frame(window.piece_bytes if window.has_room(self.sent_bytes) else 0)
            if data is None:
                break
            self._write(data, at_once=burst > 0)
            burst -= len(data)

    def _write(self, data: bytes, *, at_once: bool = True) -> None:
        self.sent_bytes += len(data)
        self._sent.number += len(data)
        if at_once:
            self._writer.write(data)
        else:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """The transport is backed up: keep frames in the outbox."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport can take more."""
        self._paused = False
        if self.is_open:
            self._pump()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""
        self._paused = True

    # -- receiving ------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Deliver each complete message to the receiver; close the link on malformed data."""
        self._silent_pings = 0
        self.received_bytes += len(data)
        if self.is_open:
            self._received.number += len(data)
            if self.confirmed_at is None:
                self.confirmed_at = next(self._context.order)
        reader = self._reader
        reader.feed(data)
        try:
            while reader.unread and not self._closing and (message := reader.next_message()) is not None:
                self._message_received(*message)
            if reader.partial_bytes and self.is_open:
                self._context.receiver.receiving(self.peer)
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
            self._context.receiver.received(self.peer, codec.decode(payload))

    # -- handshake ------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """How far the handshake has come, for the listener."""
        if self.certified or (self._handshake is not None and self._handshake.is_peer_proved):
            return Standing.PROVED
        if self._handshake is None:
            return Standing.SILENT
        return Standing.VOUCHED if self._handshake.is_peer_vouched else Standing.GREETED

    @property
    def is_maybe_earlier(self) -> bool:
        """Whether the peer may be of an earlier release, to which the cluster may still talk."""
        return self._is_unanswered and self._handshake is not None and self._handshake.accepts_earlier

    @property
    def _is_unanswered(self) -> bool:
        return self.closed_by_peer and self._handshake is not None and self._handshake.is_unanswered

    def _new_handshake(self) -> Handshake:
        """Prepare for a peer. Not before a stranger's first word, because it takes time."""
        self._handshake = self._context.new_handshake(self.transport, self._dialling, self.certified)
        return self._handshake

    def _greet(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.transport.write(frame(GREETING, 0, payload))

    def _greeting_received(self, payload: bytes) -> None:
        handshake = self._handshake or self._new_handshake()
        self._greet(handshake.received(payload))
        if handshake.state is HandshakeState.DECISION and handshake.peer is not None:
            reason = self._context.check(handshake.peer, self.certified)
            if reason is not None:
                raise HandshakeError(reason)
            self._greet(handshake.accept())
            self.agreed_at = next(self._context.order)
        if handshake.state is HandshakeState.OPEN and handshake.peer is not None:
            if handshake.own.cluster != self._context.receiver.hello().cluster:
                self.close("this node has formed a cluster during the handshake")
            else:
                self._open(handshake.peer)

    def _refuse(self, reason: str) -> None:
        if self._handshake is not None:
            self._greet(self._handshake.refuse(reason))
        self.close(reason)

    def _refused(self, error: RefusedByPeer) -> None:
        """Tell the receiver what a proved peer says: it may be a reason for this node to stop."""
        if error.proved and self._handshake is not None and self._handshake.peer is not None:
            self._context.receiver.refused(self._handshake.peer, error.reason)
        self.close(str(error))

    def _open(self, hello: Hello) -> None:
        tune(self.transport, self._context.limits.user_timeout)
        self._handshake = None
        self._reader.open()
        self.hello, self.peer = hello, hello.id
        self._sent, self._received = self._context.observer.traffic(hello.id)
        self.is_open = self.was_open = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.clock.callLater(self._context.limits.ping_interval, self._ping)
        self._owner.opened(self)

    # -- pings ----------------------------------------------------------------------------------------

    def _ping(self) -> None:
        context = self._context
        self._timer = context.clock.callLater(context.limits.ping_interval, self._ping)
        if self._silent_pings >= context.limits.silent_pings:
            self.abort(f"silent for {self._silent_pings} pings")
            return
        self._silent_pings += 1
        self._send_probe(PING, int(context.clock.seconds() * 1e6))

    def ping(self, answered: Callable[[], None]) -> None:
        """Ask the peer's process; `answered` is called with its answer, unless the link ends first."""
        token = FIRST_ASKED + next(self._context.order)
        self._asked[token] = answered
        self._send_probe(PING, token)

    def _send_probe(self, kind: int, token: int) -> None:
        self._outbox.put_probe(probe(kind, token))
        self._pump()

    def _probe_received(self, payload: bytes) -> None:
        kind, token = parse_probe(payload)
        if kind == PING:
            self._send_probe(PONG, token)
        elif kind == PONG and (answered := self._asked.pop(token, None)) is not None:
            answered()
        elif kind == PONG:  # the token is the time at which the ping was sent
            now = self._context.clock.seconds()
            seconds = now - token / 1e6
            if self.window.answered(token, now):
                self._pump()
            elif seconds >= 0:  # the clock may have been set back
                self.round_trip = seconds
                self._context.observer.round_trip(self.peer, seconds)
