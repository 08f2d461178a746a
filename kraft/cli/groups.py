"""`kraft groups`: the groups of the cluster, with their slots and leaders."""

import argparse
import json
import re
from collections.abc import Sequence

from kraft.cli import servers
from kraft.cli.administrator import Administrator, Row
from kraft.cli.output.blocks import BAD, STRONG, Span, TableColumn, TextTable
from kraft.cli.output.display import display

EXAMPLES = """\
examples:
  kraft groups                        the slots, the leader and the number of keys of each group
  kraft groups -s 10.0.0.1:10011      ask this node first; KRAFT_SERVERS may name nodes too
  kraft groups --json                 all that KRAFT GROUPS tells, also voters, learners and bytes

A group without slots is at rest, and the next `kraft split` uses it. docs/groups.md explains groups.

exit status: 0 shown; 1 no node answers; 2 wrong usage
"""
COLUMNS = (
    TableColumn("GROUP", number=True),
    TableColumn("SLOTS"),
    TableColumn("LEADER"),
    TableColumn("KEYS", number=True),
    TableColumn("REPLICAS", spare=1),
)
ABSENT = "-"


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft groups`."""
    servers.declare(parser, "Show the groups of the cluster.", EXAMPLES, run)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(chosen: argparse.Namespace) -> int:
    """Print the groups. Returns the exit status."""
    with Administrator(chosen) as admin:
        groups = admin.listing("GROUPS")
    if chosen.json:
        print(json.dumps({"groups": groups}, indent=2))
    else:
        display().show(group_table(groups))
    return 0


def group_table(groups: Sequence[Row]) -> TextTable:
    """The groups as KRAFT GROUPS tells of them; with their replicas where nodes have those of some groups."""
    rows = [
        (
            Span(str(group.get("group"))),
            Span(shown_slots(group.get("slots")) or ABSENT),
            Span(str(group.get("leader")), STRONG) if group.get("leader") else Span("none", BAD),
            Span(ABSENT if group.get("keys") is None else str(group["keys"])),
            Span(_members(group)),
        )
        for group in groups
    ]
    if len({row[-1] for row in rows}) < 2:
        return TextTable(COLUMNS[:-1], tuple(row[:-1] for row in rows))
    return TextTable(COLUMNS, tuple(rows))


def _members(group: Row) -> str:
    """The nodes with a replica of the group, or that are to get one."""
    voters, learners = group.get("voters"), group.get("learners")
    ids = [*voters, *learners] if isinstance(voters, list) and isinstance(learners, list) else []
    return " ".join(sorted(map(str, ids)))


def shown_slots(ranges: object) -> str:
    """Ranges of slots as people write them: `7` for `7-7`."""
    return re.sub(r"\b(\d+)-\1\b", r"\1", str(ranges))
