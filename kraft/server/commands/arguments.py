"""Numbers, times and patterns in requests, with the error texts of Redis."""

import re

from kraft.int64 import INT64_MAX, INT64_MIN, parse_int64
from kraft.resp.values import Request
from kraft.server.errors import NOT_AN_INTEGER, Rejected, invalid_expiry

RELATIVE_MS_MAX = INT64_MAX - (1 << 43)  # leaves room for any stamp up to the year 2248
PATTERN_BYTES_MAX = 256  # longer than any name that a pattern could match
WORDS_MAX = 256  # patterns or names in one request; there are fewer names to ask for


def integer(argument: bytes, error: str = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer in its shortest form, as Redis requires. Raises Rejected with `error`."""
    value = parse_int64(argument)
    if value is None:
        raise Rejected(error)
    return value


def milliseconds(argument: bytes, *, unit_ms: int, absolute: bool, name: str) -> int:
    """The time of EXPIRE or of an option of SET, in milliseconds; it may be negative. Raises Rejected."""
    value = integer(argument) * unit_ms
    if not INT64_MIN <= value <= (INT64_MAX if absolute else RELATIVE_MS_MAX):
        raise Rejected(invalid_expiry(name))
    return value


def limited(words: Request) -> Request:
    """`words`, if there are at most WORDS_MAX: each costs much more than its bytes. Else raises Rejected."""
    if len(words) > WORDS_MAX:
        raise Rejected(f"ERR more than {WORDS_MAX} arguments")
    return words


def matches(pattern: bytes, name: str) -> bool:
    """Whether the name matches a glob of Redis (`* ? [abc] [^a] [a-z]` and backslash), ignoring case.

    Only the last star is ever retried, so there are at most len(pattern) * len(name) steps.
    """
    if len(pattern) > PATTERN_BYTES_MAX:
        return False
    parts, text = _PART.findall(pattern.decode("utf-8", "replace").lower()), name.lower()
    at = place = retry = 0
    star = -1
    while place < len(text):
        if at < len(parts) and parts[at] == "*":
            star, retry = at, place
            at += 1
        elif at < len(parts) and _part_matches(parts[at], text[place]):
            at += 1
            place += 1
        elif star >= 0:
            retry += 1
            at, place = star + 1, retry
        else:
            return False
    return all(part == "*" for part in parts[at:])


def _part_matches(part: str, char: str) -> bool:
    if part[0] == "[" and len(part) > 2:
        body = part[1:-1]
        inverted = body[0] == "^"
        return _class_contains(body[inverted:], char) != inverted
    return part == "?" or part[-1] == char


def _class_contains(body: str, char: str) -> bool:
    """Whether a class contains the character; the ends of a range may come in either order."""
    for first, last, single in _CLASS.findall(body):
        low, high = (single, single) if single else sorted((first[-1], last[-1]))
        if low[-1] <= char <= high[-1]:
            return True
    return False


_PART = re.compile(r"\\.|\[(?:\\.|[^\]])*\]|.", re.DOTALL)
_CLASS = re.compile(r"((?>\\.|.))-((?>\\.|.))|((?>\\.|.))", re.DOTALL)
