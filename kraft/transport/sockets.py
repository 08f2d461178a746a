"""TCP options of a peer connection, and addresses."""

import ipaddress
import socket
from functools import lru_cache
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ITCPTransport, ITransport

_NOTSENT_LOWAT = 25  # TCP_NOTSENT_LOWAT on Linux, which not every Python names
_UNSENT_BYTES = 256 << 10  # more bulk than this waits in the outbox, where control can overtake it
ADDRESSES_KEPT = 1024  # to parse one takes as long as all else about a stranger that says nothing
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 5))


def tune(transport: ITransport, user_timeout: float) -> None:
    """Set the TCP options of a peer link; does nothing for other transports. `user_timeout` is in seconds."""
    if not ITCPTransport.providedBy(transport):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    raw: Any = getattr(transport, "socket", None)  # or what speaks TLS in its place
    if not hasattr(raw, "setsockopt"):
        return
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout * 1000))
        raw.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT_BYTES)


def ip_of(address: IAddress | object) -> str:
    """The IP address of an end of a connection, in one form for IPv4 in IPv6; '' if it has none."""
    host = address.host if isinstance(address, (IPv4Address, IPv6Address)) else ""
    return canonical_ip(host)


@lru_cache(ADDRESSES_KEPT)
def canonical_ip(host: str) -> str:
    """`host` in one form if it is an IP address, else ''."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def is_loopback(address: IAddress | object) -> bool:
    """Whether `address`, an end of a connection, is certainly on this machine."""
    return isinstance(address, UNIXAddress) or _is_loopback(ip_of(address))


@lru_cache(ADDRESSES_KEPT)
def _is_loopback(ip: str) -> bool:
    return bool(ip) and ipaddress.ip_address(ip).is_loopback


def text_of(address: IAddress | object) -> str:
    """The address as text, in the form host:port."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    return str(address)
