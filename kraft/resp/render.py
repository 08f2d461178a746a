"""Replies to bytes: RESP2 and RESP3, and plain text for people on an inline connection.

One table per protocol maps the type of a reply to the function that writes it. Text (`str`) is UTF-8. A
client's bytes that an error quotes are kept as surrogate escapes and leave unchanged. Line ends in statuses
and errors become spaces, because they would end the reply.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kraft.resp.values import Encoded, Error, NullArray, Push, Reply, SetOf, Verbatim

BULK = b"$%d\r\n%b\r\n"  # the length of a value and the value, in both protocols


def render(reply: Reply, protocol: int) -> bytes:
    """One reply in RESP `protocol`, 2 or 3."""
    write = _WRITERS[protocol][type(reply)]
    return write(reply, protocol)


def render_many(replies: Sequence[Reply], protocol: int) -> bytes:
    """All replies, one after another, in RESP `protocol`, 2 or 3."""
    if replies and type(replies[0]) is str and set(map(type, replies)) == _TEXT:
        usual: list[Any] = list(map(_USUAL.get, replies))
        if None not in usual:  # of writes, and of what is queued
            return b"".join(usual)
    writers = _WRITERS[protocol]
    rendered = []
    for reply in replies:
        if type(reply) is bytes:  # the usual reply of a read: saves a call
            rendered.append(BULK % (len(reply), reply))
        elif type(reply) is str:
            rendered.append(_USUAL.get(reply) or _status(reply, protocol))
        else:
            rendered.append(writers[type(reply)](reply, protocol))
    return b"".join(rendered)


def render_plain(reply: Reply) -> bytes:
    """Readable lines: a value as it is, `null`, `ERR ...`.

    An array has one line per element, a map one per pair. Every reply has at least one line; that of an empty
    array is empty.
    """
    return b"".join([line + b"\n" for line in _plain_lines(reply)]) or b"\n"


def payload_bytes(replies: Sequence[Reply]) -> int:
    """The bytes of the values in `replies`, a lower bound of their size when rendered."""
    kinds = set(map(type, replies))
    if kinds.isdisjoint(_SIZED):
        return 0
    total = 0
    if bytes in kinds:
        total += sum([len(reply) for reply in replies if type(reply) is bytes])
    if list in kinds:
        total += sum([payload_bytes(reply) for reply in replies if type(reply) is list])
    return total


def _plain_lines(reply: Reply) -> list[bytes]:
    if isinstance(reply, Push | SetOf):
        return _plain_lines(list(reply.elements))
    if isinstance(reply, list):
        return [line for element in reply for line in _plain_lines(element)]
    if isinstance(reply, dict):
        return [b" ".join(_plain_lines(key) + _plain_lines(value)) for key, value in reply.items()]
    return [_PLAIN[type(reply)](reply)]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _one_line(text: str) -> bytes:
    return _encoded(text.replace("\r", " ").replace("\n", " "))


def _status(text: str, _: int) -> bytes:
    return b"+%b\r\n" % _one_line(text)


def _bulk(value: bytes, _: int = 2) -> bytes:
    return BULK % (len(value), value)


def _integer(number: int, _: int) -> bytes:
    return b":%d\r\n" % number


def _error(error: Error, _: int) -> bytes:
    return b"-%b\r\n" % _one_line(error.text)


def _verbatim(verbatim: Verbatim, _: int) -> bytes:
    return _bulk(_encoded(verbatim.text))


def _array(elements: list[Reply], protocol: int) -> bytes:
    return b"*%d\r\n%b" % (len(elements), render_many(elements, protocol))


def _push(push: Push, protocol: int) -> bytes:
    return b">%d\r\n%b" % (len(push.elements), render_many(push.elements, protocol))


def _as_array(reply: Push | SetOf, protocol: int) -> bytes:
    return b"*%d\r\n%b" % (len(reply.elements), render_many(reply.elements, protocol))


def _set(set_: SetOf, protocol: int) -> bytes:
    return b"~%d\r\n%b" % (len(set_.elements), render_many(set_.elements, protocol))


def _pairs(mapping: dict[Reply, Reply], protocol: int) -> bytes:
    return b"".join([render(key, protocol) + render(value, protocol) for key, value in mapping.items()])


def _map_as_array(mapping: dict[Reply, Reply], protocol: int) -> bytes:
    return b"*%d\r\n%b" % (2 * len(mapping), _pairs(mapping, protocol))


def _map(mapping: dict[Reply, Reply], protocol: int) -> bytes:
    return b"%%%d\r\n%b" % (len(mapping), _pairs(mapping, protocol))


def _decimal(number: float) -> bytes:
    return b"%d" % number if number.is_integer() and abs(number) < 1e17 else repr(number).encode()


_TEXT = {str}
_SIZED = frozenset({bytes, list})
_USUAL: dict[Any, bytes] = {"OK": b"+OK\r\n", "QUEUED": b"+QUEUED\r\n"}

_Writer = Callable[[Any, int], bytes]
_COMMON: dict[type, _Writer] = {
    str: _status,
    bytes: _bulk,
    int: _integer,
    list: _array,
    Error: _error,
    Verbatim: _verbatim,
    Encoded: lambda encoded, _: encoded.data,
}
_WRITERS: dict[int, dict[type, _Writer]] = {
    2: {
        **_COMMON,
        type(None): lambda _, __: b"$-1\r\n",
        NullArray: lambda _, __: b"*-1\r\n",
        bool: lambda truth, _: b":1\r\n" if truth else b":0\r\n",
        float: lambda number, _: _bulk(_decimal(number)),
        dict: _map_as_array,
        Push: _as_array,
        SetOf: _as_array,
    },
    3: {
        **_COMMON,
        type(None): lambda _, __: b"_\r\n",
        NullArray: lambda _, __: b"_\r\n",
        bool: lambda truth, _: b"#t\r\n" if truth else b"#f\r\n",
        float: lambda number, _: b",%b\r\n" % _decimal(number),
        dict: _map,
        Push: _push,
        SetOf: _set,
    },
}
_PLAIN: dict[type, Callable[[Any], bytes]] = {
    str: _one_line,
    bytes: bytes,
    int: lambda number: b"%d" % number,
    bool: lambda truth: b"true" if truth else b"false",
    float: _decimal,
    type(None): lambda _: b"null",
    NullArray: lambda _: b"null",
    Encoded: lambda encoded: encoded.data,
    Error: lambda error: _one_line(error.text),
    Verbatim: lambda verbatim: _encoded(verbatim.text),
}
