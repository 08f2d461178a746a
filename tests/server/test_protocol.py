"""The way to the socket: at once when nothing waits, in order when something does."""

import gc
import weakref
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactor

from kraft.server import output
from tests.server.fakes import Port, encode


class Socket(FileDescriptor):
    """A descriptor that takes `room` bytes, or fails."""

    def __init__(self) -> None:
        super().__init__(MemoryReactor())
        self.connected = 1
        self.room = 1 << 20
        self.broken = False
        self.taken = b""
        self.aborted = False
        self.paused = False

    def getHandle(self) -> "Socket":
        return self

    def writeSomeData(self, data: bytes) -> int | BaseException:
        try:
            return self.send(data)
        except OSError as error:
            return error

    def send(self, data: bytes) -> int:
        if self.broken:
            raise ConnectionResetError
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        return len(part)

    def stopReading(self) -> None:
        self.paused = True

    def startReading(self) -> None:
        self.paused = False

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)

    getHost = getPeer

    def abortConnection(self) -> None:
        self.aborted = True


def connect(port: Port) -> tuple[Any, Socket]:
    protocol: Any = port.factory.buildProtocol(None)
    socket = Socket()
    protocol.makeConnection(socket)
    return protocol, socket


def test_a_reply_goes_out_within_the_turn(port: Port) -> None:
    protocol, socket = connect(port)
    protocol.dataReceived(encode("PING"))
    assert socket.taken == b"+PONG\r\n"


def test_what_the_socket_does_not_take_keeps_its_order(port: Port) -> None:
    protocol, socket = connect(port)
    socket.room = 3
    protocol.dataReceived(encode("PING"))
    protocol.dataReceived(encode("ECHO", "x"))
    assert socket.taken == b"+PO"
    socket.room = 100
    protocol.dataReceived(encode("ECHO", "y"))
    assert socket.taken == b"+PO"
    socket.doWrite()
    assert socket.taken == b"+PONG\r\n$1\r\nx\r\n$1\r\ny\r\n"
    protocol.dataReceived(encode("PING"))
    assert socket.taken.endswith(b"y\r\n+PONG\r\n")


def test_a_dead_socket_is_left_to_the_reactor(port: Port) -> None:
    protocol, socket = connect(port)
    socket.broken = True
    protocol.dataReceived(encode("PING"))
    assert isinstance(socket.doWrite(), ConnectionResetError)


def test_a_client_that_does_not_read_is_closed(port: Port, monkeypatch) -> None:
    monkeypatch.setattr(output, "OUTPUT_BYTES", 5000)
    protocol, socket = connect(port)
    socket.room = 0
    for _ in range(4):
        protocol.dataReceived(encode("ECHO", "x" * 1000))
    assert not socket.aborted
    protocol.dataReceived(encode("ECHO", "x" * 1000))
    assert socket.aborted
    assert port.observer.rejections == {"output_limit": 1}


def unread(port: Port) -> tuple[Any, Socket]:
    """A client that reads nothing, and has a little more than it may leave unread."""
    protocol, socket = connect(port)
    socket.room = 0
    protocol.dataReceived(encode("ECHO", "x" * 600_000))
    protocol.dataReceived(encode("ECHO", "x" * 600_000))
    return protocol, socket


def read_all(socket: Socket) -> bytes:
    """The client reads until nothing more comes."""
    taken = b""
    socket.room = 1 << 30
    while socket.dataBuffer or socket._tempDataBuffer or socket.taken:
        taken += socket.taken
        socket.taken = b""
        socket.doWrite()
    return taken


def test_nothing_is_done_for_a_client_that_leaves_much_unread(port: Port) -> None:
    """Until it has read it; then everything is answered, in order."""
    protocol, socket = unread(port)
    protocol.dataReceived(encode("SET", "a", "1") + encode("GET", "a") + encode("PING"))
    assert not port.host.writes
    socket.room = 1_000_000
    socket.doWrite()
    assert not port.host.writes
    socket.room = 1 << 30
    socket.doWrite()
    assert len(port.host.writes) == 1
    port.host.settle()
    assert read_all(socket).endswith(b"x\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n")
    assert socket.producer is None


def test_what_transactions_leave_unread_is_bounded_as_well(port: Port) -> None:
    """Each EXEC of a pipeline is answered before the next one begins."""
    protocol, socket = connect(port)
    protocol.dataReceived(encode("SET", "big", "v" * 700_000))
    port.host.settle()
    socket.room, socket.taken = 0, b""
    protocol.dataReceived((encode("MULTI") + encode("GET", "big") + encode("EXEC")) * 9)
    port.host.settle()
    assert len(port.host.reads) == 2
    one = b"+OK\r\n+QUEUED\r\n*1\r\n$700000\r\n" + b"v" * 700_000 + b"\r\n"
    answer = b""
    for _ in range(9):
        answer += read_all(socket)
        port.host.settle()
    assert answer + read_all(socket) == one * 9


def test_what_is_unread_is_bounded_by_little_more(port: Port) -> None:
    """A pipeline of large reads stops after the round that made it too much, and goes on where it was."""
    protocol, socket = connect(port)
    protocol.dataReceived(encode("SET", "big", "v" * 700_000))
    port.host.settle()
    socket.room, socket.taken = 0, b""
    protocol.dataReceived(encode("GET", "big") * 9)
    port.host.settle()
    assert len(port.host.reads) == 1
    assert not socket.aborted
    one = b"$700000\r\n" + b"v" * 700_000 + b"\r\n"
    answer = b""
    for rounds in range(1, 6):
        answer += read_all(socket)
        assert len(port.host.reads) == min(rounds + 1, 5)
        socket.room = 0
        port.host.settle()
    assert answer + read_all(socket) == one * 9


def test_reading_pauses_when_too_much_waits_for_the_client_to_read(port: Port) -> None:
    protocol, socket = unread(port)
    protocol.dataReceived(encode("PING") * 4096)
    assert not socket.paused
    protocol.dataReceived(encode("PING"))
    assert socket.paused
    assert port.observer.paused_now == 1
    assert read_all(socket).endswith(b"\r\n" + b"+PONG\r\n" * 4097)
    assert not socket.paused
    assert port.observer.paused_now == 0


def test_who_reads_in_the_end_gets_everything_before_the_close(port: Port) -> None:
    protocol, socket = unread(port)
    protocol.dataReceived(encode("PING"))
    protocol.readConnectionLost()
    assert not socket.disconnecting
    assert read_all(socket).endswith(b"x\r\n+PONG\r\n")
    assert socket.disconnecting
    assert socket.producer is None


def test_a_last_long_answer_does_not_hinder_the_close(port: Port) -> None:
    protocol, socket = connect(port)
    socket.room = 0
    protocol.dataReceived(encode("ECHO", "x" * 1_000_000) * 2 + encode("QUIT"))
    assert socket.disconnecting
    assert socket.producer is None


def test_a_client_that_leaves_without_reading_is_forgotten(port: Port) -> None:
    protocol, socket = unread(port)
    protocol.dataReceived(encode("SET", "a", "1"))
    socket.connectionLost(None)
    protocol.connectionLost()
    port.host.settle()
    assert not port.host.writes
    assert not port.factory.port.sessions
    assert port.observer.paused_now == 0


def test_an_answer_under_way_is_sent_although_much_is_unread(port: Port) -> None:
    """It may take the client over its limit, and then it is closed."""
    protocol, socket = connect(port)
    socket.room = 0
    protocol.dataReceived(encode("ECHO", "x" * 1_000_000) * 2 + encode("SET", "a", "1") + encode("PING"))
    port.host.settle()
    assert read_all(socket).endswith(b"x\r\n+OK\r\n+PONG\r\n")


def test_a_lost_connection_leaves_nothing_for_the_garbage_collector(port: Port) -> None:
    """Its buffers may be large; a circle of references would keep them until the collector runs."""
    gc.disable()
    try:
        client = port.connect()
        client.run("PING")
        left = [weakref.ref(each) for each in (client.transport, client.protocol, client.protocol.session)]
        client.lose()
        del client
        assert [each() for each in left] == [None, None, None]
    finally:
        gc.enable()
