"""KRAFT commands in the words of a node, as a person types them at the prompt of a command shell.

The nodes answer clients of every kind, so their refusals name KRAFT commands. `kraft` has a subcommand for
many of them; the others are typed into `kraft shell`.
"""

import re

_NAME, _ADDRESS = r"[A-Za-z0-9][\w.-]*", r"[\w.\[\]:-]*[\w\]]"
_FORMS = (
    (rf"KRAFT DRAIN OFF on ({_NAME})", r"kraft drain \1 --off"),
    (rf"KRAFT ADD ({_NAME}) ({_ADDRESS})", r"kraft add \1 \2"),
    (rf"KRAFT REPLACE ({_NAME}) ({_NAME}) ({_ADDRESS})", r"kraft replace \1 \2 \3"),
    (r"KRAFT REMOVE ([A-Za-z0-9][\w.-]*[\w-]|[A-Za-z0-9])", r"kraft remove \1"),
    (r"KRAFT MOVE CANCEL id\b", "kraft moves --cancel ID"),
    (r"KRAFT MOVE CANCEL (\d+)", r"kraft moves --cancel \1"),
    (r"KRAFT SPLIT (\d+)", r"kraft split \1"),
    (r"KRAFT REPLICATION ALL\b", "kraft replication all"),
    (r"KRAFT REPLICATION (\d+)", r"kraft replication \1"),
    (r"KRAFT REPLICATION\b", "kraft replication"),
    (r"KRAFT MOVES\b", "kraft moves"),
    (r"KRAFT GROUPS\b", "kraft groups"),
    (r"KRAFT MEMBERS\b", "kraft members"),
)


def typed(words: str) -> str:
    """The words of a node, with the subcommands of `kraft` that do the same, and their options."""
    for pattern, command in _FORMS:
        words = re.sub(pattern, f"`{command}`", words)
    return words.replace("repeat with FORCE", "repeat with --force")
