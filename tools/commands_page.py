"""Writes docs/commands.md: every command, from the command table of the server and docs/redis-differences.md.

python tools/commands_page.py [FILE]
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from kraft.server.commands.complexity import complexity_of
from kraft.server.commands.spec import (
    AdminSpec,
    AnySpec,
    ExecSpec,
    IndexSpec,
    ReadSpec,
    ReplicaSpec,
    ScriptSpec,
    UserSpec,
    WaitSpec,
    WatchSpec,
    WriteSpec,
)
from kraft.server.commands.table import TABLE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/commands.md"

HEAD = """# Commands

Every command of the client port. This page is written by `python tools/commands_page.py` from the command
table of the server, which `COMMAND DOCS` shows as well, and from
[redis-differences.md](redis-differences.md); a test compares it. [client-protocol.md](client-protocol.md)
explains the protocol, limits and errors.

*Takes effect* says how a command is executed:

- *logged*: one entry of the log, or part of one. It is acknowledged when a majority has it on disk, and is
  atomic, whatever its number of keys, at any node.
- *read*: a linearizable look at one moment of all its keys, at any node; after `READONLY` at this replica as
  it is.
- *index*: as *read*. The first call builds an index of all keys in the background.
- *together*: all queued commands as one logged entry, or as one read if none of them writes.
- *waits*: for a lock, or until followers have the writes before it.
- *cluster*: carried out by the leader; the reply comes when it is done.
- *users*: at the users that all nodes share. A change is logged; the reply comes when this node has applied
  it.
- *node*: about this connection and this node; not replicated.
"""

TITLES = {
    "string": "Strings",
    "bitmap": "Bits",
    "generic": "Keys",
    "transactions": "Transactions",
    "scripting": "Scripts",
    "kraft": "KRAFT",
    "connection": "Connection",
    "server": "Server",
    "cluster": "Cluster",
}
EFFECTS: dict[type, str] = {
    WriteSpec: "logged",
    ScriptSpec: "logged",
    ReadSpec: "read",
    WatchSpec: "read",
    IndexSpec: "index",
    ExecSpec: "together",
    WaitSpec: "waits",
    AdminSpec: "cluster",
    ReplicaSpec: "waits",
    UserSpec: "users",
}
LOGGED_BY_WHAT_FOLLOWS = "kraft|once"


def page() -> str:
    """The text of the page."""
    differences = _differences()
    sections = [HEAD]
    specs = list(_specs(TABLE.values()))
    for group, title in TITLES.items():
        rows = [_row(spec, differences) for spec in specs if spec.group == group]
        if not rows:
            continue
        head = ["| command | what it does | time | takes effect | differs from Redis |", "| --- " * 5 + "|"]
        sections.append("\n".join([f"## {title}\n", *head, *rows]) + "\n")
    unknown = {spec.group for spec in specs} - TITLES.keys()
    if unknown:
        raise SystemExit(f"groups without a title: {sorted(unknown)}")
    return "\n".join(sections)


def _specs(specs: Iterable[AnySpec]) -> Iterator[AnySpec]:
    """All commands, and subcommands instead of families that have nothing but these."""
    for spec in specs:
        if not (spec.subcommands and spec.summary.startswith("Contains")):
            yield spec
        yield from _specs(spec.subcommands.values())


def _row(spec: AnySpec, differences: dict[str, list[str]]) -> str:
    name = spec.name.replace("|", " ").upper()
    effect = "logged" if spec.name == LOGGED_BY_WHAT_FOLLOWS else EFFECTS.get(type(spec), "node")
    shown = f"`{name} {spec.usage}`".replace(" `", "`")
    cells = (shown, spec.summary, complexity_of(spec.name), effect, "; ".join(differences.get(name, [])))
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _differences() -> dict[str, list[str]]:
    """What the table of differences says about each command that its first column names."""
    text = (ROOT / "docs/redis-differences.md").read_text()
    names = {spec.name.replace("|", " ").upper() for spec in _specs(TABLE.values())}
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) != 6 or not line.startswith("| ") or set(cells[1]) <= set(" -"):
            continue
        subject, here = cells[1].strip(), cells[3].strip()
        for name in names:
            if re.search(rf"`{re.escape(name)}(?:\W[^`]*)?`", subject):
                found.setdefault(name, []).append(f"{subject}: {here}")
    return found


def main() -> None:
    """Write the page to the file named on the command line, or to docs/commands.md."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    place.write_text(page())


if __name__ == "__main__":
    main()
