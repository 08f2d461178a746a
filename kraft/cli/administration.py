"""`kraft members`, `add`, `remove`, `replace`, `transfer` and `drain`: KRAFT commands about the members."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence

from kraft.cli import servers
from kraft.cli.administrator import Administrator
from kraft.cli.cluster_client import ClusterClient
from kraft.cli.failure import Failure
from kraft.cli.output.blocks import (
    BAD,
    COMMAND,
    EMPTY,
    PLAIN,
    STRONG,
    WARN,
    Block,
    Line,
    Span,
    TableColumn,
    TextTable,
    line,
)
from kraft.cli.output.display import display
from kraft.cli.servers import ServerAddress
from kraft.listen_address import split_address
from kraft.web import words

EXAMPLES = """\
examples:
  kraft members                                  the members, as the leader knows them
  kraft add K4 10.0.0.4:10001                    K4 waits with cluster.standby; the address of its peer port
  kraft remove K4                                for good; then stop its process
  kraft replace K2 K5 10.0.0.5:10001             K5 takes the place of K2 once it has caught up
  kraft transfer K3                              makes K3 the leader
  kraft drain K2                                 K2 leads nothing until `kraft drain K2 --off` or a restart
  kraft members -s 10.0.0.1:10011                ask this node first; KRAFT_SERVERS may name nodes too

A change that is impossible, or would put the majority at risk, is refused with the safe order of steps;
--force makes a risky one nevertheless. docs/membership.md explains each command and each refusal.

exit status: 0 done; 1 refused or failed, and nothing was changed; 2 wrong usage; 4 unknown: `kraft members`
shows the outcome, and the command may be repeated
"""
COLUMNS = (
    TableColumn("NODE"),
    TableColumn("KIND"),
    TableColumn("LINK"),
    TableColumn("CONTACT", number=True, spare=1),
    TableColumn("LAG", number=True),
    TableColumn("VOTES", number=True),
    TableColumn("REPLICAS", number=True),
    TableColumn("PEER PORT", spare=3),
    TableColumn("CLIENT PORT", spare=2),
)
GROUPS_ONLY = ("VOTES", "REPLICAS")  # columns that tell nothing of a single group
ABSENT = "-"


def declare_members(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft members`."""
    servers.declare(parser, "Show the members of the cluster.", EXAMPLES, run_members)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def declare_add(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft add`."""
    servers.declare(parser, "Make a standby node a member.", EXAMPLES, run_add)
    parser.add_argument("node", metavar="NODE", help="its node.id")
    _add_address(parser)
    parser.add_argument("--learner", action="store_true", help="it stays a learner, without a vote")
    _add_force(parser)


def declare_remove(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft remove`."""
    servers.declare(parser, "Remove a member for good.", EXAMPLES, run_remove)
    parser.add_argument("node", metavar="NODE")
    _add_force(parser)


def declare_replace(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft replace`."""
    servers.declare(parser, "Replace a member by a standby node, in one step.", EXAMPLES, run_replace)
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("node", metavar="NEW", help="may be OLD: a node that has lost its directory")
    _add_address(parser)
    _add_force(parser)


def declare_transfer(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft transfer`."""
    servers.declare(parser, "Transfer leadership.", EXAMPLES, run_transfer)
    parser.add_argument("node", nargs="?", metavar="NODE", help="default: the voter that is most up to date")


def declare_drain(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft drain`."""
    servers.declare(parser, "Take all leadership away from a node.", EXAMPLES, run_drain)
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("--off", action="store_true", help="let it lead again")


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address", nargs="+", metavar="HOST:PORT", help="of its peer port (peer.advertise); HOST PORT will do"
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="even if it puts the majority at risk")


def run_members(chosen: argparse.Namespace) -> int:
    """Print the members. Returns the exit status."""
    with Administrator(chosen) as admin:
        members = admin.members()
        if chosen.json:
            print(json.dumps({"leader": admin.leader or None, "members": members}, indent=2))
        else:
            display().show(*_blocks(members, admin.leader, admin.leaders()))
    return 0


def run_add(chosen: argparse.Namespace) -> int:
    """Add a node. Returns the exit status."""
    role = "it stays one" if chosen.learner else "it becomes a voter once it has caught up"
    options = ["LEARNER"] if chosen.learner else []
    return _change(
        chosen, ["ADD", chosen.node, *chosen.address, *options], f"{chosen.node} is a learner; {role}"
    )


def run_remove(chosen: argparse.Namespace) -> int:
    """Remove a member. Returns the exit status."""
    outcome = f"{chosen.node} was removed: stop its process; its data directory is of no further use"
    return _change(chosen, ["REMOVE", chosen.node], outcome)


def run_replace(chosen: argparse.Namespace) -> int:
    """Replace a member. Returns the exit status."""
    place = "its vote returns" if chosen.old == chosen.node else f"it takes the place of {chosen.old}"
    outcome = f"{chosen.node} is a learner; {place} once it has caught up"
    return _change(chosen, ["REPLACE", chosen.old, chosen.node, *chosen.address], outcome)


def run_transfer(chosen: argparse.Namespace) -> int:
    """Transfer leadership. Returns the exit status."""
    return _change(chosen, ["TRANSFER", *([chosen.node] if chosen.node else [])], "")


def run_drain(chosen: argparse.Namespace) -> int:
    """Drain one node, which has to be asked itself. Returns the exit status."""
    with Administrator(chosen) as admin:
        members = {str(member["id"]): str(member["client"]) for member in admin.members()}
    if chosen.node not in members:
        raise Failure(f"{chosen.node} is not a member; the members are {', '.join(sorted(members))}")
    try:
        host, port = split_address(members[chosen.node])
    except ValueError:
        raise Failure(f"the client port of {chosen.node} is not known: it has not been linked yet") from None
    client = ClusterClient(
        [ServerAddress(chosen.node, host, port)], follow=False, connect=servers.connector(chosen)
    )
    with Administrator(chosen, client) as admin:
        admin.order("DRAIN", "OFF" if chosen.off else "ON")
    until = f"leads nothing until `kraft drain {chosen.node} --off` or a restart"
    display().show(line(f"{chosen.node} {'may lead again' if chosen.off else until}"))
    return 0


def _change(chosen: argparse.Namespace, words: Sequence[str], outcome: str) -> int:
    """Give one KRAFT command, then print its outcome and the members."""
    with Administrator(chosen) as admin:
        with display().busy() as doing:
            doing(f"kraft {words[0].lower()} {' '.join(words[1:])}: may take half a minute")
            admin.order(*words, *(["FORCE"] if getattr(chosen, "force", False) else []))
        members = admin.members()
        told = [line(outcome), EMPTY] if outcome else []
        display().show(*told, *_blocks(members, admin.leader, admin.leaders()))
    return 0


def _blocks(members: Sequence[dict[str, object]], leader: str, leaders: Sequence[str]) -> list[Block]:
    """The members as a table, and who leads. `leaders` are those of the groups, '' where none is known."""
    rows = [_row(member, leader) for member in members]
    if len(leaders) > 1:
        return [TextTable(COLUMNS, tuple(rows)), EMPTY, _shares(leaders), *_half_removed(members)]
    kept = [place for place, column in enumerate(COLUMNS) if column.heading not in GROUPS_ONLY]
    table = TextTable(
        tuple(COLUMNS[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows)
    )
    last = line(Span(leader, STRONG), " leads") if leader else line(Span("no leader is known", BAD))
    return [table, EMPTY, last]


def _half_removed(members: Sequence[dict[str, object]]) -> Iterator[Line]:
    """Members that some groups have removed, and others have not. An older node does not tell.

    A node that is to be a voter may be about to take the place of one.
    """
    joining = any(member.get("joining") for member in members)
    unless = "If no other node takes its place: " if joining else "To end that: "
    for member in members:
        groups = member.get("removed_from")
        if isinstance(groups, list) and groups:
            named = words.groups([int(str(group)) for group in groups])
            text = f" was removed from {named} and is still a member. {unless}"
            yield line(Span(str(member["id"]), WARN), text, Span(f"kraft remove {member['id']}", COMMAND))


def _shares(leaders: Sequence[str]) -> Line:
    """How many of several groups each node leads."""
    led = Counter(filter(None, leaders))
    spans: list[str | Span] = [f"{len(leaders)} groups: "]
    for id_, number in sorted(led.items()):
        spans += [Span(id_, STRONG), f" leads {number}", ", "]
    without = len(leaders) - led.total()
    return line(*spans, Span(f"{without} without a known leader", BAD)) if without else line(*spans[:-1])


def _row(member: dict[str, object], leader: str) -> tuple[Span, ...]:
    kind, leads = str(member.get("kind")), member.get("id") == leader
    if leads:
        link = contact = lag = Span(ABSENT)  # the node that reports the others
    else:
        link = Span("up") if member.get("connected") else Span("down", BAD)
        contact = Span(_shown(member.get("last_contact_ms"), " ms"))
        lag = Span(_shown(member.get("lag")))
    return (
        Span(str(member.get("id")), STRONG if leads else PLAIN),
        Span(f"{kind} (to be a voter)" if member.get("joining") and kind == "learner" else kind),
        link,
        contact,
        lag,
        Span(_shown(member.get("votes"))),
        Span(_shown(member.get("replicas"))),
        Span(str(member.get("address")) or ABSENT),
        Span(str(member.get("client")) or ABSENT),
    )


def _shown(number: object, unit: str = "") -> str:
    return ABSENT if number is None else f"{number}{unit}"
