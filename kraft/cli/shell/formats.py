"""Replies as text: as redis-cli shows them at a terminal, raw for other programs, or as JSON.

At a terminal a value is quoted so that no byte of it can be mistaken for another or control the terminal. The
quoted form can be typed as an argument again. Unlike in redis-cli, printable characters beyond ASCII stay as
they are.
"""

import json
import re
from collections.abc import Sequence
from typing import Protocol

from kraft.resp.values import Error, Push, Reply, SetOf, Verbatim

RED, CYAN, GREY, PLAIN = "\x1b[31m", "\x1b[36m", "\x1b[90m", "\x1b[0m"

# The replies to these commands are lines of text for people.
_TEXTS = {
    (b"INFO",),
    (b"CLUSTER", b"NODES"),
    (b"CLUSTER", b"INFO"),
    (b"CLIENT", b"LIST"),
    (b"CLIENT", b"INFO"),
}


class ReplyFormat(Protocol):
    """A form of output.

    errors_apart: error replies go to standard error instead.
    complete: there is output for every command of a script, also for one that fails.
    """

    errors_apart: bool
    complete: bool

    def render(self, reply: Reply) -> bytes:
        """The reply with its line end."""


class TerminalFormat:
    """For people."""

    errors_apart = False
    complete = False

    def __init__(self, colour: bool = False) -> None:
        self._colour = colour

    def render(self, reply: Reply) -> bytes:
        return encoded("\n".join(self._lines(reply)) + "\n")

    def _lines(self, reply: Reply) -> list[str]:
        match reply:
            case Push(elements=elements):
                return self._list(elements, ">")
            case SetOf(elements=elements):
                return self._list(elements, "~", "set")
            case list():
                return self._list(reply, ")")
            case dict():
                return self._map(reply)
            case Verbatim(text=text):
                return [safe(line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
        return [self._scalar(reply)]

    def _scalar(self, reply: Reply) -> str:
        match reply:
            case None:
                return self._in(GREY, "(nil)")
            case bool():
                return self._in(CYAN, "(true)" if reply else "(false)")
            case int():
                return f"{self._in(CYAN, '(integer)')} {reply}"
            case float():
                return f"{self._in(CYAN, '(double)')} {reply!r}"
            case bytes():
                return quoted(reply)
            case Error(text=text):
                return self._in(RED, f"(error) {safe(text)}")
        return safe(str(reply))

    def _list(self, elements: Sequence[Reply], mark: str, kind: str = "array") -> list[str]:
        if not elements:
            return [f"(empty {kind})"]
        width = len(str(len(elements)))
        return [
            line
            for number, element in enumerate(elements, 1)
            for line in _indented(f"{number:>{width}}{mark} ", self._lines(element), width + 2)
        ]

    def _map(self, reply: dict[Reply, Reply]) -> list[str]:
        if not reply:
            return ["(empty hash)"]
        width = len(str(len(reply)))
        lines = []
        for number, (key, value) in enumerate(reply.items(), 1):
            name = " ".join(self._lines(key))
            shown = self._lines(value)
            if len(shown) > 1:
                shown = ["", *shown]  # below the key, so that its lines are aligned
            lines += _indented(f"{number:>{width}}# {name} => ", shown, width + 2)
        return lines

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colour else text


class RawFormat:
    """For programs: values as they are, one per line, a pair of a map on one line, an empty line for nil."""

    errors_apart = True
    complete = False

    def render(self, reply: Reply) -> bytes:
        return self._raw(reply) + b"\n"

    def _raw(self, reply: Reply) -> bytes:
        match reply:
            case None:
                return b""
            case bytes():
                return reply
            case bool():
                return b"true" if reply else b"false"
            case Error(text=text) | Verbatim(text=text):
                return text.encode("utf-8", "surrogateescape")
            case Push(elements=elements) | SetOf(elements=elements):
                return self._raw(list(elements))
            case list():
                return b"\n".join(map(self._raw, reply))
            case dict():
                return b"\n".join(self._raw(key) + b" " + self._raw(value) for key, value in reply.items())
        return str(reply).encode("utf-8", "surrogateescape")


class JsonFormat:
    """One line of JSON per reply. A byte that is not UTF-8 becomes a lone surrogate, \\udc80 to \\udcff."""

    errors_apart = False
    complete = True

    def render(self, reply: Reply) -> bytes:
        return json.dumps(plain(reply)).encode() + b"\n"


def as_text(words: Sequence[bytes], reply: Reply) -> Reply:
    """The reply to the command `words`, marked as text for people if it is."""
    name = tuple(word.upper() for word in words[:2])
    if isinstance(reply, bytes) and (name in _TEXTS or name[:1] in _TEXTS):
        return Verbatim(_decoded(reply))
    return reply


def plain(reply: Reply) -> object:
    """The reply as JSON values; an error is an object with the one name `error`."""
    match reply:
        case bytes():
            return _decoded(reply)
        case Error(text=text):
            return {"error": text}
        case Verbatim(text=text):
            return text
        case Push(elements=elements) | SetOf(elements=elements):
            return [plain(each) for each in elements]
        case list():
            return [plain(each) for each in reply]
        case dict():
            return {str(plain(key)): plain(value) for key, value in reply.items()}
        case float() if reply != reply or abs(reply) == float("inf"):
            return str(reply)  # JSON has no such number
    return reply


def quoted(value: bytes) -> str:
    """A value in double quotes, as an argument that means the same bytes."""
    return f'"{_UNSAFE.sub(_escape, _decoded(value))}"'


def safe(text: str) -> str:
    """`text` without characters that control a terminal."""
    return "".join(each if each.isprintable() or each == "\t" else _escaped(each) for each in text)


def encoded(text: str) -> bytes:
    """Text for a terminal, whose bytes beyond UTF-8 have been escaped."""
    return text.encode("utf-8", "backslashreplace")


def _indented(head: str, lines: Sequence[str], width: int) -> list[str]:
    """`lines` after `head`, all but the first one indented by `width`."""
    return [head + lines[0], *(" " * width + line for line in lines[1:])]


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else _escaped(character)


def _escaped(character: str) -> str:
    short = _SHORT.get(character)
    data = character.encode("utf-8", "surrogateescape")
    return short or "".join(f"\\x{byte:02x}" for byte in data)


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b"}
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")  # all but the printable ASCII characters that stay as they are
