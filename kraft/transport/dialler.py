"""The dialling side of peer links: keeps one link to one peer, and retries with growing, jittered pauses.

Twisted's ClientService is not used: it counts a connect as success, and has no way to handle a connection
that is lost while its preparation (our handshake) still runs. Here an attempt succeeds when the link is open,
so a peer that accepts and then refuses is not dialled in a tight loop.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from kraft.transport.limits import LinkLimits
from kraft.transport.link import Dialling, Link, LinkContext, LinkRegistry


def pause(attempts: int, limits: LinkLimits, dice: float) -> float:
    """Seconds before the next attempt after `attempts` failures in a row.

    Doubles from `retry_first` up to `retry_max`. `dice` in [0, 1) picks a value between half and all of that,
    so that nodes that lost the same peer do not return in step.
    """
    whole = min(limits.retry_first * 2.0 ** min(attempts, 32), limits.retry_max)
    return whole * (0.5 + dice / 2)


def is_reported(failures: int) -> bool:
    """Whether the `failures`-th failure in a row is reported: 1, 2, 4, 8 ..."""
    return failures & (failures - 1) == 0


class AttemptOwner(Protocol):
    """The dialler or introduction that made an attempt."""

    def attempt_succeeded(self, link: Link) -> None:
        """The handshake of `link` is complete."""

    def attempt_failed(self, reason: str) -> None:
        """The attempt led to no link. Not called for an abandoned attempt."""


class Attempt(Factory):
    """One attempt to reach `peer`: from `start` to a link and its end, or to a failure.

    A peer that may have no TLS yet, or may be of an earlier release, is dialled a second time within the
    attempt, as such a one.
    """

    noisy = False

    def __init__(self, context: LinkContext, peer: str, owner: AttemptOwner, registry: LinkRegistry) -> None:
        self._context = context
        self._peer = peer
        self._owner = owner
        self._registry = registry
        self._connecting: Deferred[IProtocol] | None = None
        self._link: Link | None = None
        self._as_earlier = False
        self._with_tls = context.security is not None
        self._over = False

    @property
    def under_way(self) -> bool:
        """Neither over nor a link yet."""
        return not self._over and (self._link is None or not self._link.was_open)

    def start(self, endpoint: IStreamClientEndpoint) -> None:
        """Dial now."""
        self._endpoint = endpoint
        self._connecting = connecting = maybeDeferred(self._dial)
        connecting.addCallbacks(self._connected, self._not_connected)

    def _dial(self) -> Deferred[IProtocol]:
        endpoint, security = self._endpoint, self._context.security
        if security is not None and self._with_tls:
            endpoint = security.dial(endpoint, self._peer)  # an OSError without a free file descriptor
        return endpoint.connect(self)

    def abandon(self, reason: str) -> None:
        """Give up. A link that is open stays for the registry to close, which also hears of its end."""
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None and not self._link.was_open:
            self._link.abort(reason)

    def buildProtocol(self, addr: IAddress | None) -> Link | None:  # noqa: ARG002  Twisted's signature
        """A link that expects `peer` at the other end."""
        self._link = Link(self._context, self, Dialling(self._peer, self._as_earlier, self._with_tls))
        return self._link

    def started(self, link: Link) -> None:
        """The connection is made, and the handshake begins."""

    def opened(self, link: Link) -> None:
        """The handshake of `link` is complete."""
        self._owner.attempt_succeeded(link)

    def closed(self, link: Link) -> None:
        """The connection of `link` is gone, before or after the handshake."""
        self._link = None
        if link.was_open:
            self._over = True
            self._registry.link_closed(link)
        elif self._is_maybe_plain(link) and not self._over:
            self._with_tls = False
            self.start(self._endpoint)
        elif link.is_maybe_earlier and not self._over:
            self._as_earlier = True
            self.start(self._endpoint)
        else:
            self._fail(link.reason)

    def _is_maybe_plain(self, link: Link) -> bool:
        """Whether the peer closed the connection at the beginning of TLS, and may be dialled without it."""
        security = self._context.security
        is_free = security is not None and not security.required
        return is_free and self._with_tls and link.closed_by_peer and not link.certified

    def _connected(self, _: object) -> None:
        self._connecting = None

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._link = None
        self._fail(failure.getErrorMessage())

    def _fail(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._owner.attempt_failed(reason)


class Dialler:
    """Keeps a link to `peer`, dialled at `address`, from `start` to `stop`.

    Rests while the registry has a link to the peer, dialled by either side, until `wake` reports that the
    link is gone. `dice` returns numbers in [0, 1).
    """

    def __init__(
        self,
        context: LinkContext,
        peer: str,
        address: str,
        endpoint: IStreamClientEndpoint,
        dice: Callable[[], float],
        registry: LinkRegistry,
    ) -> None:
        self._context = context
        self._peer = peer
        self._address = address
        self._endpoint = endpoint
        self._dice = dice
        self._registry = registry
        self._failures = 0  # in a row
        self._attempt: Attempt | None = None
        self._retry: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Dial now, unless there is a link."""
        self._retry = None
        if self._registry.is_linked(self._peer):
            return
        self._attempt = Attempt(self._context, self._peer, self, self._registry)
        self._attempt.start(self._endpoint)

    def rest(self) -> None:
        """A link is open: abandon an attempt under way."""
        self._failures = 0
        if self._attempt is not None and self._attempt.under_way:
            self._attempt.abandon("the peer was quicker")

    def wake(self) -> None:
        """The link is gone: dial again after a pause."""
        if not self._stopped and self._retry is None:
            delay = pause(self._failures, self._context.limits, self._dice())
            self._retry = self._context.clock.callLater(delay, self.start)

    def stop(self) -> None:
        """Stop dialling. A link that is open stays for the registry to close."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.abandon("stopped")

    def attempt_succeeded(self, link: Link) -> None:
        """The handshake of `link` is complete."""
        self._failures = 0
        self._registry.link_opened(link, self._address)

    def attempt_failed(self, reason: str) -> None:
        """The attempt led to no link: retry after a pause."""
        self._failures += 1
        self._context.receiver.unreachable(self._peer, reason)
        if is_reported(self._failures):
            self._context.observer.unreachable(self._peer, reason, self._failures)
        self.wake()


class Introduction:
    """One attempt to reach a peer that may not know this node yet, or that has moved to `address`."""

    def __init__(self, context: LinkContext, peer: str, address: str, registry: LinkRegistry) -> None:
        self._peer = peer
        self._address = address
        self._registry = registry
        self._attempt = Attempt(context, peer, self, registry)

    @property
    def under_way(self) -> bool:
        """Neither over nor a link yet."""
        return self._attempt.under_way

    def start(self, endpoint: IStreamClientEndpoint) -> None:
        """Dial now."""
        self._attempt.start(endpoint)

    def abandon(self, reason: str) -> None:
        """Give up."""
        self._attempt.abandon(reason)

    def attempt_succeeded(self, link: Link) -> None:
        """The handshake of `link` is complete."""
        self._registry.link_opened(link, self._address)

    def attempt_failed(self, reason: str) -> None:
        """The attempt led to no link."""
        self._registry.introduction_failed(self._peer, reason)
