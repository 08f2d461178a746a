"""Typed text to commands."""

import pytest

from kraft.cli.shell.lines import OpenQuote, commands, is_open, one_line, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"set a b", [b"set", b"a", b"b"]),
        (b'set a "b c\\n\\xff"', [b"set", b"a", b"b c\n\xff"]),
        (b"  ", []),
        (b"KVSTORE-SET a  it's  fine ", [b"KVSTORE-SET", b"a", b"it's  fine "]),
        (b"kvstore-set a", [b"kvstore-set", b"a"]),
        (b"kvstore-get a b", [b"kvstore-get", b"a b"]),
    ],
)
def test_a_line_is_split_as_on_the_client_port(line, words):
    assert split(line) == words


@pytest.mark.parametrize("line", [b'set a "b', b"set a 'b", b"set a it's", b'set a "b"c'])
def test_an_open_quote_is_an_error(line):
    with pytest.raises(OpenQuote):
        split(line)


def test_several_lines_are_several_commands():
    """As they are pasted; comments and empty lines are none."""
    typed = "set a 1\n\n# a comment\nget a"
    assert [words for _, words in commands(typed)] == [[b"set", b"a", b"1"], [b"get", b"a"]]


def test_a_quote_takes_the_next_line_along():
    typed = "set a 'x\ny'\nget a"
    assert [words for _, words in commands(typed)] == [[b"set", b"a", b"x\ny"], [b"get", b"a"]]
    assert is_open("set a 'x")
    assert is_open("get a\nset a 'x\ny")
    assert not is_open(typed)


@pytest.mark.parametrize("typed", ['set a "b"c', "set a 'b'c d", 'set a "b"c "d'])
def test_a_quote_in_a_word_is_wrong_and_not_open(typed):
    """No further line could mend it."""
    assert not is_open(typed)
    with pytest.raises(OpenQuote):
        list(commands(typed))


def test_the_history_has_one_line_for_a_command():
    assert one_line("set  a b", [b"set", b"a", b"b"]) == "set  a b"
    assert one_line("set a 'x\ny'", [b"set", b"a", b"x\ny"]) == 'set a "x\\ny"'
