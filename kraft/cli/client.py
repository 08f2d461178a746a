"""A client of one node for the other commands: replies as plain values, error replies as exceptions.

Strings are decoded to `str`: it is meant for the state of nodes and for commands, not for stored data.
"""

import socket
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kraft.cli.connection import Address, NodeConnection, secure
from kraft.cli.credentials import credentials
from kraft.resp.values import Encoded, Error, NullArray, Push, RenderedArray, Reply, SetOf, Verbatim

if TYPE_CHECKING:
    import ssl

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
        self._timeout = connection.gettimeout()
        self._connection = NodeConnection(connection)
        given = credentials()
        self.call("HELLO", "3", *(["AUTH", given.user, given.password] if given else []))

    @classmethod
    def connect(cls, address: Address, timeout: float, security: "ssl.SSLContext | None" = None) -> Self:
        """Connect to (host, port). `timeout`, in seconds, applies to each step of this and of every call.

        `security` is for TLS.
        """
        connection = secure(socket.create_connection(address, timeout), address, security)
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
        self._connection.close()

    def call(self, *words: str) -> Value:
        """Send one command and return its reply. Raises ErrorReply for an error reply."""
        encoded = [word.encode("utf-8", "surrogateescape") for word in words]
        reply = self._connection.call(encoded, self._timeout)
        if isinstance(reply, Error):
            raise ErrorReply(reply.text)
        return _value(reply)


def _value(reply: Reply) -> Value:
    match reply:
        case bytes():
            return reply.decode("utf-8", "surrogateescape")
        case Error(text=text) | Verbatim(text=text):
            return text
        case Push(elements=elements) | SetOf(elements=elements):
            return [_value(each) for each in elements]
        case list():
            return [_value(each) for each in reply]
        case dict():
            return {str(_value(key)): _value(each) for key, each in reply.items()}
        case bool():
            return int(reply)
        case float():
            return str(reply)
        case NullArray() | Encoded() | RenderedArray():  # only a server has these
            return None
    return reply
