"""Patterns of keys: the globs of Redis (`* ? [abc] [^a] [a-z]` and backslash) as regular expressions.

No pattern is slow: every part between two stars is matched at the first place where it fits and never tried
elsewhere (an atomic group), which is right, because the star after it takes whatever follows.
"""

import re
from collections.abc import Callable, Sequence
from operator import methodcaller

Match = Callable[[bytes], object]
"""Whether a key matches: a value that is true, or false."""


def key_pattern(pattern: bytes) -> Match | None:
    """Whether a key matches `pattern`; None for a pattern that every key matches."""
    expression = _expression(pattern)
    return None if expression == _ANYTHING else re.compile(expression, re.DOTALL).match


def any_pattern(patterns: Sequence[bytes]) -> Match:
    """Whether a key matches one of the patterns. It takes the time of all of them, one after the other."""
    prefixes = tuple(map(key_prefix, patterns))
    if None not in prefixes:  # as usual: a third of the time
        return methodcaller("startswith", prefixes)
    return re.compile(b"|".join(map(_expression, patterns)) or _NOTHING, re.DOTALL).match


def key_prefix(pattern: bytes) -> bytes | None:
    """What a key has to begin with, if a pattern asks for nothing else: `app:*`, and no other wildcards."""
    prefix = pattern[:-1]
    return prefix if pattern[-1:] == b"*" and not any(byte in _SPECIAL for byte in prefix) else None


_SPECIAL = b"*?[\\"
_ANYTHING = rb"(?>.*)\Z"
_NOTHING = b"(?!)"


def _expression(pattern: bytes) -> bytes:
    parts = _parts(pattern)
    expression = b"".join(parts[0])
    if len(parts) > 1:
        expression += b"".join([b"(?>.*?%b)" % b"".join(part) for part in parts[1:-1] if part])
        if parts[-1]:  # at the end, so many bytes long
            end = b"".join(parts[-1])
            expression += b"(?=.{%d})(?>.*)(?<=%b)" % (len(parts[-1]), end)
        else:
            expression += b"(?>.*)"
    return expression + rb"\Z"


def _parts(pattern: bytes) -> list[list[bytes]]:
    """What is between the stars: lists of expressions for one byte each."""
    parts: list[list[bytes]] = [[]]
    place = 0
    while place < len(pattern):
        byte = pattern[place : place + 1]
        place += 1
        if byte == b"*":
            parts.append([])
        elif byte == b"?":
            parts[-1].append(b".")
        elif byte == b"[":
            expression, place = _class(pattern, place)
            parts[-1].append(expression)
        else:
            if byte == b"\\" and place < len(pattern):
                byte = pattern[place : place + 1]
                place += 1
            parts[-1].append(_literal(byte[0]))
    return [parts[0], *[part for part in parts[1:-1] if part], *parts[1:][-1:]]


def _class(pattern: bytes, place: int) -> tuple[bytes, int]:
    """The expression of a class whose bracket is before `place`, and the place after it.

    As in Redis (util.c: stringmatchlen), the end of the pattern also ends it, and the ends of a range may
    come in either order.
    """
    inverted = pattern[place : place + 1] == b"^"
    place += inverted
    members: set[int] = set()
    while place < len(pattern):
        left = len(pattern) - place
        if pattern[place : place + 1] == b"\\" and left >= 2:
            members.add(pattern[place + 1])
            place += 2
        elif pattern[place : place + 1] == b"]":
            place += 1
            break
        elif left >= 3 and pattern[place + 1 : place + 2] == b"-":
            low, high = sorted((pattern[place], pattern[place + 2]))
            members.update(range(low, high + 1))
            place += 3
        else:
            members.add(pattern[place])
            place += 1
    if inverted:
        members = set(range(256)) - members
    if not members:
        return b"(?!).", place
    return b"[%b]" % b"".join(map(_literal, sorted(members))), place


def _literal(byte: int) -> bytes:
    return b"\\x%02x" % byte
