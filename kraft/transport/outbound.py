"""The dialling side: keeps one link to one peer, trying again with growing, jittered pauses.

Twisted's ClientService is not used: a connect counts as success for it, and it has no way to meet a
connection that is lost while its preparation (our handshake) still runs. Here an attempt succeeds when the
link is open, so a peer that accepts and then refuses is not dialled in a tight loop.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.transport.limits import LinkLimits
from kraft.transport.link import Link, LinkContext


def pause(attempts: int, limits: LinkLimits, dice: float) -> float:
    """Seconds before the next attempt after `attempts` failures in a row; `dice` in [0, 1) spreads it.

    Doubles from `retry_first` to `retry_max`, and takes between half and all of that: never more than the
    maximum, and nodes that lost the same peer do not return in step.
    """
    whole = min(limits.retry_first * 2.0 ** min(attempts, 32), limits.retry_max)
    return whole * (0.5 + dice / 2)


def endpoints(reactor: Any, timeout: float) -> Callable[[str], IStreamClientEndpoint]:
    """How to reach a `host:port` with this reactor; one attempt takes at most `timeout` seconds.

    An address in digits is dialled as it is, without the name resolver and its threads. One that is no
    address, which a replicated configuration may hold, is a failure of each attempt.
    """

    def endpoint_for(address: str) -> IStreamClientEndpoint:
        name, _, digits = address.rpartition(":")
        if not (name and digits.isascii() and digits.isdecimal() and 0 < int(digits[:6]) < 1 << 16):
            return Nowhere(address)
        host, port = name.removeprefix("[").removesuffix("]"), int(digits)
        if isIPAddress(host):
            return TCP4ClientEndpoint(reactor, host, port, timeout)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(reactor, host, port, timeout)
        return HostnameEndpoint(reactor, host, port, timeout)

    return endpoint_for


@implementer(IStreamClientEndpoint)
class Nowhere:
    """The endpoint of what is no address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def connect(self, factory: object) -> Deferred[IProtocol]:  # noqa: ARG002  Twisted's signature
        """Fail."""
        return fail(ConnectError(string=f"{self._address!r} is not host:port"))


class Attempt(Factory):
    """One try to reach `peer`, from `begin` to a link, its end, or a failure.

    `opened` and `closed` hear of a link that got through the handshake and of its end; `failed` of a try that
    led to none, with the reason, unless it was abandoned.
    """

    noisy = False

    def __init__(
        self,
        around: LinkContext,
        peer: str,
        opened: Callable[[Link], None],
        closed: Callable[[Link], None],
        failed: Callable[[str], None],
    ) -> None:
        self._around = around
        self._peer = peer
        self._opened = opened
        self._closed = closed
        self._failed = failed
        self._connecting: Deferred[IProtocol] | None = None
        self._link: Link | None = None
        self._over = False

    @property
    def under_way(self) -> bool:
        """Neither a link yet nor over."""
        return not self._over and (self._link is None or not self._link.was_open)

    def begin(self, endpoint: IStreamClientEndpoint) -> None:
        """Dial now."""
        self._connecting = connecting = endpoint.connect(self)
        connecting.addCallbacks(self._made, self._not_made)

    def abandon(self, reason: str) -> None:
        """Try no more. A link that is open stays, for its owner to close, and its end is told."""
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None and not self._link.was_open:
            self._link.abort(reason)

    def buildProtocol(self, addr: IAddress | None) -> Link | None:  # noqa: ARG002  Twisted's signature
        """A link that expects to meet `peer`."""
        self._link = Link(self._around, self, dialled=self._peer)
        return self._link

    def opened(self, link: Link) -> None:
        """The attempt succeeded."""
        self._opened(link)

    def closed(self, link: Link) -> None:
        """The link is gone, before or after it was open."""
        self._link = None
        if link.was_open:
            self._over = True
            self._closed(link)
        else:
            self._end(link.reason)

    def _made(self, _: object) -> None:
        self._connecting = None

    def _not_made(self, failure: Failure) -> None:
        self._connecting = None
        self._link = None
        self._end(failure.getErrorMessage())

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._failed(reason)


class Dialler:
    """Keeps a link to `peer` from `start` to `stop`, dialling it at one address.

    It rests while `is_linked` says that there is a link, whoever dialled that one, and goes on when `wake`
    tells it that the link is gone. `dice` gives numbers in [0, 1).
    """

    def __init__(
        self,
        around: LinkContext,
        peer: str,
        endpoint: IStreamClientEndpoint,
        dice: Callable[[], float],
        opened: Callable[[Link], None],
        closed: Callable[[Link], None],
        is_linked: Callable[[], bool],
    ) -> None:
        self._around = around
        self._peer = peer
        self._endpoint = endpoint
        self._dice = dice
        self._opened = opened
        self._closed = closed
        self._is_linked = is_linked
        self._failures = 0  # in a row
        self._attempt: Attempt | None = None
        self._retry: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Dial now, unless there is a link."""
        self._retry = None
        if self._is_linked():
            return
        self._attempt = Attempt(
            self._around, self._peer, self._link_opened, self._closed, self._attempt_failed
        )
        self._attempt.begin(self._endpoint)

    def rest(self) -> None:
        """There is a link that the peer dialled: an attempt of our own has no purpose."""
        self._failures = 0
        if self._attempt is not None and self._attempt.under_way:
            self._attempt.abandon("the peer was quicker")

    def wake(self) -> None:
        """There is no link any more."""
        if not self._stopped and self._retry is None:
            delay = pause(self._failures, self._around.limits, self._dice())
            self._retry = self._around.clock.callLater(delay, self.start)

    def stop(self) -> None:
        """Dial no more. A link that is open stays, for the owner to close, and its end is told."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.abandon("stopped")

    def _link_opened(self, link: Link) -> None:
        self._failures = 0
        self._opened(link)

    def _attempt_failed(self, reason: str) -> None:
        self._failures += 1
        if is_told(self._failures):
            self._around.observer.unreachable(self._peer, reason, self._failures)
        self.wake()


def is_told(failures: int) -> bool:
    """Whether the `failures`-th failure in a row is worth a word: 1, 2, 4, 8 ..."""
    return failures & (failures - 1) == 0
