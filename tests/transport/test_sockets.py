"""Addresses of this machine, options, and endpoints."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import alsoProvides

from kraft.transport.endpoints import endpoints
from kraft.transport.sockets import is_loopback, text_of, tune


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (IPv4Address("TCP", "127.0.0.1", 1), True),
        (IPv4Address("TCP", "127.9.9.9", 1), True),
        (IPv4Address("TCP", "10.0.0.1", 1), False),
        (IPv4Address("TCP", "0.0.0.0", 1), False),
        (IPv6Address("TCP", "::1", 1), True),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), True),
        (IPv6Address("TCP", "::ffff:10.0.0.1", 1), False),
        (IPv6Address("TCP", "fe80::1%eth0", 1), False),
        (IPv4Address("TCP", "localhost.evil.example", 1), False),
        (UNIXAddress("/run/kraft"), True),
        (None, False),
    ],
)
def test_only_what_is_certain_is_loopback(address, expected):
    """A name, or nothing at all, is not."""
    assert is_loopback(address) is expected


def test_addresses_are_written_as_people_write_them():
    """With brackets for version 6."""
    assert text_of(IPv4Address("TCP", "1.2.3.4", 5)) == "1.2.3.4:5"
    assert text_of(IPv6Address("TCP", "::1", 5)) == "[::1]:5"
    assert text_of(None) == "None"


def test_other_transports_have_no_options():
    """They are left alone."""
    tune(StringTransport(), 5.0)


def test_what_takes_the_place_of_a_socket_gets_its_options():
    """A link with TLS, for example."""
    options: list[tuple[int, int, int]] = []
    transport: Any = StringTransport()
    transport.setTcpNoDelay = transport.setTcpKeepAlive = lambda _enabled: None
    transport.socket = SimpleNamespace(setsockopt=lambda *option: options.append(option))
    alsoProvides(transport, ITCPTransport)
    tune(transport, 5.0)
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000) in options


@pytest.mark.parametrize(
    ("address", "kind"),
    [("127.0.0.1:1", TCP4ClientEndpoint), ("[::1]:1", TCP6ClientEndpoint), ("db.test:1", HostnameEndpoint)],
)
def test_digits_need_no_resolver(address, kind):
    """Names do."""
    assert type(endpoints(MemoryReactorClock(), 3.0)(address)) is kind
