"""Patterns as Redis reads them, and their cost."""

import pytest

from kraft.server.commands.arguments import matches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"save", "save", "saves"),
        (b"SAVE", "save", "sav"),
        (b"*", "", None),
        (b"max*", "maxmemory", "mamemory"),
        (b"*mem*ry", "maxmemory", "maxmemory-policy"),
        (b"*a*b", "xaxbab", "xaxba"),
        (b"**s?ve**", "save", "sve"),
        (b"s[a-c]ve", "save", "sdve"),
        (b"s[c-a]ve", "sbve", "sdve"),
        (b"s[^a-c]ve", "sdve", "save"),
        (b"s[x\\]]ve", "s]ve", "save"),
        (b"s[\\-a]ve", "s-ve", "sbve"),
        (b"\\*", "*", "a"),
        (b"[", "[", "a"),
        (b"a\\", "a\\", "a"),
        (b"\xff", "\ufffd", "a"),
    ],
)
def test_patterns(pattern: bytes, yes: str, no: str | None) -> None:
    assert matches(pattern, yes)
    assert no is None or not matches(pattern, no)


def test_many_stars_cost_little() -> None:
    """A matcher that tries every star again would never return."""
    assert not matches(b"*?" * 9 + b"*x", "proto-max-bulk-len")
    assert not matches(b"*" * 250 + b"x", "proto-max-bulk-len")
    assert not matches(b"*" * 257, "save")
