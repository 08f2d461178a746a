"""A socket in memory, and a client of Python's `ssl` at its other end."""

import contextlib
import ssl
from typing import Any

from kraft.tls.secure_socket import SecureSocket


class Plain:
    """A socket that has `room` for so many bytes, or raises it."""

    def __init__(self) -> None:
        self.received = b""
        self.sent = b""
        self.room: int | OSError = 1 << 20
        self.closed: list[int] = []
        self.close = self.fileno = self.getsockname = self.getpeername = lambda: 0
        self.getsockopt = self.setsockopt = self.setblocking = lambda *_: 0

    @property
    def as_socket(self) -> Any:
        return self

    def recv(self, size: int) -> bytes:
        if not self.received and self.closed:
            return b""
        if not self.received:
            raise BlockingIOError(11, "nothing has come")
        found, self.received = self.received[:size], self.received[size:]
        return found

    def send(self, data: bytes) -> int:
        if isinstance(self.room, OSError):
            raise self.room
        if not self.room:
            raise BlockingIOError(11, "no room")
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def shutdown(self, how: int) -> None:
        self.closed.append(how)

    def take(self) -> bytes:
        """What has left for the other end."""
        found, self.sent = self.sent, b""
        return found


class Client:
    """A client of Python's `ssl`."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.received, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.sent, server_hostname="127.0.0.1", session=session)

    def step(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.sent.read()

    def read(self, data: bytes) -> bytes:
        """The plain text in what has come."""
        self.received.write(data)
        found = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.tls.read(1 << 16):
                found += piece
        return found

    def write(self, data: bytes) -> bytes:
        """Plain text, encrypted."""
        self.tls.write(data)
        return self.sent.read()


def attempt(server: SecureSocket) -> bytes | None:
    """What can be read now; None if nothing can."""
    try:
        return server.recv(1 << 16)
    except OSError:
        return None


def meet(server: SecureSocket, plain: Plain, client: Client) -> str:
    """A handshake to its end: '' if it is complete, or what the server says about its failure."""
    completed: list[bool] = []
    server.completed = lambda: completed.append(True)
    for _ in range(4):
        plain.received += client.step()
        attempt(server)
        if server.fault:
            return server.fault
        client.received.write(plain.take())
        if completed:
            client.step()
            return ""
    raise AssertionError("no end")
