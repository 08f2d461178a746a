"""A minimal client of the client port: blocking, one request at a time, RESP3 replies as plain values.

Strings are decoded to `str`: it is meant for the state of nodes and for commands, not for stored data.
"""

import socket
from types import TracebackType
from typing import Self

REPLY_BYTES_MAX = 16 << 20  # far above any real answer; a mistyped address may be any server

Value = str | int | None | list["Value"] | dict[str, "Value"]


class ErrorReply(Exception):
    """The node replied with an error; the argument is its text, including the code."""

    @property
    def prefix(self) -> str:
        """The error code, such as `CLUSTERDOWN` (docs/client-protocol.md)."""
        return str(self).partition(" ")[0]


class Client:
    """One connection. A network error or a timeout raises OSError."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        self.call("HELLO", "3")

    @classmethod
    def connect(cls, address: tuple[str, int], timeout: float) -> Self:
        """Connect to (host, port). `timeout`, in seconds, applies to each step of this and of every call."""
        connection = socket.create_connection(address, timeout)
        try:
            return cls(connection)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()
        self._socket.close()

    def call(self, *words: str) -> Value:
        """Send one command and return its reply. Raises ErrorReply for an error reply."""
        encoded = [word.encode("utf-8", "surrogateescape") for word in words]
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
        self._socket.sendall(b"*%d\r\n%b" % (len(parts), b"".join(parts)))
        return self._reply()

    def _reply(self) -> Value:
        line = self._line()
        kind, rest = line[:1], line[1:]
        match kind:
            case "+":
                return rest
            case "-":
                raise ErrorReply(rest)
            case ":":
                return int(rest)
            case "$":
                return None if rest == "-1" else self._text(int(rest))
            case "*":
                return None if rest == "-1" else [self._reply() for _ in range(int(rest))]
            case "%":
                return {str(self._reply()): self._reply() for _ in range(int(rest))}
            case "_":
                return None
            case "#":
                return int(rest == "t")
            case ",":
                return rest
        raise ConnectionError("not a kraft node's answer")

    def _line(self) -> str:
        line = self._stream.readline(REPLY_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the node closed the connection")
        return line[:-2].decode("utf-8", "surrogateescape")

    def _text(self, size: int) -> str:
        if size > REPLY_BYTES_MAX:
            raise ConnectionError(f"an answer of {size} bytes")
        data = self._stream.read(size + 2)
        if len(data) != size + 2:
            raise ConnectionError("the node closed the connection")
        return data[:-2].decode("utf-8", "surrogateescape")
