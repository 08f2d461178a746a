"""What links need from their owner, and what they tell of themselves."""

from collections.abc import Sequence
from typing import Protocol

from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Message


class Receiver(Protocol):
    """The owner of the links. Calls come from the reactor, never from inside `Links.send`."""

    def hello(self) -> Hello:
        """Who we are at this moment; the link fills in `nonce` and `auth`."""

    def check(self, hello: Hello) -> str | None:
        """Asked about a peer that has proved itself: None to accept, or the reason to refuse, which is sent.

        Must refuse an id it has no reason to talk to: anyone may dial. The link may still fail after this.
        Asked too when the proved peer has refused us, which ends the link whatever the answer.
        """

    def link_up(self, peer: str, hello: Hello) -> None:
        """The link to `peer` is open and `Links.send` reaches it. A link that is replaced goes down first."""

    def link_down(self, peer: str, closed_by_peer: bool) -> None:
        """The link to `peer` is gone. `closed_by_peer`: its process or system closed it; False when we did,
        or when it fell silent.
        """

    def received(self, peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """(group, message) pairs from an open link, in order, but control overtakes bulk."""


class TransportObserver(Protocol):
    """Counters and events of the links. Implementations are cheap, do not raise and do not call back."""

    def connected(self, peer: str) -> None:
        """A link opened."""

    def disconnected(self, peer: str, reason: str) -> None:
        """A link that was open is gone."""

    def unreachable(self, peer: str, reason: str, attempts: int) -> None:
        """The `attempts`-th try in a row to reach a peer failed; told for 1, 2, 4, 8 ... only."""

    def refused(self, address: str, reason: str) -> None:
        """An incoming connection from `address` ended before it was open; told for every one."""

    def sent(self, peer: str, size: int) -> None:
        """`size` bytes were handed to the connection."""

    def received(self, peer: str, size: int) -> None:
        """`size` bytes arrived."""

    def dropped(self, peer: str, reason: str) -> None:
        """A call of `send` lost messages: `reason` is no_link, queue_full or too_large."""

    def round_trip(self, peer: str, seconds: float) -> None:
        """One ping was answered."""
