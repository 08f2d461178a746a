"""All links of a node: who dials whom, which link is the one for a peer, and sending by peer id.

Of two nodes that know each other the one with the smaller id dials; a node that is not known to a peer may
introduce itself, whatever the ids. At most one link per peer counts; a newer one that has proved itself takes
the place of the older, whose connection may hang in a way that only its other end knows of.

Two nodes that dial each other at one moment end up with one link. The dialling side says the last word of a
handshake, so when a link opens that the peer dialled, it is open at the peer as well: an attempt of our own
is given up. When each has said the last word on its own link before it heard the other's, the links cross;
both then keep the one that the smaller id dialled. To the larger id that one is the newer. The smaller id
knows a crossing from a newer link by its own link: when it agreed to the other, it had heard nothing on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)

from kraft.peerwire.messages import Message
from kraft.transport.inbound import Listener
from kraft.transport.limits import LinkLimits
from kraft.transport.link import Link, LinkContext
from kraft.transport.outbound import Attempt, Dialler, is_told
from kraft.transport.ports import Receiver, TransportObserver


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One open link, for people. `round_trip` in seconds, None until a ping was answered."""

    peer: str
    address: str
    dialled: bool
    waiting_bytes: int
    sent_bytes: int
    received_bytes: int
    round_trip: float | None


class Links:
    """The network of a node; implements `host.ports.Network`.

    `listening` is where peers connect, None for a node without peers; `endpoint_for` makes a client endpoint
    of a `host:port`; `secret` is the content of cluster.secret_file; `dice` gives numbers in [0, 1) and
    `nonce` fresh random bytes (NONCE_BYTES of them).
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  the word of the configuration
        clock: IReactorTime,
        listening: IStreamServerEndpoint | None,
        endpoint_for: Callable[[str], IStreamClientEndpoint],
        secret: bytes | None,
        dice: Callable[[], float],
        nonce: Callable[[], bytes],
        receiver: Receiver,
        observer: TransportObserver,
        limits: LinkLimits | None = None,
    ) -> None:
        if secret is not None and not secret:
            raise ValueError("the secret is empty")
        self._id = id
        self._listening = listening
        self._endpoint_for = endpoint_for
        self._dice = dice
        self._receiver = receiver
        self._observer = observer
        self._around = LinkContext(clock, limits or LinkLimits(), secret, nonce, receiver, observer)
        self._listener = Listener(self._around, partial(self._link_opened, ""), self._link_closed)
        self._port: IListeningPort | None = None
        self._addresses: dict[str, str] = {}
        self._diallers: dict[str, Dialler] = {}
        self._introductions: dict[str, Attempt] = {}  # under way
        self._failures: dict[str, int] = {}  # of introductions, in a row
        self._links: dict[str, Link] = {}
        self._dialled: dict[str, str] = {}  # where the link of a peer was dialled, if it was by us
        self._ending: set[Link] = set()  # replaced or closed by us, connection not yet gone
        self._stopping = False
        self._stopped: Deferred[None] | None = None

    # The Network port

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        """Send (group, message) pairs as one batch, in this turn when the link is not backed up.

        False when no entry and no command of it is on its way: no link, or its queue is full. True promises
        nothing.
        """
        link = self._links.get(peer)
        dropped = "no_link" if link is None else link.send(cast(Sequence[tuple[int, Message]], messages))
        if dropped is None:
            return True
        self._observer.dropped(peer, dropped)
        return False

    def greet_again(self, peer: str) -> None:
        """Close the link to `peer`; whoever of the two dials does so again."""
        self._drop(peer, "greeting again")

    # Life

    def start(self, peers: Mapping[str, str]) -> Deferred[None]:
        """Listen, then dial. `peers` maps ids to `host:port`, our own may be among them.

        Fails with the listening endpoint's error, a taken port for example; then nothing was begun.
        """
        endpoint = self._listening
        listening = succeed(None) if endpoint is None else maybeDeferred(endpoint.listen, self._listener)

        def begin(port: IListeningPort | None) -> None:
            self._port = port
            for peer, address in peers.items():
                self.connect(peer, address)

        return listening.addCallback(begin)

    def connect(self, peer: str, address: str) -> None:
        """Keep a link to `peer`, at `address` if it is for us to dial.

        A changed address takes the place of the old one, and the link goes unless it was dialled there.
        """
        if peer == self._id or self._addresses.get(peer) == address:
            return
        if peer in self._addresses:
            self._dial_no_more(peer)
            if self._dialled.get(peer) != address:
                self._drop(peer, "the peer has another address")
        self._addresses[peer] = address
        if self._id < peer:
            dialler = Dialler(
                self._around,
                peer,
                self._endpoint_for(address),
                self._dice,
                partial(self._link_opened, address),
                self._link_closed,
                lambda: peer in self._links,
            )
            self._diallers[peer] = dialler
            dialler.start()

    def introduce(self, peer: str, address: str) -> None:
        """Dial `peer` once, whatever the ids; nothing when there is a link, or it is dialled there already.

        For a peer that does not know us yet, so that it would not dial us, or that is no longer where we
        look for it. The link counts like any other.
        """
        if self._stopping or peer == self._id or peer in self._links or peer in self._introductions:
            return
        if peer in self._diallers and self._addresses[peer] == address:
            return

        def failed(reason: str) -> None:
            del self._introductions[peer]
            self._failures[peer] = failures = self._failures.get(peer, 0) + 1
            if is_told(failures):
                self._observer.unreachable(peer, reason, failures)

        opened = partial(self._link_opened, address)
        attempt = Attempt(self._around, peer, opened, self._link_closed, failed)
        self._introductions[peer] = attempt
        attempt.begin(self._endpoint_for(address))

    def disconnect(self, peer: str) -> None:
        """Dial `peer` no more and close its link. Whether it may come back is for `Receiver.check`."""
        self._dial_no_more(peer)
        self._drop(peer, "disconnected")

    def _dial_no_more(self, peer: str) -> None:
        self._addresses.pop(peer, None)
        self._failures.pop(peer, None)
        introduction = self._introductions.pop(peer, None)
        if introduction is not None:
            introduction.abandon("stopped")
        dialler = self._diallers.pop(peer, None)
        if dialler is not None:
            dialler.stop()

    def stop(self) -> Deferred[None]:
        """Close everything, sending what the connections hold; fires when the last one is gone."""
        self._stopping = True
        closing: list[Deferred[object]] = []
        if self._port is not None:
            closing.append(maybeDeferred(self._port.stopListening))
            self._port = None
        for peer in sorted({*self._addresses, *self._introductions, *self._links}):
            self.disconnect(peer)
        self._listener.close()
        if self._ending:
            self._stopped = Deferred()
            closing.append(cast("Deferred[object]", self._stopped))
        return gatherResults(closing).addCallback(lambda _: None)

    # Facts

    def connected(self) -> frozenset[str]:
        """Ids of the peers that `send` reaches."""
        return frozenset(self._links)

    def statistics(self) -> tuple[LinkStatus, ...]:
        """The open links, by peer id."""
        return tuple(
            LinkStatus(
                peer=peer,
                address=link.address,
                dialled=link.dialled,
                waiting_bytes=link.waiting_bytes,
                sent_bytes=link.sent_bytes,
                received_bytes=link.received_bytes,
                round_trip=link.round_trip,
            )
            for peer, link in sorted(self._links.items())
        )

    # What diallers and the listener report

    def _link_opened(self, dialled: str, link: Link) -> None:
        """`dialled` is where we dialled it, empty when the peer did."""
        hello = link.hello
        if hello is None:
            raise RuntimeError("an open link knows its peer")
        if self._is_crossing(link):
            self._ending.add(link)
            link.close("crossed a link that was dialled here")
            return
        self._drop(link.peer, "replaced by a newer link")
        self._links[link.peer] = link
        if dialled:
            self._dialled[link.peer] = dialled
        self._give_up_attempts(link.peer)
        self._observer.connected(link.peer)
        self._receiver.link_up(link.peer, hello)

    def _is_crossing(self, link: Link) -> bool:
        """Whether the peer opened `link` without knowing of one that we opened, and keeps the latter."""
        old = self._links.get(link.peer)
        if self._id > link.peer or old is None or link.dialled or not old.dialled:
            return False
        agreed, confirmed = link.agreed_at, old.confirmed_at
        return agreed is None or confirmed is None or agreed < confirmed

    def _give_up_attempts(self, peer: str) -> None:
        """There is a link: whatever else is on its way to become one has no purpose."""
        self._failures.pop(peer, None)
        introduction = self._introductions.pop(peer, None)
        if introduction is not None and introduction.under_way:
            introduction.abandon("the peer was quicker")
        dialler = self._diallers.get(peer)
        if dialler is not None:
            dialler.rest()

    def _link_closed(self, link: Link) -> None:
        self._ending.discard(link)
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._dialled.pop(link.peer, None)
            self._tell_down(link.peer, link.reason, closed_by_peer=link.closed_by_peer)
        if self._stopped is not None and not self._ending:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def _drop(self, peer: str, reason: str) -> None:
        """Close the link of `peer`, which is down from this moment."""
        link = self._links.pop(peer, None)
        self._dialled.pop(peer, None)
        if link is None:
            return
        self._ending.add(link)
        link.close(reason)
        self._tell_down(peer, reason, closed_by_peer=False)

    def _tell_down(self, peer: str, reason: str, *, closed_by_peer: bool) -> None:
        self._observer.disconnected(peer, reason)
        self._receiver.link_down(peer, closed_by_peer)
        dialler = self._diallers.get(peer)
        if dialler is not None:
            dialler.wake()
