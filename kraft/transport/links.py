"""All links of a node: which side dials, which link is the one to each peer, and sending by peer id.

Of two nodes that know each other, the one with the smaller id dials. A node that its peer does not know may
introduce itself, whatever the ids. There is at most one link per peer: a newer link that has completed its
handshake replaces the older one, whose connection may be dead in a way that only its other end has noticed.

Two nodes that dial each other at the same time end up with one link. The dialling side sends the last message
of a handshake, so a link that the peer dialled is open at the peer too when it opens here, and our own
attempt is abandoned. If both sides have sent the last message of their own attempt before they received the
other's, the links cross, and both nodes keep the one that the smaller id dialled. For the larger id that is
the newer link. The smaller id can tell a crossing from a newer link: when it accepted the other link, it had
received nothing on its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)

from kraft.peerwire.messages import Message
from kraft.transport.dialler import Dialler, Introduction, is_reported
from kraft.transport.endpoints import host_of
from kraft.transport.limits import LinkLimits
from kraft.transport.link import Link, LinkContext
from kraft.transport.listener import Listener
from kraft.transport.ports import LinkSecurity, Receiver, TransportObserver
from kraft.transport.sockets import canonical_ip, ip_of

GREETING_AGAIN = "greeting again"


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One open link. `round_trip` is in seconds, None until a ping was answered."""

    peer: str
    address: str
    dialled: bool
    waiting_bytes: int
    sent_bytes: int
    received_bytes: int
    round_trip: float | None


class Links:
    """The network of a node; implements `host.ports.Network`, and `LinkRegistry` for its links."""

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
        security: LinkSecurity | None = None,
    ) -> None:
        """`listening` is the endpoint for peers, None for a node without peers; `endpoint_for` returns a
        client endpoint for a `host:port`; `secret` is the content of cluster.secret_file; `dice` returns
        numbers in [0, 1), `nonce` returns NONCE_BYTES fresh random bytes. `security` is that of links with
        TLS, which `listening` knows too.
        """
        if secret is not None and not secret:
            raise ValueError("the secret is empty")
        self._id = id
        self._listening = listening
        self._endpoint_for = endpoint_for
        self._dice = dice
        self._receiver = receiver
        self._observer = observer
        self._context = LinkContext(
            clock, limits or LinkLimits(), secret, nonce, receiver, observer, security
        )
        self._listener = Listener(self._context, self)
        self._port: IListeningPort | None = None
        self._addresses: dict[str, str] = {}
        self._diallers: dict[str, Dialler] = {}
        self._introductions: dict[str, Introduction] = {}  # under way
        self._failures: dict[str, int] = {}  # introductions that failed in a row, by peer
        self._links: dict[str, Link] = {}
        self._ips: dict[str, str] = {}  # the address that the last link to a peer came from, or led to
        self._dialled: dict[str, str] = {}  # address of a link that this node dialled, by peer
        self._ending: set[Link] = set()  # closed by this node, connection not yet gone
        self._stopping = False
        self._stopped: Deferred[None] | None = None

    # -- the Network port -----------------------------------------------------------------------------

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        """Send (group, message) pairs as one batch, in this turn unless the link is backed up.

        Returns False if certainly no entry and no command of the batch was sent: there is no link, or its
        queue is full. True guarantees nothing.
        """
        link = self._links.get(peer)
        dropped = "no_link" if link is None else link.send(cast(Sequence[tuple[int, Message]], messages))
        if dropped is None:
            return True
        self._observer.dropped(peer, dropped)
        return False

    def windows(self) -> dict[str, int]:
        """The bytes that each open link carries within its round trip and a short queue."""
        return {peer: link.window.size for peer, link in self._links.items()}

    def congested(self) -> list[str]:
        """The peers whose links were full within the last second."""
        since = self._context.clock.seconds() - 1.0
        return [peer for peer, link in self._links.items() if link.window.queued_at > since]

    def greet_again(self, peer: str) -> None:
        """Close the link to `peer`; the side that dials will dial again."""
        self._drop(peer, GREETING_AGAIN)

    def ping(self, peer: str, answered: Callable[[], None]) -> None:
        """Ask the process at the other end of the link to `peer`; `answered` is called with its answer."""
        if (link := self._links.get(peer)) is not None:
            link.ping(answered)

    # -- start and stop -------------------------------------------------------------------------------

    def start(self, peers: Mapping[str, str]) -> Deferred[None]:
        """Listen, then dial. `peers` maps ids to `host:port`; this node's own id is ignored.

        Fails with the error of the listening endpoint, such as a port in use; then nothing was started.
        """
        endpoint = self._listening
        listening = succeed(None) if endpoint is None else maybeDeferred(endpoint.listen, self._listener)

        def begin(port: IListeningPort | None) -> None:
            self._port = port
            for peer, address in peers.items():
                self.connect(peer, address)

        return listening.addCallback(begin)

    def connect(self, peer: str, address: str) -> None:
        """Keep a link to `peer`; dial it at `address` if this node has the smaller id.

        If the address has changed, a link that was not dialled at the new address is closed.
        """
        if peer == self._id or self._addresses.get(peer) == address:
            return
        if peer in self._addresses:
            self._stop_dialling(peer)
            if self._dialled.get(peer) != address:
                self._drop(peer, "the peer has another address")
        self._addresses[peer] = address
        if self._id < peer:
            endpoint = self._endpoint_for(address)
            dialler = Dialler(self._context, peer, address, endpoint, self._dice, self)
            self._diallers[peer] = dialler
            dialler.start()

    def introduce(self, peer: str, address: str) -> None:
        """Dial `peer` once, whatever the ids, unless there is a link or it is being dialled at `address`.

        For a peer that does not know this node yet and so does not dial it, or that has a new address. The
        link is like any other.
        """
        if self._stopping or peer == self._id or peer in self._links or peer in self._introductions:
            return
        if peer in self._diallers and self._addresses[peer] == address:
            return

        introduction = Introduction(self._context, peer, address, self)
        self._introductions[peer] = introduction
        introduction.start(self._endpoint_for(address))

    def disconnect(self, peer: str) -> None:
        """Stop dialling `peer` and close its link. `Receiver.check` decides whether it may come back."""
        self._stop_dialling(peer)
        self._drop(peer, "disconnected")

    def _stop_dialling(self, peer: str) -> None:
        self._addresses.pop(peer, None)
        self._ips.pop(peer, None)
        self._failures.pop(peer, None)
        introduction = self._introductions.pop(peer, None)
        if introduction is not None:
            introduction.abandon("stopped")
        dialler = self._diallers.pop(peer, None)
        if dialler is not None:
            dialler.stop()

    def stop(self) -> Deferred[None]:
        """Close every link after its buffered data is sent. Fires when the last connection is gone."""
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

    # -- state ----------------------------------------------------------------------------------------

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

    # -- the LinkRegistry port ------------------------------------------------------------------------

    def is_linked(self, peer: str) -> bool:
        """Whether there is a link to `peer`."""
        return peer in self._links

    def is_member_at(self, ip: str) -> bool:
        """Whether a member has this IP address, by what it is dialled at or was linked from.

        A host name counts only once there was a link: it is not resolved for this.
        """
        if not ip:
            return False
        dialled = (canonical_ip(host_of(address)) for address in self._addresses.values())
        return ip in self._ips.values() or ip in dialled

    def link_opened(self, link: Link, dialled: str) -> None:
        """The handshake of `link` is complete. `dialled` is the address we dialled, '' if accepted."""
        hello = link.hello
        if hello is None:
            raise RuntimeError("an open link knows its peer")
        if self._is_crossing(link):
            self._ending.add(link)
            link.close("crossed a link that was dialled here")
            return
        self._drop(link.peer, "replaced by a newer link")
        self._links[link.peer] = link
        self._ips[link.peer] = ip_of(link.transport.getPeer())
        if dialled:
            self._dialled[link.peer] = dialled
        self._abandon_attempts(link.peer)
        self._observer.connected(link.peer)
        self._receiver.link_up(link.peer, hello)

    def _is_crossing(self, link: Link) -> bool:
        """Whether the peer opened `link` before it knew of the one that we opened, and so keeps ours."""
        old = self._links.get(link.peer)
        if self._id > link.peer or old is None or link.dialled or not old.dialled:
            return False
        agreed, confirmed = link.agreed_at, old.confirmed_at
        return agreed is None or confirmed is None or agreed < confirmed

    def _abandon_attempts(self, peer: str) -> None:
        """There is a link: abandon all other attempts to reach the peer."""
        self._failures.pop(peer, None)
        introduction = self._introductions.pop(peer, None)
        if introduction is not None and introduction.under_way:
            introduction.abandon("the peer was quicker")
        dialler = self._diallers.get(peer)
        if dialler is not None:
            dialler.rest()

    def link_closed(self, link: Link) -> None:
        """The connection of `link`, which was open, is gone."""
        self._ending.discard(link)
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._dialled.pop(link.peer, None)
            self._report_down(link, link.reason, closed_by_peer=link.closed_by_peer)
        if self._stopped is not None and not self._ending:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def introduction_failed(self, peer: str, reason: str) -> None:
        """An introduction to `peer` led to no link."""
        del self._introductions[peer]
        self._failures[peer] = failures = self._failures.get(peer, 0) + 1
        self._receiver.unreachable(peer, reason)
        if is_reported(failures):
            self._observer.unreachable(peer, reason, failures)

    def _drop(self, peer: str, reason: str) -> None:
        """Close the link to `peer`, which counts as down from now on."""
        link = self._links.pop(peer, None)
        self._dialled.pop(peer, None)
        if link is None:
            return
        self._ending.add(link)
        link.close(reason)
        self._report_down(link, reason, closed_by_peer=False)

    def _report_down(self, link: Link, reason: str, *, closed_by_peer: bool) -> None:
        if reason == GREETING_AGAIN:
            self._observer.renewed(link.peer)
        else:
            self._observer.disconnected(link.peer, reason)
        self._receiver.link_down(link.peer, closed_by_peer)
        dialler = self._diallers.get(link.peer)
        if dialler is not None:
            dialler.wake()
