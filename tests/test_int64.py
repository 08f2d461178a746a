"""The canonical form of an integer, as Redis reads it."""

import pytest

from kraft.int64 import INT64_MAX, INT64_MIN, parse_int64


@pytest.mark.parametrize("number", [0, 7, -12, 10**18 - 1, 1 - 10**17, 10**18, INT64_MAX, INT64_MIN])
def test_the_shortest_form_is_read(number):
    assert parse_int64(b"%d" % number) == number


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+1",
        b"01",
        b"-0",
        b" 1",
        b"1 ",
        b"1_0",
        b"0x1",
        b"1.0",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 9999,
    ],
)
def test_anything_else_is_no_integer(text):
    assert parse_int64(text) is None
