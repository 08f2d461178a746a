"""`kraft moves`, `move`, `split`, `merge` and `rebalance slots`: moves of hash slots between groups."""

import argparse
import json
import time
from collections.abc import Sequence

from kraft.cli import arguments, servers
from kraft.cli.administrator import Administrator, Row
from kraft.cli.failure import Failure, InterruptFailure, WrongUsage
from kraft.cli.groups import group_table, shown_slots
from kraft.cli.output.blocks import BAD, EMPTY, GOOD, Block, Line, Span, TableColumn, TextTable, line
from kraft.cli.output.display import display

MOVES_EXAMPLES = """\
examples:
  kraft moves                        the moves of slots between groups that are not over
  kraft moves --watch                again every second, until they are over
  kraft moves --cancel 3             cancels the move with this id
  kraft moves -s 10.0.0.1:10011      ask this node first; KRAFT_SERVERS may name nodes too

KEYS counts those that have arrived, of about so many. A group carries out one move at a time, in the order of
their planning. docs/groups.md explains each STATE.

exit status: 0 shown, or cancelled; 1 refused or failed; 2 wrong usage; 4 unknown: `kraft moves`
shows whether the move is cancelled
"""
PLANNED = """
Clients are served meanwhile. The moves are planned together, and carried out whatever dies afterwards: the
command does not wait for them without --wait, and Ctrl-C ends only the waiting. `kraft groups` shows the
groups. docs/groups.md has the whole procedure, and when to split.

exit status: 0 done, or planned; 1 refused or failed, or with --wait a move was cancelled; 2 wrong usage;
4 unknown: `kraft moves` shows whether the moves are planned
"""
MOVE_EXAMPLES = (
    """\
examples:
  kraft move 0-2047 1                these slots, which are of one group, go to group 1
  kraft move 7 1 --wait              one slot; waits until it has moved, and shows the groups
  kraft move 7 1 -s 10.0.0.1:10011   ask this node first; KRAFT_SERVERS may name nodes too
"""
    + PLANNED
)
SPLIT_EXAMPLES = (
    """\
examples:
  kraft split 0                      half of the slots of group 0 go to a group without slots, or a new one
  kraft split 0 --into 3 --wait      a third each; waits until the slots have moved, and shows the groups
  kraft split 0 -s 10.0.0.1:10011    ask this node first; KRAFT_SERVERS may name nodes too
"""
    + PLANNED
)
MERGE_EXAMPLES = (
    """\
examples:
  kraft merge 2 0                    all slots of group 2 go to group 0
  kraft merge 2 0 --wait             waits until they have, and shows the groups
  kraft merge 2 0 -s 10.0.0.1:10011  ask this node first; KRAFT_SERVERS may name nodes too
"""
    + PLANNED
)
UNKNOWN = "`kraft moves` shows whether the moves are planned"
LOOK_SECONDS = 1.0  # between two looks at the moves
COLUMNS = (
    TableColumn("ID", number=True),
    TableColumn("SLOTS"),
    TableColumn("FROM", number=True),
    TableColumn("TO", number=True),
    TableColumn("STATE"),
    TableColumn("KEYS", number=True),
    TableColumn("AGE", number=True),
    TableColumn("LEADER"),
    TableColumn("PROBLEM", spare=1),
)
PLAN_COLUMNS = (*COLUMNS[:4],)
ABSENT = "-"


def declare_moves(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft moves`."""
    description = "Show the moves of slots that are not over, or cancel one."
    servers.declare(parser, description, MOVES_EXAMPLES, run_moves)
    parser.add_argument("--cancel", type=arguments.whole(1), metavar="ID", help="cancel this move")
    parser.add_argument("--watch", action="store_true", help="show them every second, until they are over")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def declare_move(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft move`."""
    servers.declare(parser, "Move hash slots of one group to another group.", MOVE_EXAMPLES, run_move)
    parser.add_argument("slots", metavar="FIRST-LAST", help="or one slot")
    _add_group(parser, "group", "GROUP", "the group that gets them")
    add_planning(parser)


def declare_split(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft split`."""
    description = "Divide the slots of a group among it and groups without slots, or new ones."
    servers.declare(parser, description, SPLIT_EXAMPLES, run_split)
    _add_group(parser, "group", "GROUP", "the group to be divided")
    parts = "number of parts, 2 to 128 (default 2)"
    parser.add_argument("--into", type=arguments.whole(2), default=2, metavar="N", help=parts)
    add_planning(parser)


def declare_merge(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft merge`."""
    servers.declare(parser, "Move all slots of a group to another group.", MERGE_EXAMPLES, run_merge)
    _add_group(parser, "group", "GROUP", "the group that gives its slots away; it stays, without slots")
    _add_group(parser, "into", "OTHER", "the group that gets them")
    add_planning(parser)


def _add_group(parser: argparse.ArgumentParser, name: str, shown: str, text: str) -> None:
    parser.add_argument(name, type=arguments.whole(0), metavar=shown, help=text)


def add_planning(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a command that plans moves."""
    parser.add_argument("--wait", action="store_true", help="wait until the moves are over")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run_moves(chosen: argparse.Namespace) -> int:
    """Print the moves of slots. Returns the exit status."""
    if chosen.watch and chosen.json:
        raise WrongUsage("--watch shows tables, and --json prints one object")
    with Administrator(chosen, unknown=UNKNOWN) as admin:
        if chosen.cancel is not None:
            admin.order("MOVE", "CANCEL", str(chosen.cancel))
        moves = admin.listing("MOVES")
        if chosen.json:
            print(json.dumps({"moves": moves}, indent=2))
            return 0
        if not (chosen.watch and moves):
            display().show(_table(moves))
            return 0
        with display().screen() as show:
            while True:
                show([_table(moves)])
                if not moves:
                    return 0
                time.sleep(LOOK_SECONDS)
                moves = admin.listing("MOVES")


def run_move(chosen: argparse.Namespace) -> int:
    """Plan one move. Returns the exit status."""
    first, dash, last = chosen.slots.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal()):
        raise WrongUsage(f"{chosen.slots}: write FIRST-LAST, such as 0-2047, or one slot")
    with Administrator(chosen, unknown=UNKNOWN) as admin:
        id_ = admin.order("MOVE", "SLOTS", first, last, "TO", str(chosen.group))
        moves = [move for move in admin.listing("MOVES") if move.get("id") == id_]
        known: Row = {"id": id_, "slots": f"{first}-{last}", "from": ABSENT, "to": chosen.group}
        return planned(chosen, admin, moves or [known])


def run_split(chosen: argparse.Namespace) -> int:
    """Plan the moves of a split. Returns the exit status."""
    return _plan(chosen, "SPLIT", str(chosen.group), "INTO", str(chosen.into))


def run_merge(chosen: argparse.Namespace) -> int:
    """Plan the moves of a merger. Returns the exit status."""
    return _plan(chosen, "MERGE", str(chosen.group), "INTO", str(chosen.into))


def run_rebalance(chosen: argparse.Namespace) -> int:
    """Plan the moves that give all groups with slots as many of them. Returns the exit status."""
    return _plan(chosen, "REBALANCE", "SLOTS", *(["DRYRUN"] if chosen.dry_run else []))


def _plan(chosen: argparse.Namespace, *words: str) -> int:
    with Administrator(chosen, unknown=UNKNOWN) as admin:
        return planned(chosen, admin, admin.listing(*words))


def planned(chosen: argparse.Namespace, admin: Administrator, moves: Sequence[Row]) -> int:
    """Show the `moves`, and wait for them if that was asked for. Returns the exit status."""
    dry = getattr(chosen, "dry_run", False)
    if not chosen.json:
        display().show(*_planned(moves, dry=dry))
    waits = chosen.wait and moves and not dry
    if waits:
        try:
            _wait(admin, moves)
        except KeyboardInterrupt:
            raise InterruptFailure("the moves go on: `kraft moves` shows how far they are") from None
    groups = admin.listing("GROUPS") if waits else []
    left = [move["id"] for move in moves if waits and not _took_place(move, groups)]
    if chosen.json:
        told = [{name: move.get(name) for name in ("id", "slots", "from", "to")} for move in moves]
        print(json.dumps({"moves": told, **({"groups": groups} if waits else {})}, indent=2))
    elif waits:
        over = Span("over", BAD) if left else Span("done", GOOD)
        display().show(EMPTY, line(over, ": the groups now"), EMPTY, group_table(groups))
    if left:
        raise Failure(f"cancelled, or moved again meanwhile: move {', '.join(map(str, left))}")
    return 0


def _wait(admin: Administrator, moves: Sequence[Row]) -> None:
    """Wait until the moves are over, and show how far they are."""
    totals = {move["id"]: 0 for move in moves}  # keys, about: what is known of a move while it is under way
    with display().work("moving slots", "keys") as report:
        while True:
            left = {move["id"]: move for move in admin.listing("MOVES") if move["id"] in totals}
            for id_, move in left.items():
                totals[id_] = max(totals[id_], _number(move, "keys_total"), _number(move, "keys"))
            copied = [move for move in left.values() if move.get("state") != "active"]
            to_come = sum(totals[move["id"]] - _number(move, "keys") for move in copied)
            report(sum(totals.values()) - to_come, sum(totals.values()))
            if not left:
                return
            time.sleep(LOOK_SECONDS)


def _took_place(move: Row, groups: Sequence[Row]) -> bool:
    """Whether the receiver has the slots of a move that is over. One that was cancelled leaves no trace."""
    [receiver] = [str(group["slots"]) for group in groups if group["group"] == move["to"]]
    held = {slot for part in receiver.split(",") if part for slot in _slots(part)}
    return held.issuperset(_slots(str(move["slots"])))


def _number(move: Row, name: str) -> int:
    """A number that the node tells, 0 if it runs an earlier program, which does not."""
    return int(str(move.get(name, 0)))


def _slots(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _planned(moves: Sequence[Row], *, dry: bool) -> list[Block]:
    if not moves:
        return [line("no slots have to move")]
    columns = PLAN_COLUMNS[1:] if dry else PLAN_COLUMNS
    names = ("slots", "from", "to") if dry else ("id", "slots", "from", "to")
    rows = tuple(_cells(move, names) for move in moves)
    number = "1 move" if len(moves) == 1 else f"{len(moves)} moves"
    text = f"{number}; nothing was planned" if dry else f"{number} planned: `kraft moves` shows how far"
    return [TextTable(columns, rows), EMPTY, line(text)]


def _table(moves: Sequence[Row]) -> TextTable | Line:
    return TextTable(COLUMNS, tuple(map(_row, moves))) if moves else line("no slots are about to move")


def _row(move: Row) -> tuple[Span, ...]:
    keys, total = _number(move, "keys"), _number(move, "keys_total")
    problem = str(move.get("problem"))
    return (
        *_cells(move, ("id", "slots", "from", "to", "state")),
        Span(f"{keys} of ~{total}" if total > keys else str(keys)),
        Span(f"{_number(move, 'age_ms') // 1000} s"),
        Span(str(move.get("leader")) or ABSENT),
        Span(problem, BAD) if problem else Span(ABSENT),
    )


def _cells(move: Row, names: Sequence[str]) -> tuple[Span, ...]:
    shown = move | {"slots": shown_slots(move["slots"])}
    return tuple(Span(str(shown.get(name))) for name in names)
