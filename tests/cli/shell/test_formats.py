"""Replies as text: for a person, for a program, as JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.cli.shell.formats import JsonFormat, RawFormat, TerminalFormat, as_text, quoted, safe
from kraft.resp.inline import split_arguments
from kraft.resp.values import Error, Push, SetOf, Verbatim


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("OK", "OK"),
        (b"a b", '"a b"'),
        (b"", '""'),
        (b'say "hi"\\\n\r\t\x07\x08\x00\xff', r'"say \"hi\"\\\n\r\t\a\b\x00\xff"'),
        ("gr\u00fc\u00df dich".encode(), '"gr\u00fc\u00df dich"'),
        (b"\x1b[31mred", r'"\x1b[31mred"'),
        ("a\u202eb".encode(), r'"a\xe2\x80\xaeb"'),
        (7, "(integer) 7"),
        (1.5, "(double) 1.5"),
        (math.inf, "(double) inf"),
        (True, "(true)"),
        (False, "(false)"),
        (None, "(nil)"),
        (Error("ERR no \x1b]0;title\x07"), r"(error) ERR no \x1b]0;title\a"),
        ([], "(empty array)"),
        ({}, "(empty hash)"),
        (
            [b"a", None, [1, [b"b"]], []],
            '1) "a"\n2) (nil)\n3) 1) (integer) 1\n   2) 1) "b"\n4) (empty array)',
        ),
        ([1] * 10, "\n".join(f"{n:>2}) (integer) 1" for n in range(1, 11))),
        ({b"k": b"v", b"l": [1, 2]}, '1# "k" => "v"\n2# "l" => \n   1) (integer) 1\n   2) (integer) 2'),
        (
            {b"k": [1], b"l": {b"m": [1, 2]}},
            '1# "k" => 1) (integer) 1\n2# "l" => \n   1# "m" => \n      1) (integer) 1\n      2) (integer) 2',
        ),
        (Push((b"message", b"a")), '1> "message"\n2> "a"'),
        (SetOf((b"a", 1)), '1~ "a"\n2~ (integer) 1'),
        (SetOf(()), "(empty set)"),
        (Verbatim("# Server\r\nversion:1\r\n"), "# Server\nversion:1"),
    ],
)
def test_a_terminal_shows_a_reply_as_redis_cli_does(reply, shown):
    """Except that text beyond ASCII stays readable. No byte of a value controls the terminal."""
    assert TerminalFormat().render(reply).decode() == shown + "\n"


@given(st.binary())
def test_a_quoted_value_can_be_typed(value):
    """It is one argument with the same bytes, on one line, and can be printed."""
    text = quoted(value)
    assert split_arguments(text.encode()) == [value]
    assert text.isprintable()


@given(st.text())
def test_text_for_a_terminal_has_no_control_characters(text):
    assert all(each.isprintable() or each == "\t" for each in safe(text))


def test_colours_are_around_the_words_that_are_not_data():
    form = TerminalFormat(colour=True)
    assert form.render(Error("ERR no")) == b"\x1b[31m(error) ERR no\x1b[0m\n"
    assert form.render(1) == b"\x1b[36m(integer)\x1b[0m 1\n"
    assert form.render(b"a") == b'"a"\n'


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (b"a\x00\xff", b"a\x00\xff\n"),
        ("OK", b"OK\n"),
        (None, b"\n"),
        (-1, b"-1\n"),
        (True, b"true\n"),
        ([b"a", None, [b"b", 1]], b"a\n\nb\n1\n"),
        ({b"k": b"v", b"n": 1}, b"k v\nn 1\n"),
        (Verbatim("a\r\nb"), b"a\r\nb\n"),
        (Push((b"a",)), b"a\n"),
        (SetOf((b"a", b"b")), b"a\nb\n"),
    ],
)
def test_a_program_gets_raw_bytes(reply, shown):
    assert RawFormat().render(reply) == shown


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"a", "a"),
        (None, None),
        ([1, b"a", {b"k": None}], [1, "a", {"k": None}]),
        (Error("ERR no"), {"error": "ERR no"}),
        ({1: True}, {"1": True}),
        (math.inf, "inf"),
        (Verbatim("a\nb"), "a\nb"),
    ],
)
def test_json_is_one_line(reply, value):
    line = JsonFormat().render(reply)
    assert line.count(b"\n") == 1
    assert json.loads(line) == value


@given(st.binary())
def test_json_keeps_every_byte(value):
    """A byte that is no UTF-8 is a lone surrogate, as Python's surrogateescape has it."""
    assert json.loads(JsonFormat().render(value)).encode("utf-8", "surrogateescape") == value


@pytest.mark.parametrize(
    ("words", "marked"),
    [
        ([b"info"], True),
        ([b"INFO", b"server"], True),
        ([b"cluster", b"nodes"], True),
        ([b"get", b"info"], False),
    ],
)
def test_some_commands_reply_with_text_for_people(words, marked):
    assert isinstance(as_text(words, b"a\r\nb"), Verbatim) is marked
    assert as_text(words, None) is None
