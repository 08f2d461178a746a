"""The dialling side: keeps one link to one peer, trying again with growing, jittered pauses.

Twisted's ClientService is not used: a connect counts as success for it, and it has no way to meet a
connection that is lost while its preparation (our handshake) still runs. Here an attempt succeeds when the
link is open, so a peer that accepts and then refuses is not dialled in a tight loop.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from kraft.transport.limits import LinkLimits
from kraft.transport.link import Link, Surroundings


def pause(attempts: int, limits: LinkLimits, dice: float) -> float:
    """Seconds before the next attempt after `attempts` failures in a row; `dice` in [0, 1) spreads it.

    Doubles from `retry_first` to `retry_max`, and takes between half and all of that: never more than the
    maximum, and nodes that lost the same peer do not return in step.
    """
    whole = min(limits.retry_first * 2.0 ** min(attempts, 32), limits.retry_max)
    return whole * (0.5 + dice / 2)


def endpoints(reactor: Any, timeout: float) -> Callable[[str], IStreamClientEndpoint]:
    """How to reach a `host:port` with this reactor; one attempt takes at most `timeout` seconds.

    An address in digits is dialled as it is, without the name resolver and its threads.
    """

    def endpoint_for(address: str) -> IStreamClientEndpoint:
        name, _, digits = address.rpartition(":")
        host, port = name.removeprefix("[").removesuffix("]"), int(digits)
        if isIPAddress(host):
            return TCP4ClientEndpoint(reactor, host, port, timeout)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(reactor, host, port, timeout)
        return HostnameEndpoint(reactor, host, port, timeout)

    return endpoint_for


class Dialler(Factory):
    """Dials `peer` at one address from `start` to `stop`. `dice` gives numbers in [0, 1)."""

    noisy = False

    def __init__(
        self,
        around: Surroundings,
        peer: str,
        endpoint: IStreamClientEndpoint,
        dice: Callable[[], float],
        opened: Callable[[Link], None],
        closed: Callable[[Link], None],
    ) -> None:
        self._around = around
        self._peer = peer
        self._endpoint = endpoint
        self._dice = dice
        self._opened = opened
        self._closed = closed
        self._attempts = 0  # failures in a row
        self._connecting: Deferred[IProtocol] | None = None
        self._link: Link | None = None
        self._retry: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Dial now."""
        self._retry = None
        self._connecting = connecting = self._endpoint.connect(self)
        connecting.addCallbacks(self._made, self._failed)

    def stop(self) -> None:
        """Dial no more. A link that is open stays, for the owner to close, and its end is told."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None and not self._link.was_open:
            self._link.abort("stopped")

    def buildProtocol(self, addr: IAddress | None) -> Link | None:  # noqa: ARG002  Twisted's signature
        """A link that expects to meet `peer`."""
        self._link = Link(self._around, self, dialled=self._peer)
        return self._link

    def opened(self, link: Link) -> None:
        """The attempt succeeded."""
        self._attempts = 0
        self._opened(link)

    def closed(self, link: Link) -> None:
        """The link is gone, before or after it was open."""
        self._link = None
        if link.was_open:
            self._closed(link)
            self._again()
        else:
            self._attempt_failed(link.reason)

    def _made(self, _: object) -> None:
        self._connecting = None

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        self._link = None
        self._attempt_failed(failure.getErrorMessage())

    def _attempt_failed(self, reason: str) -> None:
        if self._stopped:
            return
        self._attempts += 1
        if self._attempts & (self._attempts - 1) == 0:
            self._around.observer.unreachable(self._peer, reason, self._attempts)
        self._again()

    def _again(self) -> None:
        if not self._stopped:
            delay = pause(self._attempts, self._around.limits, self._dice())
            self._retry = self._around.clock.callLater(delay, self.start)
