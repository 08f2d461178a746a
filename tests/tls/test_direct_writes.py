"""Replies of a TLS connection leave in the turn in which they are written, in order, however full it is."""

import contextlib
import ssl
from typing import Any

import pytest
from twisted.internet._newtls import ConnectionMixin
from twisted.internet.protocol import Protocol

from kraft.tcp.security import AcceptedConnection
from kraft.tcp.writer import DirectWriter
from kraft.tls.connections import AcceptedConnections
from kraft.tls.credentials import TlsFiles, read_credentials
from tests.cluster.certificates import Certificates
from tests.transport.wires import Descriptor


class Socket(ConnectionMixin, Descriptor):
    """A descriptor that can begin TLS, as the connections of Twisted's reactor."""

    _tlsClientDefault = False
    protocol: Any

    def __init__(self):
        super().__init__(1 << 20)
        self.socket = self

    def getPeer(self):
        return "somebody"


class Port:
    """A port with TLS."""

    farewell, takes_plain = b"", False

    def __init__(self, creator):
        self.creator = creator

    def secured(self, address):
        pass

    def taken_plain(self, address):
        raise AssertionError(address)

    def refused(self, address, reason):
        raise AssertionError(reason)


class Client:
    """The other end: Python's `ssl`."""

    def __init__(self, certificates, creator):
        self.socket = Socket()
        self.protocol = Protocol()
        connection = AcceptedConnection(self.protocol, Port(creator))
        self.socket.protocol = connection
        connection.makeConnection(self.socket)
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = certificates.context()
        self._tls = context.wrap_bio(self._received, self._sent, server_hostname="127.0.0.1")
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
            if data := self._sent.read():
                self.socket.protocol.dataReceived(data)
            self._received.write(self.take())

    def take(self):
        """What has left for the client."""
        data, self.socket.sent = self.socket.sent, b""
        return data

    def read(self):
        """What the client can read of it."""
        self._received.write(self.take())
        found = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self._tls.read(1 << 16):
                found += data
        return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certs"))
    made.node("K1")
    return made


@pytest.fixture
def client(certificates):
    credentials = read_credentials(TlsFiles(**certificates.options("K1")), node="K1")
    return Client(certificates, AcceptedConnections(credentials, "1.2", "none"))


def test_what_is_written_leaves_at_once(client):
    """By every way: a session's, and those of Twisted's HTTP."""
    assert DirectWriter(client.socket).write(b"one ") == 0
    assert client.read() == b"one "
    client.socket.write(b"two ")
    client.socket.writeSequence([b"three ", b"four "])
    client.protocol.transport.write(b"five")
    assert client.read() == b"two three four five"


@pytest.mark.parametrize("room", [0, 1, 40, 20_000])
def test_a_socket_that_is_full_gets_the_rest_in_order(client, room):
    """Whatever is written meanwhile waits after it, and is counted."""
    data = bytes(range(256)) * 200
    writer = DirectWriter(client.socket)
    client.socket.room = room
    assert writer.write(data) > len(data) - room
    assert writer.write(b"more") == writer.unsent_bytes > 0
    begun = client.read()
    client.socket.room = 1 << 20
    while writer.unsent_bytes:
        client.socket.doWrite()
    assert begun + client.read() == data + b"more"


def test_an_error_of_the_socket_is_left_to_the_reactor(client):
    error = OSError("broken pipe")
    client.socket.room = error
    DirectWriter(client.socket).write(b"abc")
    assert client.socket.doWrite() is error


def test_a_close_comes_after_what_was_written(client):
    """And says so to the client, which otherwise could not tell it from a cut."""
    writer = DirectWriter(client.socket)
    writer.write(b"last")
    writer.close()
    assert client.socket.disconnecting
    client._received.write(client.take())
    assert client._tls.read(100) == b"last"
    assert client._tls.read(100) == b""  # the close alert; without it this would wait for more
