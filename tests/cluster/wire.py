"""The smallest client of the client port: blocking, one socket, RESP2 and RESP3 replies as Python values."""

import socket
import ssl
from types import TracebackType
from typing import Any, Self


class Refusal(str):
    """An error reply. Returned like any other reply: most tests here are about errors."""

    __slots__ = ()

    @property
    def prefix(self) -> str:
        """`CLUSTERDOWN` and so on."""
        return self.split(" ", 1)[0]


def encode(*command: str | bytes | int) -> bytes:
    """One request as a RESP array."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Client:
    """One connection. Every call has a deadline; a closed connection is a ConnectionError."""

    def __init__(self, port: int, timeout: float = 30.0, security: ssl.SSLContext | None = None) -> None:
        """`security` is for TLS."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if security is not None:
            self.socket = security.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def call(self, *command: str | bytes | int) -> Any:
        """Send one command and return its reply."""
        self.send(encode(*command))
        return self.reply()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def reply(self) -> Any:
        """The next reply: str for simple strings, bytes for bulks, Refusal for errors."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest.decode()
            case b"-":
                return Refusal(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._exactly(int(rest) + 2)[:-2]
            case b"*" | b">" | b"~":
                return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
            case b"%":
                return {self.reply(): self.reply() for _ in range(int(rest))}
            case b"_":
                return None
            case b"#":
                return rest == b"t"
        raise AssertionError(f"not a reply: {line!r}")

    def closed_by_server(self) -> bool:
        """Whether the server closes this connection, read to its end, before the timeout."""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed by the server")
        self._buffer += data
