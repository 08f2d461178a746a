"""The floats of INCRBYFLOAT: 64 bits of mantissa, as Redis has on x86 (`long double`), by integers alone.

The state machine must not depend on a processor or a C library. So a number here is the exact value
`mantissa * 2**exponent`, every operation is exact, and `_rounded` alone rounds: half to even, as IEEE 754 and
x87 do. Texts are those of C's `strtold` and of `printf("%.17Lf")`, which Redis uses (util.c: string2ld,
ld2string).
"""

import re
from decimal import Decimal
from typing import NamedTuple

TEXT_BYTES_MAX = 5119  # longer texts are no numbers to Redis
_MANTISSA_BITS = 64
_EXPONENT_MIN = -16445  # of the last bit of the smallest number
_MAGNITUDE_BITS = 16384  # a number of more bits is infinite
_DIGITS = 17  # after the point
_DECIMAL_EXPONENT = 5200  # beyond it, whatever the digits, a number is infinite or zero


class LongDouble(NamedTuple):
    """`mantissa * 2**exponent`. The mantissa has a sign and at most 64 bits."""

    mantissa: int
    exponent: int


ZERO = LongDouble(0, 0)


class NotFinite(Exception):
    """A result, or a number that was given, is infinite."""


def parse_long_double(text: bytes) -> LongDouble | None:
    """The number that C reads from all of `text`; None if it is no number, or out of range.

    Decimal and hexadecimal floats are read. Raises NotFinite for `inf` and `infinity`, which Redis reads too.
    """
    found = _NUMBER.fullmatch(text) if len(text) <= TEXT_BYTES_MAX else None
    if found is None:
        return None
    if found["infinite"]:
        raise NotFinite
    base, letter = (16, "hex") if found["hex"] else (10, "decimal")
    whole, _, fraction = found[letter].partition(b".")
    digits = (whole + fraction).lstrip(b"0")
    if not digits:
        return ZERO
    power = int((found[f"{letter}_power"] or b"0")[:_POWER_DIGITS])
    scale = power - len(fraction) * (4 if base == 16 else 1)
    try:
        number = _scaled(digits, base, scale)
    except NotFinite:
        return None
    if not number.mantissa:
        return None  # too small: C reports a range error
    return LongDouble(-number.mantissa, number.exponent) if found["sign"] == b"-" else number


def add(one: LongDouble, other: LongDouble) -> LongDouble:
    """The sum, rounded. Raises NotFinite."""
    exponent = min(one.exponent, other.exponent)
    total = (one.mantissa << one.exponent - exponent) + (other.mantissa << other.exponent - exponent)
    number = _rounded(abs(total), 1, exponent)
    return LongDouble(-number.mantissa, number.exponent) if total < 0 else number


def format_long_double(number: LongDouble) -> bytes:
    """The shortest of the decimal texts with up to 17 digits after the point that `%.17Lf` gives."""
    magnitude = abs(number.mantissa)
    if number.exponent >= 0:
        text = _decimal_text(magnitude << number.exponent)
    else:
        units = _divided(magnitude * 10**_DIGITS, 1 << -number.exponent)
        digits = _decimal_text(units).rjust(_DIGITS + 1, "0")
        text = f"{digits[:-_DIGITS]}.{digits[-_DIGITS:]}".rstrip("0").rstrip(".")
    return (f"-{text}" if number.mantissa < 0 and text != "0" else text).encode()


def _scaled(digits: bytes, base: int, scale: int) -> LongDouble:
    """Digits times 2 or 10 to the `scale`, rounded."""
    if base == 16:
        if scale + 4 * len(digits) > _MAGNITUDE_BITS + 4:
            raise NotFinite
        return _rounded(int(digits, 16), 1, max(scale, 4 * _EXPONENT_MIN))
    if scale + len(digits) > _DECIMAL_EXPONENT:
        raise NotFinite
    if scale + len(digits) < -_DECIMAL_EXPONENT:
        return ZERO
    number = int(Decimal(digits.decode()))  # `int` of a text has a limit of digits, Decimal has none
    return _rounded(number * 10 ** max(scale, 0), 10 ** max(-scale, 0), 0)


def _rounded(numerator: int, denominator: int, exponent: int) -> LongDouble:
    """numerator / denominator * 2**exponent as the nearest number, half to even. Raises NotFinite."""
    bits = numerator.bit_length() - denominator.bit_length() + exponent  # of the value, or one too few
    last = max(bits - _MANTISSA_BITS, _EXPONENT_MIN)  # the exponent of the mantissa's last bit
    mantissa = _shifted(numerator, denominator, exponent - last)
    if mantissa.bit_length() > _MANTISSA_BITS:
        last += 1
        mantissa = _shifted(numerator, denominator, exponent - last)
    if mantissa.bit_length() + last > _MAGNITUDE_BITS:
        raise NotFinite
    return LongDouble(mantissa, last)


def _shifted(numerator: int, denominator: int, shift: int) -> int:
    """numerator / denominator * 2**shift, rounded to an integer."""
    return _divided(numerator << max(shift, 0), denominator << max(-shift, 0))


def _divided(numerator: int, denominator: int) -> int:
    """The quotient as the nearest integer, half to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest + (quotient & 1) > denominator)


def _decimal_text(number: int) -> str:
    return format(Decimal(number), "f")  # `str` of an integer has a limit of digits


_POWER_DIGITS = 12  # enough to be far out of range
_NUMBER = re.compile(
    rb"(?P<sign>[+-]?)(?:(?P<infinite>inf(?:inity)?)"
    rb"|0x(?P<hex>[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p(?P<hex_power>[+-]?[0-9]+))?"
    rb"|(?P<decimal>[0-9]+\.?[0-9]*|\.[0-9]+)(?:e(?P<decimal_power>[+-]?[0-9]+))?)",
    re.IGNORECASE,
)
