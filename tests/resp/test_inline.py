"""Lines that people type: against a plain loop over the bytes, and the cases worth reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.resp.inline import UnbalancedQuotes, split_arguments


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"", []),
        (b" \t ", []),
        (b"get a", [b"get", b"a"]),
        (b"  get \t a  ", [b"get", b"a"]),
        (b'set a "b c"', [b"set", b"a", b"b c"]),
        (b"set a 'b c'", [b"set", b"a", b"b c"]),
        (b'"\\n\\r\\t\\b\\a\\\\\\""', [b'\n\r\t\b\a\\"']),
        (b'"\\x41\\x0a\\xff"', [b"A\n\xff"]),
        (b'"\\xg1\\q"', [b"xg1q"]),
        (b"'\\'\\n\"'", [b"'\\n\""]),
        (b'"\'"', [b"'"]),
        (b"''", [b""]),
        (b'""', [b""]),
        (b'ab"c d"', [b"abc d"]),
        (b"ab'c d'", [b"abc d"]),
        (b"a\\n", [b"a\\n"]),
        (b"a\x00b", [b"a\x00b"]),
        (b"a\x0bb \x0bc", [b"a\x0bb", b"c"]),
        (b"\xff\xfe", [b"\xff\xfe"]),
    ],
)
def test_arguments(line, arguments):
    assert split_arguments(line) == arguments


@pytest.mark.parametrize(
    "line", [b'"', b"'", b'a "b', b"'a\\'", b'"a\\"', b'"a"b', b"'a'b", b'"a""b"', b'"a\\']
)
def test_bad_quotes(line):
    with pytest.raises(UnbalancedQuotes):
        split_arguments(line)


def twin(line: bytes) -> list[bytes] | None:
    """One byte after the other; None for bad quotes."""
    arguments: list[bytes] = []
    at = 0
    letters = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
    while True:
        while line[at : at + 1] in (b" ", b"\t", b"\n", b"\v", b"\f", b"\r"):
            at += 1
        if at == len(line):
            return arguments
        argument, quote, closed = bytearray(), None, False
        while not closed:
            byte = line[at : at + 1]
            if quote is None:
                if byte in (b"", b" ", b"\n", b"\r", b"\t"):
                    break
                if byte in (b'"', b"'"):
                    quote = byte
                else:
                    argument += byte
            elif byte == b"":
                return None
            elif byte == quote:
                if line[at + 1 : at + 2].strip() != b"":
                    return None
                closed = True
            elif byte == b"\\" and quote == b"'" and line[at + 1 : at + 2] == b"'":
                argument += b"'"
                at += 1
            elif byte == b"\\" and quote == b'"' and at + 1 < len(line):
                digits = line[at + 2 : at + 4]
                if line[at + 1 : at + 2] == b"x" and len(digits) == 2 and digits.isalnum() and is_hex(digits):
                    argument.append(int(digits, 16))
                    at += 3
                else:
                    argument.append(letters.get(line[at + 1], line[at + 1]))
                    at += 1
            else:
                argument += byte
            at += 1
        arguments.append(bytes(argument))


def is_hex(digits: bytes) -> bool:
    return all(byte in b"0123456789abcdefABCDEF" for byte in digits)


@given(
    st.lists(
        st.sampled_from(
            [b" ", b"'", b'"', b"\\", b"x", b"4", b"F", b"n", b"\t", b"\r", b"\v", b"\0", b"\xff"]
        )
    )
)
def test_equals_the_loop(pieces):
    line = b"".join(pieces)
    try:
        arguments = split_arguments(line)
    except UnbalancedQuotes:
        arguments = None
    assert arguments == twin(line)
