"""The way to the socket: at once when nothing waits, in order when something does."""

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactor

from kraft.server import session as session_module
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

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self.broken:
            return ConnectionResetError()
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        return len(part)

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
    monkeypatch.setattr(session_module, "OUTPUT_BYTES", 5000)
    protocol, socket = connect(port)
    socket.room = 0
    for _ in range(4):
        protocol.dataReceived(encode("ECHO", "x" * 1000))
    assert not socket.aborted
    protocol.dataReceived(encode("ECHO", "x" * 1000))
    assert socket.aborted
    assert port.observer.rejections == {"output_limit": 1}
