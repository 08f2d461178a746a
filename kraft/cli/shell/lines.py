"""What was typed or read becomes commands: words of bytes, by the rules of the inline protocol.

A command is a line. A quoted part may contain line ends, so that a value of several lines can be typed or
pasted.
"""

import re
from collections.abc import Iterator, Sequence

from kraft.cli.shell.formats import quoted
from kraft.resp.inline import UnbalancedQuotes, split_arguments

Words = list[bytes]

_BARE = re.compile(rb"[A-Za-z0-9_:.{}@/-]+")  # a word that needs no quotes

CONTINUATION = "... "  # the prompt for the rest of an open quote

# The last argument of these is the unchanged rest of the line, as in the Java shell; the number of arguments.
_REST_OF_LINE = {b"kvstore-set": 2, b"kvstore-get": 1}


class OpenQuote(Exception):
    """A quote is not closed, or is followed by something other than a space."""


def split(line: bytes) -> Words:
    """The words of one command. Raises OpenQuote."""
    arguments = _REST_OF_LINE.get(b"".join(line.split(None, 1)[:1]).lower())
    if arguments is not None:
        return line.split(None, arguments)
    try:
        return split_arguments(line)
    except UnbalancedQuotes:
        raise OpenQuote("a quote is not closed, or a closing quote is not followed by a space") from None


def commands(typed: str) -> Iterator[tuple[str, Words]]:
    """The commands in a text, each with its own text; a line whose quote is open takes the next one along.

    Raises OpenQuote at the end if a quote is still open.
    """
    waiting = ""
    for line in typed.split("\n"):
        waiting = f"{waiting}\n{line}" if waiting else line
        try:
            words = split(encode(waiting))
        except OpenQuote:
            continue
        if words and not words[0].startswith(b"#"):
            yield waiting, words
        waiting = ""
    if waiting:
        split(encode(waiting))


def is_open(typed: str) -> bool:
    """Whether the last command of `typed` has an open quote, so that another line may close it."""
    return not _is_complete(typed) and any(_is_complete(typed + quote) for quote in "\"'")


def _is_complete(typed: str) -> bool:
    try:
        list(commands(typed))
    except OpenQuote:
        return False
    return True


def one_line(text: str, words: Sequence[bytes]) -> str:
    """A command for the history: as typed, or with quoted words if it has several lines."""
    return " ".join(map(_typed, words)) if "\n" in text else text


def _typed(word: bytes) -> str:
    return word.decode() if _BARE.fullmatch(word) else quoted(word)


def encode(text: str) -> bytes:
    """Typed text as bytes; a byte that was no UTF-8 is kept."""
    return text.encode("utf-8", "surrogateescape")
