"""Reading numbers, options and patterns out of requests, with Redis' texts for what is wrong."""

import re

from kraft.server.errors import NOT_AN_INTEGER, Rejected, invalid_expiry

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
RELATIVE_MS_MAX = INT64_MAX - (1 << 43)  # leaves room for any stamp up to the year 2248


def integer(argument: bytes, error: str = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer as Redis writes one: no plus, no spaces, no leading zeros."""
    if len(argument) <= 20:  # the longest is -9223372036854775808
        try:
            value = int(argument)
        except ValueError:
            raise Rejected(error) from None
        if INT64_MIN <= value <= INT64_MAX and b"%d" % value == argument:
            return value
    raise Rejected(error)


def milliseconds(argument: bytes, *, unit_ms: int, absolute: bool, name: str) -> int:
    """The time of EXPIRE and of SET's options, in milliseconds; negative ones pass."""
    value = integer(argument) * unit_ms
    if not INT64_MIN <= value <= (INT64_MAX if absolute else RELATIVE_MS_MAX):
        raise Rejected(invalid_expiry(name))
    return value


def matches(pattern: bytes, name: str) -> bool:
    """Redis' glob (`* ? [abc] [^a] [a-z]` and backslash), without regard to case."""
    return _glob(pattern.decode("utf-8", "replace")).fullmatch(name) is not None


def _glob(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|\[(?:\\.|[^\]])*\]|.", pattern, re.DOTALL)
    return re.compile("".join(map(_glob_part, parts)), re.IGNORECASE | re.DOTALL)


def _glob_part(part: str) -> str:
    if part == "*":
        return ".*"
    if part == "?":
        return "."
    if part[0] == "[" and len(part) > 2:
        inverted, body = part[1] == "^", part[1:-1].lstrip("^")
        escaped = re.sub(r"([\\\[&|~])", r"\\\1", body)
        return f"[{'^' if inverted else ''}{escaped}]" if body else "(?!)"
    return re.escape(part[1:] if part[0] == "\\" and len(part) > 1 else part)
