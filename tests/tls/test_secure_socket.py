"""A TLS socket in a connection of Twisted: plain text at this end, TLS at the other."""

import contextlib
import errno
import socket
import ssl
from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.tcp.security import AcceptedConnection, TlsFault
from kraft.tcp.writer import DirectWriter
from kraft.tls.connections import AcceptedConnections, of_cluster
from kraft.tls.credentials import TlsFiles, read_credentials
from kraft.tls.secure_socket import PIECE_BYTES, READ_BYTES, RECORD_BYTES, SAID_BYTES, TlsEnded
from tests.cluster.certificates import Certificates
from tests.tls.key_update import KeyUpdates
from tests.tls.plain_socket import Client, Plain, meet


class Reactor:
    """Its turns are made by the test."""

    def addReader(self, reader):
        """Nothing is read by itself."""

    addWriter = removeReader = removeWriter = addReader


class Accepted(Connection):
    """A connection that was accepted, on a socket in memory."""

    connected = 1

    def getPeer(self):
        return "somebody"


@implementer(IHalfCloseableProtocol)
class Server(Protocol):
    """Keeps what happens."""

    def __init__(self):
        self.heard = []

    def dataReceived(self, data):
        self.heard.append(data)

    def readConnectionLost(self):
        self.heard.append("end")

    def writeConnectionLost(self):
        """Never."""

    def connectionLost(self, reason):  # type: ignore[override]
        self.heard.append(reason)


class Port:
    """A port with TLS."""

    farewell, takes_plain = b"", False

    def __init__(self, creator):
        self.creator = creator
        self.told = []

    def secured(self, address):
        self.told.append("secured")

    def taken_plain(self, address):
        raise AssertionError(address)

    def refused(self, address, reason):
        self.told.append(reason)


class Meeting:
    """A connection and its client, after the handshake or as far as that goes."""

    def __init__(self, context, creator):
        self.plain, self.server, self.port = Plain(), Server(), Port(creator)
        outer = AcceptedConnection(self.server, self.port)
        self.connection: Any = Accepted(self.plain.as_socket, outer, Reactor())  # type: ignore[arg-type]
        outer.makeConnection(self.connection)
        self.client = Client(context)
        for _ in range(3):
            self.turn(self.client.step())
            self.client.received.write(self.plain.take())

    def turn(self, data=b""):
        """The reactor reads what has come. Returns why it ends the connection, if it does."""
        self.plain.received += data
        while self.plain.received:
            if (why := self.connection.doRead()) is not None:
                return why
        return None

    def read(self):
        """What the client can read."""
        return self.client.read(self.plain.take())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certs"))
    made.node("K1")
    made.client("shop")
    return made


def creator(certificates, *more):
    return AcceptedConnections(read_credentials(TlsFiles(**certificates.options("K1")), node="K1"), *more)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def met(certificates, request):
    context = certificates.context()
    context.maximum_version = request.param
    found = Meeting(context, creator(certificates, "1.2", "none"))
    assert found.port.told == ["secured"]
    return found


def test_what_is_written_leaves_at_once(met):
    """By a session; and what others write, in the order of the calls."""
    assert DirectWriter(met.connection).write(b"one ") == 0
    assert met.read() == b"one "
    met.server.transport.write(b"two ")
    met.server.transport.writeSequence([b"three ", b"four"])
    met.connection.doWrite()
    assert met.read() == b"two three four"


@pytest.mark.parametrize("room", [0, 1, 40, 20_000])
@pytest.mark.parametrize("size", [100, 50_000, 3 * PIECE_BYTES + 5])
def test_a_socket_that_is_full_gets_the_rest_in_order(met, room, size):
    """Whatever is written meanwhile waits after it, and is counted as plain text."""
    data = (bytes(range(256)) * 800)[:size]
    writer = DirectWriter(met.connection)
    met.plain.room = room
    unsent = writer.write(data)
    assert unsent == writer.unsent_bytes
    assert unsent == 0 or unsent >= len(data) - room
    more = writer.write(b"more")
    assert more == writer.unsent_bytes == (unsent + 4 if unsent else more)
    begun = met.plain.take()
    for turn in range(10_000):
        if not writer.unsent_bytes:
            break
        met.plain.room = (7, 1000, 30_000)[turn % 3]
        assert met.connection.doWrite() is None
        begun += met.plain.take()
    assert met.client.read(begun) == data + b"more"


def test_a_lack_of_buffers_in_the_kernel_is_like_a_full_socket(met):
    writer = DirectWriter(met.connection)
    met.plain.room = OSError(errno.ENOBUFS, "no buffers")
    assert writer.write(b"abc") == 3
    met.plain.room = 1 << 20
    met.connection.doWrite()
    assert met.read() == b"abc"


def test_an_error_of_the_socket_is_left_to_the_reactor(met):
    met.plain.room = OSError(errno.EPIPE, "broken pipe")
    DirectWriter(met.connection).write(b"abc")
    assert met.connection.doWrite() is not None


def test_records_arrive_whole_however_they_are_cut(met):
    for byte in met.client.write(b"abc"):
        assert met.turn(bytes([byte])) is None
    assert met.server.heard == [b"abc"]


def test_all_that_has_come_is_read_in_one_turn(met):
    """A pipeline of a client that writes it in pieces is one call, and so one batch."""
    assert met.turn(b"".join(map(met.client.write, (b"a", b"b" * 40_000, b"c")))) is None
    assert met.server.heard == [b"a" + b"b" * 40_000 + b"c"]


class Watched:
    """A buffer of OpenSSL, and the most bytes that were in it at a time."""

    def __init__(self, buffer):
        self._buffer = buffer
        self.most = 0

    @property
    def pending(self):
        self.most = max(self.most, self._buffer.pending)
        return self._buffer.pending

    def read(self):
        self.most = max(self.most, self._buffer.pending)
        return self._buffer.read()

    def write(self, data):
        self._buffer.write(data)
        self.most = max(self.most, self._buffer.pending)


def test_no_more_than_a_record_is_in_the_buffers_of_openssl(met):
    """They never shrink: a connection that once had a large value would keep 85 KB for each direction."""
    secure = met.connection.socket
    secure._incoming, secure._outgoing = incoming, outgoing = (
        Watched(secure._incoming),
        Watched(secure._outgoing),
    )
    value = b"v" * 200_000
    sent = met.client.write(value)
    while sent:
        part, sent = sent[: 1 << 16], sent[1 << 16 :]
        assert met.turn(part) is None
    assert b"".join(met.server.heard) == value
    DirectWriter(met.connection).write(value)
    received = met.read()
    while len(received) < len(value):
        met.connection.doWrite()
        received += met.read()
    assert received == value
    assert RECORD_BYTES < incoming.most <= READ_BYTES
    assert RECORD_BYTES < outgoing.most <= READ_BYTES


@pytest.mark.parametrize("size", [READ_BYTES - 300, READ_BYTES, READ_BYTES + 1, 3 * RECORD_BYTES])
def test_a_long_read_that_begins_and_ends_within_records(met, size):
    """Whatever the place at which the kernel cuts what comes."""
    sent = met.client.write(b"a" * 70_000) + met.client.write(b"b")
    while sent:
        met.turn(sent[:size])
        sent = sent[size:]
    assert b"".join(met.server.heard) == b"a" * 70_000 + b"b"


def test_what_comes_after_the_end_in_a_long_read_does_not_count(met):
    sent = met.client.write(b"a" * 20_000)
    with pytest.raises(ssl.SSLWantReadError):
        met.client.tls.unwrap()
    assert met.turn(sent + met.client.sent.read() + b"x" * 20_000) is None
    assert b"".join(met.server.heard) == b"a" * 20_000
    assert met.connection.doRead() is CONNECTION_DONE


def test_a_long_read_that_was_changed_on_the_way_ends_the_connection(met):
    sent = bytearray(met.client.write(b"a" * 40_000))
    sent[20_000] ^= 1
    assert met.turn(bytes(sent)) is not None
    assert met.connection.socket.fault == "decryption failed or bad record mac"
    assert met.server.heard == []


def test_a_client_that_closes_its_half_gets_its_replies(met):
    """Also where that comes together with its last request."""
    last = met.client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        met.client.tls.unwrap()
    assert met.turn(last + met.client.sent.read() + b"what comes after it") is None
    assert met.server.heard == [b"last"]
    assert met.plain.closed == [socket.SHUT_RD]  # so that the kernel tells of the end
    assert met.connection.doRead() is CONNECTION_DONE
    DirectWriter(met.connection).write(b"reply")
    assert met.read() == b"reply"


def test_a_close_comes_after_what_was_written(met):
    """And says so to the client, which otherwise could not tell it from a cut."""
    writer = DirectWriter(met.connection)
    writer.write(b"last")
    writer.close()
    met.connection.doWrite()
    met.connection.connectionLost(Failure(OSError()))
    met.client.received.write(met.plain.take())
    assert met.client.tls.read(100) == b"last"
    assert met.client.tls.read(100) == b""  # the close alert; without it this would wait for more
    assert met.plain.closed == [socket.SHUT_RDWR]


def test_bytes_that_are_not_of_this_connection_end_it(met):
    """Forged, or replayed: nothing of them is heard, and the reason is told."""
    first = met.client.write(b"first")
    assert met.turn(first) is None
    why = met.turn(first)
    met.connection.connectionLost(Failure(why))
    assert met.server.heard[0] == b"first"
    [end] = met.server.heard[1:]
    assert end.check(TlsFault)
    assert "mac" in str(end.value)
    assert met.port.told == ["secured"]


def test_nothing_is_said_before_the_handshake_is_complete(certificates):
    """Not even an error: the other end could not read it."""
    met = Meeting(certificates.context(), creator(certificates, "1.2", "none"))
    begun = Plain()
    half = creator(certificates, "1.2", "none").secure(begun.as_socket)
    half.begin(Client(certificates.context()).step())
    said = begun.take()
    assert said
    with pytest.raises(OSError, match="nothing is said"):
        half.send(b"abc")
    assert half.certificate() is None
    assert begun.take() == b""
    assert met.port.told == ["secured"]


def test_who_fails_the_check_after_the_handshake_is_told_nothing_and_not_heard(certificates):
    """A client's certificate on the port of peers, with a message in the same bytes as its last of TLS."""
    context = certificates.context("shop")
    met = Meeting(context, creator(certificates, "1.2", "required", of_cluster))
    [told] = met.port.told or [met.connection.socket.fault]
    assert told.startswith("its certificate is not that of a node")
    assert met.server.heard == []
    met.connection.connectionLost(Failure(OSError()))
    assert met.port.told == [told]


def test_a_message_of_tls_that_finds_no_room_ends_the_connection(certificates):
    """Who does not read what a handshake needs is not waited for."""
    plain = Plain()
    plain.room = 10
    half = creator(certificates, "1.2", "none").secure(plain.as_socket)
    with pytest.raises(OSError, match="does not read"):
        half.begin(Client(certificates.context()).step())


def test_a_client_that_takes_nothing_of_a_handshake_is_left(certificates):
    """What TLS has to say would be lost, and both would wait."""
    plain, client = Plain(), Client(certificates.context())
    server = creator(certificates, "1.2", "none").secure(plain.as_socket)
    plain.room = 0
    plain.received = client.step()
    with pytest.raises(TlsEnded, match="does not read"):
        server.recv(1 << 16)


@pytest.fixture
def updating(certificates, tmp_path):
    """A client of TLS 1.3, and its key updates."""
    context = certificates.context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = str(tmp_path / "keys")
    return Meeting(context, creator(certificates, "1.2", "none")), KeyUpdates(tmp_path / "keys")


@pytest.mark.parametrize("room", [0, 10, 1 << 20])
def test_a_key_update_of_a_client_that_reads_slowly_waits_with_its_replies(updating, room):
    """The reply to it leaves between what was encrypted before and what is encrypted after it."""
    met, updates = updating
    writer = DirectWriter(met.connection)
    met.plain.room = room
    writer.write(b"before ")
    assert met.turn(updates.next() + updates.next()) is None  # OpenSSL replies to the first one at the second
    writer.write(b"after")
    met.plain.room = 1 << 20
    met.connection.doWrite()
    assert met.read() == b"before after"
    assert writer.unsent_bytes == 0


def test_a_key_update_that_a_full_socket_cuts_leaves_before_the_next_reply(updating):
    """With no reply waiting: what leaves then is whole."""
    met, updates = updating
    met.plain.room = 10
    assert met.turn(updates.next() + updates.next()) is None
    assert len(met.plain.sent) == 10
    met.plain.room = 1 << 20
    assert DirectWriter(met.connection).write(b"reply") == 0
    assert met.read() == b"reply"


def test_a_client_that_reads_nothing_of_many_key_updates_is_left(updating):
    """What waits for it has a limit."""
    met, updates = updating
    met.plain.room = 0
    count = 0
    while count < 200 and met.turn(updates.next()) is None:
        count += 1
    assert SAID_BYTES / 40 < count < SAID_BYTES / 20
    assert len(met.connection.socket._unsent) < 2 * SAID_BYTES


def test_key_updates_without_end_do_no_harm_to_who_reads(updating):
    """The limit is of what waits."""
    met, updates = updating
    for _ in range(200):
        assert met.turn(updates.next()) is None
    DirectWriter(met.connection).write(b"reply")
    assert met.read() == b"reply"


def test_what_came_before_a_reset_is_not_lost(certificates):
    """The client has closed with replies unread, so that the socket cannot be shut down any more."""
    plain, client = Plain(), Client(certificates.context())
    server = creator(certificates, "1.2", "none").secure(plain.as_socket)
    assert meet(server, plain, client) == ""
    plain.received = client.write(b"SET a 1\r\n")
    with contextlib.suppress(ssl.SSLError):
        client.tls.unwrap()
    plain.received += client.sent.read()
    plain.shutdown = raising  # type: ignore[method-assign]
    assert server.recv(1 << 16) == b"SET a 1\r\n"


def raising(_how):
    raise OSError(errno.ENOTCONN, "not connected")
