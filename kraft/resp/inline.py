"""Inline commands: how a line that a person typed becomes arguments.

Arguments are split on whitespace. A double-quoted part knows the escapes n r t b a, a backslash before any
other byte stands for that byte, and `\\xHH` is a byte; a single-quoted part knows only an escaped single
quote. A quoted part may follow an unquoted one directly and ends its argument (the rules of Redis'
`sdssplitargs`, except that a NUL byte is an ordinary one here).
"""

import re


class UnbalancedQuotes(Exception):
    """A quote is not closed, or is followed by something else than whitespace."""


def split_arguments(line: bytes) -> list[bytes]:
    """The arguments of one line without its line end, [] for a blank one. Raises `UnbalancedQuotes`."""
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
# Vertical tab and form feed separate arguments only where whitespace is skipped: the careful way knows that.
_UNUSUAL = re.compile(rb"[\"'\v\f]")
_SPACE = re.compile(rb"\s*")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
# Possessive repeats (*+): an escaped quote must not be taken back to serve as the closing one.
_ARGUMENT = re.compile(
    rb"""([^ \n\r\t"']*+)"""
    rb"""(?:"((?:\\.|[^"\\])*+)"|'((?:\\'|[^'])*+)')?"""
    rb"""(?:\s+|\Z)""",
    re.DOTALL,
)
