"""The listening side of peer links: accepts peers with smaller ids, new nodes, and whoever finds the port."""

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from kraft.transport.link import Link, LinkContext, LinkRegistry
from kraft.transport.sockets import text_of


class Listener(Factory):
    """Makes a link for each accepted connection.

    Only a few connections may be in handshake at a time, so that strangers cost little.
    """

    noisy = False

    def __init__(self, context: LinkContext, registry: LinkRegistry) -> None:
        self._context = context
        self._registry = registry
        self._greeting: set[Link] = set()  # in handshake

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        """A link, or None (which closes the connection) if too many are in handshake."""
        if len(self._greeting) >= self._context.limits.greeting_links:
            self._context.observer.refused(text_of(addr), "too many connections in handshake")
            return None
        link = Link(self._context, self)
        self._greeting.add(link)
        return link

    def opened(self, link: Link) -> None:
        """The handshake of `link` is complete."""
        self._greeting.discard(link)
        self._registry.link_opened(link, "")

    def closed(self, link: Link) -> None:
        """The connection of `link` is gone, before or after the handshake."""
        self._greeting.discard(link)
        if link.was_open:
            self._registry.link_closed(link)
        else:
            self._context.observer.refused(link.address, link.reason)

    def close(self) -> None:
        """Drop every connection that is still in handshake."""
        for link in tuple(self._greeting):
            link.abort("stopping")
