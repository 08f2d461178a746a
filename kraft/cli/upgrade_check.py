"""`kraft upgrade-check`: whether the next step of docs/upgrade.md is safe now, and which one it is.

Stopping one node for its upgrade must leave a majority of every group, so every member has to be connected
and caught up, and no change of the members may be under way. The program installed here is the one to upgrade
to: it has to support the machine version in force.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from kraft import __version__
from kraft.cli import http_access, http_targets, servers, tls_options
from kraft.cli.http_targets import DEFAULT_ADDRESS
from kraft.cli.output.blocks import BAD, EMPTY, GOOD, STRONG, WARN, Line, Span, TableColumn, TextTable, line
from kraft.cli.output.display import display
from kraft.cli.status_reply import StatusPoll, StatusReply
from kraft.kv.versions import MACHINE_VERSION

TIMEOUT_SECONDS = 2.0
FIRST_VERSION = {  # what a program of machine version 1 does not report
    "machine_version": 1,
    "machine_version_supported": 1,
    "machine_version_held": False,
}
LAG_ENTRIES = 1000  # a node that is stopped now must not be the only one that is up to date

EXAMPLES = """\
examples:
  kraft upgrade-check                       that of the nodes in KRAFT_SERVERS, or on 127.0.0.1:10021
  kraft upgrade-check 10.0.0.1:10021 K2     start from these nodes
  kraft upgrade-check --json | jq -r .next  the node to upgrade next

Run it with the new program, before each step: it asks all nodes for their versions, and says whether one of
them may be stopped and upgraded now, and which: followers first, the leader last. docs/upgrade.md has the
steps.

exit status: 0 the next step is safe, or nothing is to be done; 1 it is not, as shown; 2 wrong usage
"""
COLUMNS = (
    TableColumn("NODE"),
    TableColumn("VERSION"),
    TableColumn("SUPPORTS", number=True),
    TableColumn("LEADS", number=True),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = "Asks all nodes for their versions, and says whether the next upgrade is safe."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "addresses",
        nargs="*",
        metavar="NODE",
        help=f"HTTP ports or ids (default: of the nodes in ${servers.VARIABLE}, or {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    http_access.declare(parser)
    parser.set_defaults(run=run)


class UpgradePlan:
    """What is known of the nodes: the `obstacles` to the next step, and `next`, the node to upgrade."""

    def __init__(self, replies: Sequence[StatusReply]) -> None:
        self.replies = replies
        self.statuses: dict[str, dict[str, Any]] = {
            each.name: FIRST_VERSION | each.status for each in replies if each.status is not None
        }
        self.obstacles = list(dict.fromkeys(self._obstacles()))
        self.outdated = [id_ for id_, status in self.statuses.items() if _is_outdated(status)]
        self.next = min(self.outdated, key=lambda id_: (self.leads(id_), id_), default="")

    def leads(self, id_: str) -> int:
        """The number of groups that the node leads."""
        return sum(group["leader"] == id_ for group in self.statuses[id_]["groups"])

    @property
    def in_force(self) -> int:
        """The machine version in force, as far as any node knows."""
        return max((status["machine_version"] for status in self.statuses.values()), default=0)

    @property
    def holding(self) -> list[str]:
        """The nodes whose configuration keeps the machine version from being raised."""
        return [id_ for id_, status in self.statuses.items() if status["machine_version_held"]]

    def _obstacles(self) -> Iterator[str]:
        for each in self.replies:
            if each.status is None:
                yield f"{each.name or each.address} does not answer: {each.error}"
            elif each.status["problem"]:
                yield f"{each.name}: {each.status['problem']}"
            elif each.status["disk_full"]:
                yield f"{each.name}: its disk is full"
            else:
                yield from self._of_node(each.name, each.status)
        if self.in_force > MACHINE_VERSION:
            yield (
                f"machine version {self.in_force} is in force, and kraft {__version__} supports up to"
                f" {MACHINE_VERSION}: it is too old for this cluster"
            )

    def _of_node(self, id_: str, status: dict[str, Any]) -> Iterator[str]:
        for group in status["groups"]:
            name = f"group {group['group']}"
            if group["joint"] or group["joining"]:
                yield f"{name}: a change of the members is under way: wait until kraft members shows none"
            if group["fenced"]:
                yield f"{id_}: its data of {name} differs from the others': KRAFT RESEED {id_}"
            if len(group["voters"]) < 3:
                yield f"{name} has {len(group['voters'])} voters, and does not serve while one restarts"
        leads = any(group["leader"] == id_ for group in status["groups"])
        for member in status["members"]:
            if member["id"] == id_ or not leads:
                continue
            if not member["connected"]:
                yield f"{member['id']} is not connected to {id_}"
            elif (member["lag_entries"] or 0) > LAG_ENTRIES:
                yield f"{member['id']} lacks {member['lag_entries']} entries: wait until it has caught up"


def _is_outdated(status: dict[str, Any]) -> bool:
    older = status["machine_version_supported"] < MACHINE_VERSION and not status["machine_version_held"]
    return bool(status["version"] != __version__ or older)


def run(chosen: argparse.Namespace) -> int:
    """Ask the nodes, and show the next step. Returns the exit status."""
    given = chosen.addresses
    by_url = any(map(tls_options.is_secure, given)) or http_targets.secure_by_default(given)
    access = http_access.chosen(chosen, by_url=by_url)
    found = http_targets.find(given, TIMEOUT_SECONDS, access)
    plan = UpgradePlan(StatusPoll(found, TIMEOUT_SECONDS, access=access).ask())
    if chosen.json:
        print(json.dumps(facts(plan), indent=2))
    else:
        display().show(_table(plan), EMPTY, *_lines(plan))
    return 1 if plan.obstacles else 0


def facts(plan: UpgradePlan) -> dict[str, Any]:
    """The outcome as JSON values."""
    return {
        "safe": not plan.obstacles,
        "version": __version__,
        "machine_version": plan.in_force,
        "obstacles": plan.obstacles,
        "outdated": plan.outdated,
        "next": plan.next or None,
        "holding": plan.holding,
        "nodes": {id_: status["version"] for id_, status in plan.statuses.items()},
    }


def _table(plan: UpgradePlan) -> TextTable:
    rows = []
    for id_, status in plan.statuses.items():
        version = Span(status["version"], WARN if id_ in plan.outdated else GOOD)
        supported = Span(str(status["machine_version_supported"]))
        rows.append((Span(id_, STRONG), version, supported, Span(str(plan.leads(id_)))))
    return TextTable(COLUMNS, tuple(rows))


def _lines(plan: UpgradePlan) -> Iterator[Line]:
    here = f"kraft {__version__} here supports up to {MACHINE_VERSION}"
    yield line(f"machine version {plan.in_force} is in force; {here}")
    if plan.obstacles:
        yield line(Span("not safe now", BAD), ":")
        yield from (line(f"- {obstacle}", hang=2) for obstacle in plan.obstacles)
    elif plan.next:
        told = "it leads, and hands over when it stops" if plan.leads(plan.next) else "it leads nothing"
        yield line(Span("safe", GOOD), f": upgrade and restart {plan.next} ({told}), then run this again")
        if len(plan.outdated) == 1 and plan.in_force < MACHINE_VERSION and not plan.holding:
            yield line(
                "it is the last one: afterwards the machine version is raised, and there is no way back"
            )
    else:
        yield line(Span("nothing to do", GOOD), f": all nodes run kraft {__version__}")
    if plan.holding:
        told = f"cluster.machine_version_max of {', '.join(plan.holding)} keeps the way back open"
        yield line(f"{told}: remove it, and restart, once this version has proved itself")
