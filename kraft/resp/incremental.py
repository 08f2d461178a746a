"""A parser of the client protocol that takes one element after another, however the input is cut.

An `IncrementalParser` keeps the unfinished part of one connection's input. Every decision is a function of
the bytes seen so far, so the cuts between pieces do not matter. A length is checked before anything is kept
for it, and memory grows with received bytes only: nothing is allocated for an announced size. The input is,
in the words of the Redis protocol,

    multibulk  "*" count CRLF, then count times: "$" length CRLF, length bytes, CRLF
    inline     text [CR] LF; telnet's option sequences (they start with byte 255) before it are skipped, and
               text that starts with byte 22 is refused: it is TLS

with counts and lengths in their shortest form: digits only, and a minus only before an ignored count.
"""

from dataclasses import dataclass

from kraft.int64 import parse_int64
from kraft.resp.inline import UnbalancedQuotes, split_arguments
from kraft.resp.values import InlineRequest, OversizedRequest, Request

MULTIBULK_LENGTH = "ERR Protocol error: invalid multibulk length"
BULK_LENGTH = "ERR Protocol error: invalid bulk length"
REQUEST_LENGTH = "ERR Protocol error: too big request"
INLINE_LENGTH = "ERR Protocol error: too big inline request"
UNBALANCED = "ERR Protocol error: unbalanced quotes in request"
HTTP = "ERR Protocol error: this port does not speak HTTP"
TLS = "ERR Protocol error: this port does not speak TLS (client.tls is off)"

HTTP_WORDS = frozenset((b"post", b"host:"))  # the first word of a line that a browser sends before its body

HEADER_BYTES_MAX = 24  # a type byte, a sign, 19 digits and CR LF are 23: a longer header holds no number
TELNET_BYTES_MAX = 512  # one telnet subnegotiation; real ones have some ten bytes
ARGUMENT_OVERHEAD_BYTES = 41  # a bytes object's own 33 bytes and its place in the list


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """Bounds of one connection's input.

    A request over `value_bytes` (one argument) or `request_bytes` (all arguments) is delivered as an
    `OversizedRequest`. Input over any other bound is an error.
    """

    value_bytes: int = 1 << 20
    request_bytes: int = 8 << 20
    value_bytes_max: int = 64 << 20
    request_bytes_max: int = 128 << 20
    arguments: int = 65_536
    inline_bytes: int = 64 << 10  # a line without its LF


class ProtocolError(Exception):
    """The bytes are not the protocol; the argument is the text of the error reply."""


class IncrementalParser:
    """The unfinished part of one connection's input, and how it continues."""

    __slots__ = (
        "_arguments",
        "_body",
        "_body_missing",
        "_kept_bytes",
        "_lengths",
        "_limits",
        "_missing",
        "_oversized",
        "_raw_tail",
        "_request_bytes",
        "_tail",
    )

    def __init__(self, limits: ParserLimits, raw_tail: frozenset[bytes]) -> None:
        self._limits = limits
        self._raw_tail = raw_tail
        self.drop()

    def drop(self) -> None:
        """Forget the unfinished part."""
        self._tail = bytearray()  # an unfinished header, line, or line end after an argument
        self._body_missing = -1  # bytes to come of the argument being read; -1: its header is next
        self._body = bytearray()
        self._begin(0)

    def _begin(self, count: int) -> None:
        self._missing = count  # arguments to come; 0: between requests
        self._arguments: list[bytes] = []
        self._lengths: list[int] = []
        self._kept_bytes = 0
        self._request_bytes = 0
        self._oversized = False

    @property
    def idle(self) -> bool:
        """Whether nothing is unfinished."""
        return not self._missing and not self._tail

    @property
    def buffered(self) -> int:
        """Bytes of memory held for the unfinished request, approximately."""
        overhead = len(self._lengths) * ARGUMENT_OVERHEAD_BYTES
        return self._kept_bytes + overhead + len(self._body) + len(self._tail)

    def advance(self, data: bytes, requests: list[Request], *, once: bool = False) -> bytes:
        """Append the requests that `data` completes to `requests` and keep the rest.

        With `once`, stop after the first request and return the bytes after it. Raises `ProtocolError`; the
        requests before the error are then in `requests`.
        """
        if self._tail:
            if self._line_goes_on(data):
                return b""
            data = bytes(self._tail) + data
            self._tail.clear()
        position, end, done = 0, len(data), len(requests) + 1
        while position < end:
            following = self._step(data, position, requests)
            if following < 0:
                self._tail += data[position:]
                break
            position = following
            if once and len(requests) >= done:
                return data[position:]
        return b""

    def _line_goes_on(self, data: bytes) -> bool:
        """Extend an unfinished line in place: joining it with each piece would take quadratic time."""
        if self._missing or self._tail[0] in _NOT_TEXT or b"\n" in data:
            return False
        self._tail += data
        if len(self._tail) > self._limits.inline_bytes:
            raise ProtocolError(INLINE_LENGTH)
        return True

    def _step(self, data: bytes, position: int, requests: list[Request]) -> int:
        """Read the element at `position`; returns the position after it, or -1 if more bytes are needed."""
        if self._missing:
            if self._body_missing < 0:
                return self._bulk_header(data, position)
            return self._bulk_body(data, position, requests)
        if data[position] == _ASTERISK:
            return self._multibulk_header(data, position)
        if data[position] == _TELNET:
            return _after_telnet_option(data, position)
        if data[position] == _TLS_RECORD:  # a client that waits for TLS would wait for ever
            raise ProtocolError(TLS)
        return self._line(data, position, requests)

    def _multibulk_header(self, data: bytes, position: int) -> int:
        stop = _header_end(data, position, MULTIBULK_LENGTH)
        if stop < 0:
            return -1
        count = parse_int64(data[position + 1 : stop])
        if count is None or count > self._limits.arguments:
            raise ProtocolError(MULTIBULK_LENGTH)
        if count > 0:  # "*0" and "*-1" are skipped, as by Redis
            self._begin(count)
        return stop + 2

    def _bulk_header(self, data: bytes, position: int) -> int:
        if data[position] != _DOLLAR:
            raise ProtocolError(f"ERR Protocol error: expected '$', got '{_printable(data[position])}'")
        stop = _header_end(data, position, BULK_LENGTH)
        if stop < 0:
            return -1
        length = parse_int64(data[position + 1 : stop])
        if length is None or not 0 <= length <= self._limits.value_bytes_max:
            raise ProtocolError(BULK_LENGTH)
        self._announce(length)
        return stop + 2

    def _announce(self, length: int) -> None:
        self._request_bytes += length
        if self._request_bytes > self._limits.request_bytes_max:
            raise ProtocolError(REQUEST_LENGTH)
        if length > self._limits.value_bytes or self._request_bytes > self._limits.request_bytes:
            self._oversized = True
        self._lengths.append(length)
        self._body_missing = length

    def _bulk_body(self, data: bytes, position: int, requests: list[Request]) -> int:
        taken = min(self._body_missing, len(data) - position)
        stop = position + taken
        if taken and not self._oversized:
            self._body += memoryview(data)[position:stop]
        self._body_missing -= taken
        if self._body_missing or stop == len(data):
            return stop
        if data[stop : stop + 2] != b"\r\n":
            if data[stop:] == b"\r":
                self._tail += b"\r"
                return len(data)
            raise ProtocolError(BULK_LENGTH)
        self._argument_done(requests)
        return stop + 2

    def _argument_done(self, requests: list[Request]) -> None:
        self._body_missing = -1
        self._arguments.append(bytes(self._body))
        self._kept_bytes += len(self._body)
        self._body = bytearray()
        self._missing -= 1
        if self._missing:
            return
        arguments = self._arguments
        requests.append(OversizedRequest(arguments, self._lengths) if self._oversized else arguments)
        self._begin(0)

    def _line(self, data: bytes, position: int, requests: list[Request]) -> int:
        limit = self._limits.inline_bytes
        stop = data.find(b"\n", position, position + limit + 1)
        if stop < 0:
            if len(data) - position > limit:
                raise ProtocolError(INLINE_LENGTH)
            return -1
        if stop == position:
            return stop + 1
        line = data[position:stop].removesuffix(b"\r")
        arguments = self._split(line)
        if arguments:
            requests.append(InlineRequest(arguments, line))
        return stop + 1

    def _split(self, line: bytes) -> list[bytes]:
        raw = line.split(None, 2)
        if raw and raw[0].lower() in self._raw_tail:
            return raw
        if raw and raw[0].lower() in HTTP_WORDS:
            raise ProtocolError(HTTP)  # a web page in a browser must not run commands from a request body
        try:
            return split_arguments(line)
        except UnbalancedQuotes:
            raise ProtocolError(UNBALANCED) from None


def _header_end(data: bytes, position: int, error: str) -> int:
    """The position of the CRLF that ends the header at `position`, or -1 if it has not arrived."""
    stop = data.find(b"\r\n", position, position + HEADER_BYTES_MAX)
    if stop < 0 and len(data) - position >= HEADER_BYTES_MAX:
        raise ProtocolError(error)
    return stop


def _after_telnet_option(data: bytes, position: int) -> int:
    """The position after a telnet sequence (RFC 854), or -1 if it is unfinished."""
    command = data[position + 1 : position + 2]
    if not command:
        return -1
    if command[0] == _TELNET_SUBNEGOTIATION:
        stop = data.find(b"\xff\xf0", position, position + TELNET_BYTES_MAX)
        if stop < 0 and len(data) - position >= TELNET_BYTES_MAX:
            raise ProtocolError(INLINE_LENGTH)
        return stop + 2 if stop >= 0 else -1
    if command[0] in _TELNET_WITH_OPTION:
        return position + 3 if len(data) >= position + 3 else -1
    return position + (2 if command[0] >= _TELNET_COMMANDS else 1)


def _printable(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"


_ASTERISK, _DOLLAR = b"*$"
_TELNET = 255
_TLS_RECORD = 22  # the first byte of a TLS connection (RFC 8446 section 5.1), and of no line that is typed
_TELNET_COMMANDS = 240  # the first of them
_TELNET_SUBNEGOTIATION = 250
_TELNET_WITH_OPTION = range(251, 255)  # WILL, WON'T, DO, DON'T
_NOT_TEXT = (_ASTERISK, _TELNET)
