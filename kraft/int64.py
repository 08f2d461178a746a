"""Signed 64-bit integers: their bounds, and the one canonical way to write them.

Redis accepts an integer, in a request or in a stored value, only in its shortest form. The parser, the state
machine and the client port share this rule, so it lives below all of them.
"""

INT64_MAX = (1 << 63) - 1
INT64_MIN = -INT64_MAX - 1
DIGITS_SAFE = 19  # a shorter text is within the bounds
DIGITS_MAX = 20  # a minus and 19 digits; a longer text is not even converted


def parse_int64(text: bytes) -> int | None:
    """The number whose shortest form is `text`, else None: no "+1", "01", "-0", " 1" or "1_0"."""
    if len(text) > DIGITS_MAX:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    if b"%d" % number != text:
        return None
    return number if len(text) < DIGITS_SAFE or INT64_MIN <= number <= INT64_MAX else None
