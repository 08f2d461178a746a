"""Floats of 64 bits of mantissa: texts that redis-server 7.0.15 on x86 has given, and properties."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.kv.long_double import NotFinite, add, format_long_double, parse_long_double


def total(one: bytes, other: bytes) -> bytes:
    first, second = parse_long_double(one), parse_long_double(other)
    assert first is not None
    assert second is not None
    return format_long_double(add(first, second))


@pytest.mark.parametrize(
    ("one", "other", "sum_"),
    [
        (b"10.50", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"0.1", b"0.2", b"0.3"),
        (b"3", b"1.000000000000000001", b"4"),
        (b"0", b"0.00000000000000001", b"0.00000000000000001"),
        (b"0", b"0.000000000000000001", b"0"),
        (b"-0", b"-0.000000000000000001", b"0"),
        (b"1", b"1e-17", b"1.00000000000000001"),
        (b"18446744073709551615", b"0", b"18446744073709551615"),
        (b"18446744073709551617", b"0", b"18446744073709551616"),
        (b"18446744073709551616", b"1", b"18446744073709551616"),
        (b"18446744073709551616", b"3", b"18446744073709551620"),
        (b"0x1.8p3", b"0X10", b"28"),
        (b".5", b"5.", b"5.5"),
        (b"+2.5", b"-3", b"-0.5"),
        (b"1e18", b"0.5", b"1000000000000000000.5"),
        (b"3.141592653589793238", b"0", b"3.14159265358979324"),
    ],
)
def test_sums(one, other, sum_):
    assert total(one, other) == sum_


@pytest.mark.parametrize(
    "text",
    [b"", b" 1", b"1 ", b"x", b"1e", b"1e5x", b".", b"-", b"0x", b"nan", b"1\x00", b"1_0", b"1e4933",
     b"1e-5000", b"-1e99999999999999", b"1e-99999999999999", b"0x1p16384", b"1" * 5120, b"\xb2"],
)  # fmt: skip
def test_no_numbers(text):
    assert parse_long_double(text) is None


@pytest.mark.parametrize("text", [b"inf", b"-INF", b"Infinity"])
def test_infinite_numbers(text):
    with pytest.raises(NotFinite):
        parse_long_double(text)


def test_the_largest_and_the_smallest_number():
    largest = parse_long_double(b"1.189731495357231765e4932")
    assert largest is not None
    assert format_long_double(largest).startswith(b"1189731495357231765")
    assert len(format_long_double(largest)) == 4933
    with pytest.raises(NotFinite):
        add(largest, largest)
    smallest = parse_long_double(b"3.6e-4951")
    assert smallest is not None
    assert smallest.mantissa == 1
    assert parse_long_double(b"1.8e-4951") is None
    assert parse_long_double(b"0e99999999999999") == (0, 0)
    assert len(format_long_double(parse_long_double(b"1" * 4900) or largest)) == 4900


@given(st.fractions(), st.integers(-80, 80))
def test_a_number_is_the_nearest_one(value, power):
    """Within half of the last of its 64 bits, and exact if they suffice."""
    value = abs(value) * Fraction(10) ** power
    text = b"%d" % value.numerator if value.denominator == 1 else None
    if text is None or len(text) > 300:
        return
    number = parse_long_double(text)
    assert number is not None
    found = Fraction(number.mantissa) * Fraction(2) ** number.exponent
    assert number.mantissa.bit_length() <= 64
    assert abs(found - value) <= Fraction(2) ** number.exponent / 2
    if value < 2**64:
        assert found == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_keeps_its_value(value):
    """A double has 53 bits, so a text of 25 digits is read as just that number.

    The shortest text is not always: it may be halfway between two doubles, as far as 64 bits can tell.
    """
    number = parse_long_double(f"{value:.25g}".encode())
    assert number is not None
    assert Fraction(number.mantissa) * Fraction(2) ** number.exponent == Fraction(value)
