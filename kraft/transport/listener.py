"""The listening side of peer links: accepts peers with smaller ids, new nodes, and whoever finds the port."""

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from kraft.transport.backlog import Backlog
from kraft.transport.link import Link, LinkContext, LinkRegistry
from kraft.transport.sockets import ip_of


class Listener(Factory):
    """Makes a link for each accepted connection, and keeps those in handshake in a `Backlog`."""

    noisy = False

    def __init__(self, context: LinkContext, registry: LinkRegistry) -> None:
        self._context = context
        self._registry = registry
        self._backlog = Backlog(context.limits, registry, context.clock)

    def buildProtocol(self, addr: IAddress | None) -> Link:  # noqa: ARG002  Twisted's signature
        """A link to whoever connects; another connection in handshake may have to give way to it."""
        return Link(self._context, self)

    def started(self, link: Link) -> None:
        """The handshake of `link` begins."""
        self._backlog.add(link, ip_of(link.transport.getPeer()))

    def opened(self, link: Link) -> None:
        """The handshake of `link` is complete."""
        self._backlog.remove(link)
        self._registry.link_opened(link, "")

    def closed(self, link: Link) -> None:
        """The connection of `link` is gone, before or after the handshake."""
        self._backlog.remove(link)
        if link.was_open:
            self._registry.link_closed(link)
        else:
            self._context.observer.refused(link.address, link.reason)

    def close(self) -> None:
        """Drop every connection that is still in handshake."""
        for connection in self._backlog:
            connection.abort("stopping")
