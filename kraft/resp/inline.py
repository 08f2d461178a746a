"""Inline commands: how a line that a person typed becomes arguments.

Arguments are separated by whitespace. In double quotes, `\\n \\r \\t \\b \\a` have their usual meaning,
`\\xHH` is a byte, and a backslash before any other byte stands for that byte. In single quotes only `\\'` is
an escape. A quoted part may directly follow an unquoted one, and ends its argument. These are the rules of
Redis' `sdssplitargs`, except that a NUL byte is an ordinary byte here.
"""

import re


class UnbalancedQuotes(Exception):
    """A quote is not closed, or is not followed by whitespace."""


def split_arguments(line: bytes) -> list[bytes]:
    """The arguments of one line without its line end; [] for a blank line. Raises `UnbalancedQuotes`."""
    if not _UNUSUAL.search(line):
        return line.split()
    arguments = []
    position = _SPACE.match(line).end()  # type: ignore[union-attr]  # it always matches
    while position < len(line):
        match = _ARGUMENT.match(line, position)
        if match is None:
            raise UnbalancedQuotes
        arguments.append(_value(*match.group(1, 2, 3)))
        position = match.end()
    return arguments


def _value(bare: bytes, double: bytes | None, single: bytes | None) -> bytes:
    if double is not None:
        return bare + _ESCAPE.sub(_unescape, double)
    if single is not None:
        return bare + single.replace(b"\\'", b"'")
    return bare


def _unescape(match: re.Match[bytes]) -> bytes:
    escape: bytes = match[1]
    if len(escape) == 3:
        return bytes([int(escape[1:], 16)])
    return _LETTERS.get(escape, escape)


_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
# Vertical tab and form feed separate arguments only where whitespace is skipped, unlike in `bytes.split`.
_UNUSUAL = re.compile(rb"[\"'\v\f]")
_SPACE = re.compile(rb"\s*")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
# Possessive repeats (*+): backtracking must not turn an escaped quote into the closing one.
_ARGUMENT = re.compile(
    rb"""([^ \n\r\t"']*+)"""
    rb"""(?:"((?:\\.|[^"\\])*+)"|'((?:\\'|[^'])*+)')?"""
    rb"""(?:\s+|\Z)""",
    re.DOTALL,
)
