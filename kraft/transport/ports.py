"""The ports of the links: the receiver of messages, and an observer."""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IStreamClientEndpoint, ITransport

from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Message


class Receiver(Protocol):
    """Receives messages and the events of links. Called by the reactor, never during `Links.send`."""

    def hello(self) -> Hello:
        """The greeting of this node; the link fills in `nonce` and `auth`."""

    def check(self, hello: Hello) -> str | None:
        """Decide about a peer that has proved itself: None to accept it, or the reason to refuse it.

        Must refuse an id that this node has no reason to talk to: anyone may dial. The link may still fail
        after this.
        """

    def refused(self, hello: Hello, reason: str) -> None:
        """The proved peer that greets so refuses this node, and the link ends; `reason` is for people."""

    def unreachable(self, peer: str, reason: str) -> None:
        """An attempt to dial `peer` led to no link; `reason` is for people."""

    def link_up(self, peer: str, hello: Hello) -> None:
        """The link to `peer` is open. If it replaces another one, `link_down` has been called for that."""

    def link_down(self, peer: str, closed_by_peer: bool) -> None:
        """The link to `peer` is gone. `closed_by_peer`: the peer's process or system closed it; False if this
        node did, or if the peer fell silent.
        """

    def received(self, peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """(group, message) pairs arrived on an open link, in order, except that control overtakes bulk."""

    def receiving(self, peer: str) -> None:
        """Bytes arrived on an open link, and a message in pieces is not complete yet: `peer` is there."""


class LinkSecurity(Protocol):
    """TLS on links: both ends show certificates of nodes. A certificate speaks for one node only."""

    @property
    def required(self) -> bool:
        """Whether a peer without TLS is not dialled."""

    def dial(self, endpoint: IStreamClientEndpoint, peer: str) -> IStreamClientEndpoint:
        """An endpoint that begins TLS, and takes no other node than `peer` at the other end.

        The link writes nothing before its `handshakeCompleted` is called.
        """

    def node_of(self, transport: ITransport) -> str:
        """The node whose certificate the other end has shown and proved to hold."""


class Tally(Protocol):
    """A number of bytes that only grows."""

    number: float


class TransportObserver(Protocol):
    """Counts and logs the events of links. Implementations are fast, do not raise and do not call back."""

    def connected(self, peer: str) -> None:
        """The link to `peer` is open."""

    def disconnected(self, peer: str, reason: str) -> None:
        """The open link to `peer` is gone."""

    def renewed(self, peer: str) -> None:
        """The open link to `peer` was closed here, so that a new one brings new greetings."""

    def unreachable(self, peer: str, reason: str, attempts: int) -> None:
        """The `attempts`-th attempt in a row to reach a peer failed; called for 1, 2, 4, 8 ... only."""

    def refused(self, address: str, reason: str) -> None:
        """An incoming connection from `address` ended before its handshake was complete."""

    def traffic(self, peer: str) -> tuple[Tally, Tally]:
        """What counts the bytes sent to `peer` and received from it. Its link adds to them at every frame."""

    def dropped(self, peer: str, reason: str) -> None:
        """A batch of messages was dropped; `reason` is no_link, queue_full or too_large."""

    def round_trip(self, peer: str, seconds: float) -> None:
        """One ping was answered."""
