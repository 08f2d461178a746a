"""`kraft replication` and `rebalance`: how many nodes vote in a group, and which ones."""

import argparse
import json
import time
from collections.abc import Sequence

from kraft.cli import servers, slot_moves
from kraft.cli.administrator import Administrator, Row, fields, plain
from kraft.cli.cluster_client import NoServer, pairs
from kraft.cli.failure import InterruptFailure
from kraft.cli.output.blocks import EMPTY, Block, Span, TableColumn, TextTable, line
from kraft.cli.output.display import display

REPLICATION_EXAMPLES = """\
examples:
  kraft replication                      how many nodes vote in each group, and what each node has
  kraft replication -s 10.0.0.1:10011    the same, asked of this node
  kraft replication 3                    three nodes vote in each group, spread over zones
  kraft replication all                  every member votes in every group

Where there are several groups, at least five nodes vote in group 0, because it decides for all of them.
Clients are served meanwhile. A number that would let a majority depend on too few nodes is refused; --force
takes it nevertheless. docs/membership.md has votes and zones.

exit status: 0 done; 1 refused or failed; 2 wrong usage; 4 unknown: `kraft replication` shows what is in force
"""
REBALANCE_EXAMPLES = """\
examples:
  kraft rebalance slots                  all groups that have slots get the same number of them
  kraft rebalance slots --dry-run        which slots would be moved
  kraft rebalance replicas               moves votes, so that all nodes have about as many
  kraft rebalance replicas --wait        waits until they have
  kraft rebalance replicas --dry-run     which votes would be moved

Clients are served meanwhile. `kraft moves` shows how far slots are, and `kraft replication` how many steps
are left for votes. docs/groups.md has slots, docs/membership.md votes.

exit status: 0 done, or planned; 1 refused or failed, or with --wait a move was cancelled; 2 wrong usage;
4 unknown: `kraft moves` shows the slots that are about to move, `kraft replication` the votes
"""
UNKNOWN = "`kraft replication` shows what is in force"
NODE_COLUMNS = (
    TableColumn("NODE"),
    TableColumn("VOTES", number=True),
    TableColumn("REPLICAS", number=True),
    TableColumn("ZONE"),
)
STEP_COLUMNS = (TableColumn("GROUP", number=True), TableColumn("VOTERS"), TableColumn("TO"))


def declare_replication(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft replication`."""
    text = "Show or set how many nodes vote in each group."
    servers.declare(parser, text, REPLICATION_EXAMPLES, run_replication)
    parser.add_argument("voters", nargs="?", type=_voters, metavar="N|all", help="default: show it")
    parser.add_argument("--force", action="store_true", help="even if it puts the majority at risk")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def declare_rebalance(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft rebalance`."""
    text = "Even out the slots of groups, or the votes of nodes."
    servers.declare(parser, text, REBALANCE_EXAMPLES, run_rebalance)
    parser.add_argument("what", metavar="slots|replicas", choices=("slots", "replicas"))
    parser.add_argument("--dry-run", action="store_true", help="show what would be moved, and plan nothing")
    slot_moves.add_planning(parser)


def _voters(text: str) -> str:
    """An argparse type: a number of voters, or all members."""
    if not (text.isdecimal() or text.lower() == "all"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of voters nor all")
    return text.lower()


def run_replication(chosen: argparse.Namespace) -> int:
    """Show the placement of votes, after a change if one is given. Returns the exit status."""
    with Administrator(chosen, unknown=UNKNOWN) as admin:
        if chosen.voters is not None:
            admin.order("REPLICATION", chosen.voters, *(["FORCE"] if chosen.force else []))
        placement = _Placement(admin)
    if chosen.json:
        print(json.dumps(placement.facts, indent=2))
    else:
        display().show(*placement.blocks())
    return 0


class _Placement:
    """What KRAFT REPLICATION shows. `steps` are left; while `settling` there may be more of them."""

    def __init__(self, admin: Administrator) -> None:
        reply = pairs(admin.order("REPLICATION"))
        if not reply:
            raise NoServer("what answers is not a kraft node")
        told = {name: plain(value) for name, value in reply.items()}
        self._votes, self._zones = fields(reply["votes"]), fields(reply["zones"])
        self.facts: Row = {**told, "votes": self._votes, "zones": self._zones}
        self._replicas = fields(reply["replicas"]) if "replicas" in reply else {}
        if self._replicas:  # an older node does not tell
            self.facts["replicas"] = self._replicas
        self.settling, self.steps = bool(reply["settling"]), int(str(reply["steps"]))

    def blocks(self) -> list[Block]:
        rows = tuple(
            (
                Span(id_),
                Span(str(number)),
                Span(str(self._replicas.get(id_, slot_moves.ABSENT))),
                Span(str(self._zones.get(id_) or slot_moves.ABSENT)),
            )
            for id_, number in sorted(self._votes.items())
        )
        told = [line(self._wanted())]
        if leaving := self._ids("leaving"):
            told.append(line(f"{leaving}: without votes soon, as before a removal"))
        if self.settling:
            told.append(line(self._left()))
        if groups := self._ids("leaderless"):
            many = "s" if "," in groups else ""
            told.append(line(f"group{many} {groups}: no vote is moved without a leader (kraft doctor)"))
        return [TextTable(NODE_COLUMNS, rows), EMPTY, *told]

    def _wanted(self) -> str:
        """What should be, once votes are moved."""
        number = self.facts["replication"]
        if number == "all":
            return f"every member {'is to vote' if self.settling else 'votes'} in every group"
        one, many = ("is to vote", "are to vote") if self.settling else ("votes", "vote")
        text = f"{number} node {one}" if number == 1 else f"{number} nodes {many}"
        short = f", of which there are {len(self._votes)}" if int(str(number)) > len(self._votes) else ""
        return f"{text} in each group{short}"

    def _left(self) -> str:
        unable = self._ids("unable")
        if self.steps:
            left = "1 step is left" if self.steps == 1 else f"{self.steps} steps are left"
        elif unable:
            left = f"what is left waits for {unable} (kraft doctor says why)"
        elif self.facts.get("changing", 1):  # an older node does not tell
            left = "what is left waits for nodes that have not caught up"
        else:
            return "no vote has to be moved; the leader of group 0 is about to confirm that"
        return f"votes are being moved: {left}"

    def _ids(self, name: str) -> str:
        """The ids that the node tells under `name`, which an older one may leave out."""
        ids = self.facts.get(name)
        return ", ".join(map(str, ids)) if isinstance(ids, list) else ""


def run_rebalance(chosen: argparse.Namespace) -> int:
    """Even out slots or votes. Returns the exit status."""
    if chosen.what == "slots":
        return slot_moves.run_rebalance(chosen)
    with Administrator(chosen, unknown=UNKNOWN) as admin:
        steps = admin.listing("REBALANCE", "REPLICAS", *(["DRYRUN"] if chosen.dry_run else []))
        if not chosen.json:
            display().show(*_steps(steps, dry=chosen.dry_run))
        if chosen.wait and steps and not chosen.dry_run:
            try:
                _wait(admin, len(steps))
            except KeyboardInterrupt:
                raise InterruptFailure("votes move on: `kraft replication` shows how far they are") from None
    if chosen.json:
        print(json.dumps({"steps": steps}, indent=2))
    return 0


def _wait(admin: Administrator, total: int) -> None:
    """Wait until the votes are where they should be, and show how far they are."""
    with display().work("moving votes", "steps") as report:
        while (placement := _Placement(admin)).settling:
            report(max(total - placement.steps, 0), total)
            time.sleep(slot_moves.LOOK_SECONDS)
        report(total, total)


def _steps(steps: Sequence[Row], *, dry: bool) -> list[Block]:
    if not steps:
        return [line("all nodes have about as many votes already")]
    rows = tuple(
        (Span(str(step.get("group"))), Span(_names(step.get("voters"))), Span(_names(step.get("to"))))
        for step in steps
    )
    number = "1 step" if len(steps) == 1 else f"{len(steps)} steps"
    text = "nothing was changed" if dry else "`kraft replication` shows how many are left"
    return [TextTable(STEP_COLUMNS, rows), EMPTY, line(f"{number}; {text}")]


def _names(ids: object) -> str:
    return " ".join(map(str, ids)) if isinstance(ids, list) else str(ids)
