"""How to dial the address of a peer."""

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from zope.interface import implementer


def endpoints(reactor: Any, timeout: float) -> Callable[[str], IStreamClientEndpoint]:
    """A function from `host:port` to a client endpoint on this reactor; one attempt takes `timeout` seconds.

    A numeric address is dialled directly, without the name resolver and its threads. The addresses come from
    the replicated configuration, so a malformed one is not an error here: each attempt to dial it fails.
    """

    def endpoint_for(address: str) -> IStreamClientEndpoint:
        name, _, digits = address.rpartition(":")
        if not (name and digits.isascii() and digits.isdecimal() and 0 < int(digits[:6]) < 1 << 16):
            return MalformedEndpoint(address)
        host, port = host_of(address), int(digits)
        if isIPAddress(host):
            return TCP4ClientEndpoint(reactor, host, port, timeout)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(reactor, host, port, timeout)
        return HostnameEndpoint(reactor, host, port, timeout)

    return endpoint_for


def host_of(address: str) -> str:
    """The host in `host:port`, without the brackets of an IPv6 address."""
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


@implementer(IStreamClientEndpoint)
class MalformedEndpoint:
    """The endpoint of a malformed address: every attempt fails."""

    def __init__(self, address: str) -> None:
        self._address = address

    def connect(self, factory: object) -> Deferred[IProtocol]:  # noqa: ARG002  Twisted's signature
        """Fail with ConnectError."""
        return fail(ConnectError(string=f"{self._address!r} is not host:port"))
