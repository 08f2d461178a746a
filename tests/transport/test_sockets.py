"""Addresses of this machine, direct writes, and endpoints."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransport

from kraft.transport.outbound import endpoints
from kraft.transport.sockets import is_loopback, text_of, tune, write_now, writes_directly
from tests.transport.wires import Descriptor


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


@pytest.mark.parametrize("room", [0, 1, 3, 100])
def test_direct_writes_keep_the_order(room):
    """What the socket does not take waits, and later writes wait behind it."""
    transport = Descriptor(room)
    assert writes_directly(transport)

    write_now(transport, b"abc")
    write_now(transport, b"def")
    assert transport.sent == b"abcdef"[:room]
    transport.room = 100
    transport.doWrite()
    write_now(transport, b"ghi")

    assert transport.sent == b"abcdefghi"


def test_an_error_is_left_to_the_reactor():
    """Nothing ends inside a write; the next turn meets the same error."""
    error = OSError("broken pipe")
    transport = Descriptor(error)

    write_now(transport, b"abc")

    assert transport.doWrite() is error


def test_other_transports_are_written_as_usual():
    """TLS above all."""
    secured = Descriptor(1)
    secured.TLS = True
    assert not writes_directly(secured)
    assert not writes_directly(StringTransport())
    tune(StringTransport(), 5.0)


@pytest.mark.parametrize(
    ("address", "kind"),
    [("127.0.0.1:1", TCP4ClientEndpoint), ("[::1]:1", TCP6ClientEndpoint), ("db.test:1", HostnameEndpoint)],
)
def test_digits_need_no_resolver(address, kind):
    """Names do."""
    assert type(endpoints(MemoryReactorClock(), 3.0)(address)) is kind
