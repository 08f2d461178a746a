"""Bytes from a client to requests: RESP arrays of bulk strings and inline lines, in any mixture.

A `Parser` belongs to one connection. It is fed the bytes that arrive and returns the requests that are
complete. The result depends on the bytes alone, never on how they were cut into pieces. There are two paths:

- The fast path splits a piece at every CRLF once and walks the parts. A request is complete if each length
  header equals the length of the part after it; a value that contains CRLF is joined again. Most pipelines
  never leave this path. Where a piece looks as if its first request ended with a long value, that value is
  cut out by its length instead, because a search for CRLF in it would take longer than all else.
- `IncrementalParser` takes everything else: lines, requests cut by the end of a piece, long values before
  other arguments, requests over a limit, and errors.
"""

from itertools import repeat

from kraft.int64 import parse_int64
from kraft.resp.incremental import (
    HEADER_BYTES_MAX,
    IncrementalParser,
    ParserLimits,
    ProtocolError,
)
from kraft.resp.values import InlineRequest, Request

__all__ = ["RAW_TAIL", "Parser", "ParserLimits"]

RAW_TAIL = frozenset({b"kvstore-set"})
SHORTEST_ARGUMENT_BYTES = 6  # "$0", CR LF, nothing, CR LF
SPARSE_FROM, SPARSE_TO = 256, 4096  # positions in a piece: without a line end between them, a value is long


class Parser:
    """The input side of one connection.

    `error` is None, or the text of an error reply (`ERR Protocol error: ...`) for the bytes after the
    requests returned so far; from then on the parser accepts nothing more. `inline` means that the last
    request was a line. An inline command named in `raw_tail` (lower case) has at most two arguments, and the
    second is the raw rest of the line, quotes included.
    """

    __slots__ = ("_fast_bytes_max", "_incremental", "_unfinished", "error", "inline")

    def __init__(self, limits: ParserLimits, raw_tail: frozenset[bytes] = RAW_TAIL) -> None:
        self.error: str | None = None
        self.inline = False
        self._incremental = IncrementalParser(limits, raw_tail)
        self._unfinished = False  # the incremental parser holds the beginning of a request
        # A request that is complete within so few bytes is within all limits: the fast path checks none.
        self._fast_bytes_max = min(
            limits.value_bytes, limits.request_bytes, SHORTEST_ARGUMENT_BYTES * limits.arguments
        )

    @property
    def buffered(self) -> int:
        """Bytes of memory held for the unfinished request, approximately."""
        return self._incremental.buffered

    def feed(self, data: bytes) -> list[Request]:
        """The requests that `data` completes, in order; look at `error` afterwards."""
        requests: list[Request] = []
        if self.error is not None:
            return requests
        incremental = self._incremental
        try:
            if self._unfinished:
                data = incremental.advance(data, requests, once=True)
                self._unfinished = not incremental.idle
            if data[:1] == b"*" and len(data) <= self._fast_bytes_max:
                while len(data) > SPARSE_TO and data.find(b"\n", SPARSE_FROM, SPARSE_TO) < 0:
                    before, data = data, _long_value(data, requests)
                    if data is before:
                        break
                else:
                    data = _fast_path(data, requests)
            if data:
                incremental.advance(data, requests)
                self._unfinished = not incremental.idle
        except ProtocolError as error:
            self.error = str(error)
            incremental.drop()
        if requests:
            self.inline = type(requests[-1]) is InlineRequest
        return requests


def _fast_path(data: bytes, requests: list[Request]) -> bytes:
    """Append the well-formed multibulk requests that `data` starts with; returns the bytes after them."""
    parts = data.split(b"\r\n")
    last = len(parts) - 1  # what follows the last CRLF: never part of a complete request
    counts, headers, position = _COUNTS, _HEADERS.get, 0
    while position < last:
        count = counts.get(parts[position])
        if count is None:
            break
        stop = position + 1 + count + count
        if stop > last:
            break
        arguments = parts[position + 2 : stop : 2]
        if list(map(headers, map(len, arguments))) != parts[position + 1 : stop : 2]:
            stop = _joined(parts, position + 1, count, arguments)
            if not stop:
                break
        requests.append(arguments)
        position = stop
    return b"\r\n".join(parts[position:]) if position else data


def _long_value(data: bytes, requests: list[Request]) -> bytes:
    """Append the first request if it is complete and its last argument is the long one.

    Returns the bytes after it, or `data` itself if it is not such a request.
    """
    count = _COUNTS.get(data[: max(0, data.find(b"\r\n", 0, HEADER_BYTES_MAX))])
    if count is None:
        return data
    parts = data.split(b"\r\n", count + count)
    header, rest = parts[-2], parts[-1]
    arguments = parts[2:-1:2]
    if len(arguments) != count - 1 or header[:1] != b"$":
        return data
    wanted = parse_int64(header[1:])
    if wanted is None or wanted < 0 or rest[wanted : wanted + 2] != b"\r\n":
        return data
    if list(map(_HEADERS.get, map(len, arguments))) != parts[1:-2:2]:
        return data
    arguments.append(rest[:wanted])
    requests.append(arguments)
    return rest[wanted + 2 :]


def _joined(parts: list[bytes], position: int, count: int, arguments: list[bytes]) -> int:
    """Fill `arguments` from parts, where a value may be split at its CRLFs or be too long for _HEADERS.

    Returns the position after them, or 0 if this is not a complete, well-formed request.
    """
    last = len(parts) - 1
    arguments.clear()
    for _ in repeat(None, count):
        if position + 1 >= last or parts[position][:1] != b"$":
            return 0
        wanted = parse_int64(parts[position][1:])
        if wanted is None:
            return 0
        start = position + 1
        position, length = start + 1, len(parts[start])
        while length < wanted and position < last:
            length += 2 + len(parts[position])
            position += 1
        if length != wanted:
            return 0
        arguments.append(b"\r\n".join(parts[start:position]))
    return position


_COUNTS = {b"*%d" % count: count for count in range(1, 1025)}
_HEADERS = {length: b"$%d" % length for length in range(4097)}
