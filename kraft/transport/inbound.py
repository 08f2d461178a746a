"""The listening side: here come peers with smaller ids, who introduces itself, and whoever finds the port."""

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from kraft.transport.link import Link, LinkContext
from kraft.transport.sockets import text_of


class Listener(Factory):
    """Makes links for accepted connections; few at a time may be in handshake, so strangers cost little.

    `opened` and `closed` hear of links that got through the handshake, and of their end.
    """

    noisy = False

    def __init__(
        self, around: LinkContext, opened: Callable[[Link], None], closed: Callable[[Link], None]
    ) -> None:
        self._around = around
        self._opened = opened
        self._closed = closed
        self._greeting: set[Link] = set()

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        """A link, or None (which closes the connection) when too many are in handshake."""
        if len(self._greeting) >= self._around.limits.greeting_links:
            self._around.observer.refused(text_of(addr), "too many connections in handshake")
            return None
        link = Link(self._around, self)
        self._greeting.add(link)
        return link

    def opened(self, link: Link) -> None:
        """A link is through its handshake."""
        self._greeting.discard(link)
        self._opened(link)

    def closed(self, link: Link) -> None:
        """A link is gone, before or after it was open."""
        self._greeting.discard(link)
        if link.was_open:
            self._closed(link)
        else:
            self._around.observer.refused(link.address, link.reason)

    def close(self) -> None:
        """Drop every connection that is still in handshake."""
        for link in tuple(self._greeting):
            link.abort("stopping")
