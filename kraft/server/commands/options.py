"""The options of SET, GETEX and MSETEX: a condition, an expiry, and whether the old value is returned.

https://redis.io/docs/latest/commands/set/ has them all. As in Redis, an option may be repeated: the last
value counts, and different options that contradict each other are a syntax error.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kraft.kv.commands import Comparison, Condition, Expiry
from kraft.kv.digest import DIGEST_DIGITS
from kraft.resp.values import Request
from kraft.server.commands.arguments import milliseconds
from kraft.server.errors import SYNTAX, Rejected, invalid_expiry

# An option with a time: (how it is meant, milliseconds in its unit)
_TIMES = {
    b"EX": (Expiry.RELATIVE, 1000),
    b"PX": (Expiry.RELATIVE, 1),
    b"EXAT": (Expiry.ABSOLUTE, 1000),
    b"PXAT": (Expiry.ABSOLUTE, 1),
}
_CONDITIONS = {b"NX": Condition.IF_MISSING, b"XX": Condition.IF_PRESENT}
COMPARISONS = {
    b"IFEQ": Comparison.EQUAL,
    b"IFNE": Comparison.DIFFERENT,
    b"IFDEQ": Comparison.DIGEST_EQUAL,
    b"IFDNE": Comparison.DIGEST_DIFFERENT,
}
"""Conditions that are followed by a value, or by its digest."""

_HEXADECIMAL = frozenset(b"0123456789abcdef")
_PLAIN = {b"KEEPTTL": Expiry.KEEP, b"PERSIST": Expiry.NONE}

SET_WORDS = frozenset({*_TIMES, *_CONDITIONS, *COMPARISONS, b"KEEPTTL", b"GET"})
MSETEX_WORDS = frozenset({*_TIMES, *_CONDITIONS, b"KEEPTTL"})
GETEX_WORDS = frozenset({*_TIMES, b"PERSIST"})


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`comparison` and its `operand` are IFEQ or IFNE. `expiry` is None if no option names one."""

    condition: int = Condition.ALWAYS
    comparison: int | None = None
    operand: bytes = b""
    expiry: int | None = None
    expiry_ms: int = 0
    get: bool = False


def write_options(words: Request, allowed: frozenset[bytes], name: str) -> WriteOptions:
    """Read the options of the command `name`, of those in `allowed`. Raises Rejected."""
    condition = timing = amount = None
    operand, get = b"", False
    rest = iter(words)
    for given in rest:
        word = given.upper()
        if word not in allowed:
            raise Rejected(SYNTAX)
        if word == b"GET":
            get = True
        elif word in _CONDITIONS and condition in (None, word):
            condition = word
        elif word in COMPARISONS and condition is None:
            condition, operand = word, compared_with(COMPARISONS[word], _next(rest))
        elif word in _TIMES and timing in (None, word):
            timing, amount = word, _next(rest)
        elif word in (b"KEEPTTL", b"PERSIST") and timing in (None, word):
            timing = word
        else:
            raise Rejected(SYNTAX)
    meant = _CONDITIONS.get(condition or b"", Condition.ALWAYS)
    compared = COMPARISONS.get(condition or b"")
    expiry, expiry_ms = _PLAIN.get(timing or b""), 0
    if amount is not None and timing is not None:
        expiry, unit_ms = _TIMES[timing]
        expiry_ms = positive_ms(amount, unit_ms, expiry, name)
    return WriteOptions(
        int(meant),
        None if compared is None else int(compared),
        operand,
        None if expiry is None else int(expiry),
        expiry_ms,
        get,
    )


def compared_with(comparison: Comparison, text: bytes) -> bytes:
    """The operand of a condition: a value as it is, or a digest in lower case. Raises Rejected."""
    if comparison not in (Comparison.DIGEST_EQUAL, Comparison.DIGEST_DIFFERENT):
        return text
    if len(text) != DIGEST_DIGITS or not set(text.lower()) <= _HEXADECIMAL:
        raise Rejected(f"ERR a digest must be exactly {DIGEST_DIGITS} hexadecimal characters")
    return text.lower()


def positive_ms(amount: bytes, unit_ms: int, expiry: Expiry, name: str) -> int:
    """A time of the command `name` in milliseconds. Raises Rejected unless it is positive."""
    value = milliseconds(amount, unit_ms=unit_ms, absolute=expiry == Expiry.ABSOLUTE, name=name)
    if value <= 0:
        raise Rejected(invalid_expiry(name))
    return value


def _next(words: Iterator[bytes]) -> bytes:
    word = next(words, None)
    if word is None:
        raise Rejected(SYNTAX)
    return word
