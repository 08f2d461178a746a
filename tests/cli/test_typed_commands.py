"""The words of nodes as subcommands of `kraft`."""

import re
from pathlib import Path

import pytest

from kraft.cli.subcommands import SUBCOMMANDS
from kraft.cli.typed_commands import typed

HOST = Path(__file__).parents[2] / "kraft" / "host"
_LITERAL = re.compile(r'(?<!")"([^"\n]+)"(?!")')
# Of what a node asks an administrator to type, as one word of KRAFT and the subcommand that does it.
NAMED_OTHERWISE = {"MOVE": "moves"}


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            "wait until KRAFT MOVES shows them no more, or KRAFT MOVE CANCEL id first",
            "wait until `kraft moves` shows them no more, or `kraft moves --cancel ID` first",
        ),
        ("or KRAFT MOVE CANCEL 12 first", "or `kraft moves --cancel 12` first"),
        ("KRAFT SPLIT 0 makes another one", "`kraft split 0` makes another one"),
        (
            "use KRAFT REPLICATION 3, or repeat with FORCE",
            "use `kraft replication 3`, or repeat with --force",
        ),
        ("KRAFT REPLICATION ALL first", "`kraft replication all` first"),
        ("KRAFT REPLICATION shows when", "`kraft replication` shows when"),
        ("run KRAFT ADD K4 host:port on a member", "run `kraft add K4 host:port` on a member"),
        ("KRAFT ADD K4 [::1]:10001.", "`kraft add K4 [::1]:10001`."),
        ("with KRAFT REPLACE K2 K2 10.0.0.2:10001, or", "with `kraft replace K2 K2 10.0.0.2:10001`, or"),
        ("end that with KRAFT REMOVE K2", "end that with `kraft remove K2`"),
        ("KRAFT REMOVE K2.", "`kraft remove K2`."),
        ("KRAFT DRAIN OFF on K2 first", "`kraft drain K2 --off` first"),
        ("KRAFT RESEED K2 first", "KRAFT RESEED K2 first"),
    ],
)
def test_a_command_of_a_node_becomes_that_of_the_prompt(told: str, shown: str) -> None:
    assert typed(told) == shown


def test_every_command_that_a_node_names_is_known_at_the_prompt() -> None:
    """But for those that have no subcommand: they are typed into `kraft shell`."""
    names = {each.name.upper() for each in SUBCOMMANDS} | NAMED_OTHERWISE.keys()
    told = [
        re.sub(r"\{[^}]*\}", "3", text)
        for path in HOST.rglob("*.py")
        for text in _LITERAL.findall(path.read_text())
        if "KRAFT " in text
    ]
    assert len(told) > 15
    left = [text for text in map(typed, told) if set(re.findall(r"KRAFT ([A-Z]+)", text)) & names]
    assert left == ["KRAFT ADD"], "a part of longer texts, which name the node too"
