"""A blocking connection to a client port: requests as words, replies as the values of `kraft.resp.values`.

It understands RESP2 and RESP3 and keeps stored data as bytes. It knows one node only; `cluster_client`
chooses the node and decides what may be sent twice.
"""

import select
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kraft.cli.credentials import credentials, refusal
from kraft.cli.failure import Failure
from kraft.resp.values import Error, Push, Reply, SetOf, Verbatim

if TYPE_CHECKING:
    import ssl

LINE_BYTES_MAX = 1 << 20  # a status, an error or a number; a mistyped address may be any server
BULK_BYTES_MAX = 512 << 20  # the limit of Redis, above any value that kraft stores
DEPTH_MAX = 32
TLS_ONLY = "takes TLS only"  # in the farewell of a port that was asked without it

Address = tuple[str, int]
"""Host and port, or the path of a Unix socket and 0."""


class NotSent(OSError):
    """The request did not leave completely, so the node cannot have executed it."""


class NodeConnection:
    """One connection. A network error, a timeout and an unreadable reply raise OSError; it is then unusable.

    `pushes` collects what the node sends without being asked; the owner takes it out.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        self.pushes: list[Push] = []

    @classmethod
    def connect(cls, address: Address, timeout: float, security: "ssl.SSLContext | None" = None) -> Self:
        """Connect to `address` and choose RESP3, or stay with RESP2 if the server knows no other.

        `timeout`, in seconds, applies to the connection and to the reply. `security` is for TLS. Raises
        Failure if the node lets no user in with these credentials.
        """
        connection = cls(secure(_open(address, timeout), address, security))
        given = credentials()
        try:
            reply = connection.call([b"HELLO", b"3", *(given.words if given else ())], timeout)
            if isinstance(reply, Error) and TLS_ONLY in reply.text:
                raise ConnectionError(reply.text.removeprefix("ERR "))
            if obstacle := refusal(reply):
                raise Failure(obstacle)
        except BaseException:
            connection.close()
            raise
        return connection

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

    @property
    def stale(self) -> bool:
        """Whether the other side has closed the connection, as far as this side knows."""
        if hasattr(self._socket, "cipher"):  # TLS: what waits may be no data, and cannot be looked at
            poll = select.poll()
            poll.register(self._socket, select.POLLRDHUP)
            return bool(poll.poll(0))
        self._socket.settimeout(0)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def call(self, words: Sequence[bytes], timeout: float | None) -> Reply:
        """Send one command and return its reply; an error reply is returned as `Error`.

        `timeout`, in seconds, applies to each step. Raises NotSent if the node cannot have executed the
        command, another OSError if it may have.
        """
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(b"*%d\r\n%b" % (len(parts), b"".join(parts)))
        except OSError as error:
            raise NotSent(reason(error)) from error  # some bytes are left here, and a part is not executed
        while isinstance(reply := self._value(DEPTH_MAX), Push):
            self.pushes.append(reply)
        return reply

    def _value(self, depth: int) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in _COUNTED:
            if rest == b"-1":
                return None
            count = _length(rest, "elements")
            if not depth:
                raise ConnectionError("an answer that is nested too deeply")
            return self._elements(kind, count, depth - 1)
        if kind in (b"$", b"=", b"!"):
            return None if rest == b"-1" else _blob(kind, self._exactly(_length(rest, "bytes")))
        try:
            return _SIMPLE[kind](rest)
        except (KeyError, ValueError):
            raise ConnectionError(_not_resp(line)) from None

    def _elements(self, kind: bytes, count: int, depth: int) -> Reply:
        if kind in (b"%", b"|"):
            pairs = [(self._value(depth), self._value(depth)) for _ in range(count)]
            if kind == b"|":  # attributes describe the value after them
                return self._value(depth)
            try:
                return dict(pairs)
            except TypeError:
                raise ConnectionError("an answer whose map has no plain keys") from None
        elements = [self._value(depth) for _ in range(count)]
        if kind == b">":
            return Push(tuple(elements))
        return SetOf(tuple(elements)) if kind == b"~" else elements

    def _line(self) -> bytes:
        line = self._stream.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise ConnectionError(_not_resp(line) if line else "the node closed the connection")
        return line[:-2]

    def _exactly(self, size: int) -> bytes:
        if size > BULK_BYTES_MAX:
            raise ConnectionError(f"an answer of {size} bytes")
        data = self._stream.read(size + 2)
        if len(data) != size + 2:
            raise ConnectionError("the node closed the connection")
        return data[:-2]


def _open(address: Address, timeout: float) -> socket.socket:
    host = address[0]
    if not host.startswith("/"):
        opened = socket.create_connection(address, timeout)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.settimeout(timeout)
        opened.connect(host)
    except BaseException:
        opened.close()
        raise
    return opened


def secure(opened: socket.socket, address: Address, security: "ssl.SSLContext | None") -> socket.socket:
    """The connection with TLS, if `security` is given. An error closes it."""
    if security is None:
        return opened
    try:
        return security.wrap_socket(opened, server_hostname=address[0])
    except BaseException:
        opened.close()
        raise


def reason(error: OSError) -> str:
    """What failed, in a few words."""
    fault = getattr(error, "verify_message", "")  # of TLS
    if fault:
        return f"its certificate is not accepted: {fault.rstrip('.')}; --cacert names the CA"
    if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _blob(kind: bytes, data: bytes) -> Reply:
    if kind == b"!":
        return Error(_text(data))
    return Verbatim(_text(data[4:])) if kind == b"=" else data  # after its format, as in "txt:"


def _length(digits: bytes, of: str) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise ConnectionError(f"an answer of {_text(digits[:40])!r} {of}")
    return int(digits)


def _not_resp(line: bytes) -> str:
    if line.startswith(b"HTTP/"):
        return "HTTP is spoken there: name the client port (client.listen, 10011 by default)"
    return "no client port of kraft answers there (client.listen, 10011 by default)"


_COUNTED = (b"*", b"~", b">", b"%", b"|")
_SIMPLE: dict[bytes, Callable[[bytes], Reply]] = {
    b"+": _text,
    b"-": lambda rest: Error(_text(rest)),
    b":": int,
    b"(": int,
    b"_": lambda _: None,
    b"#": lambda rest: rest == b"t",
    b",": float,
}
