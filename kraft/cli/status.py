"""`kraft status`: the state of a cluster, as its nodes report it on their HTTP ports.

It asks the given nodes first, then the other members that they name, so that one address is enough to show
the whole cluster. Nodes that do not answer are shown too: this command is for the day something is down.
"""

import argparse
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from kraft.cli import address as addresses
from kraft.cli.failure import WrongUsage
from kraft.cli.known_port import recognise
from kraft.config.listen_address import split_address
from kraft.web import overview
from kraft.web.findings import DISK_FULL, VOTERS_CHANGING, WARN, diagnose
from kraft.web.report import NotAReport, decode
from kraft.web.view import ClusterView, MemberReport

DEFAULT_ADDRESS = "127.0.0.1:10021"
TIMEOUT_DEFAULT_SECONDS = 2.0
ANSWER_MAX_BYTES = 16 << 20  # far above any real answer; a mistyped address may be any server
CONCURRENT_MAX = 16
NOT_HTTP = "it does not speak HTTP"
NO_SUCH_NODE = "no configuration here (kraft.yaml, /etc/kraft, kraft-demo) has a node of that id either"

EXAMPLES = """\
examples:
  kraft status                                   the cluster of the node on 127.0.0.1:10021
  kraft status 10.0.0.1:10021 10.0.0.2:10021     start from these
  kraft status --only 10.0.0.1:10021             this node alone
  kraft status --json | jq .healthy
  kraft status K1                                the node K1 of a file here, in /etc/kraft, or of the demo

An address is the HTTP port of a node (http.listen in its configuration): HOST, HOST:PORT or a URL; the port
is 10021 if none is given. If it is the client or peer port of a node, its HTTP port is found and asked.

The cluster counts as unhealthy if any node does not answer, has not formed a cluster, knows no leader, has a
full disk, or has data that differs from the others. The lines below the table show learners, changes of the
voters, snapshot transfers and warnings, with the next command to type. The status page on the same ports
(http://HOST:PORT/) shows the same live, and its glossary (http://HOST:PORT/glossary) explains the terms.

columns: ROLE is what the node does in the group: the leader orders all writes, followers copy them, a
precandidate or candidate is trying to become leader, a learner copies without a vote. TERM counts elections.
COMMIT is the last log entry that a majority has, APPLIED the last one that reads on this node can see.

exit status: 0 every node answers, is healthy and knows a leader; 1 otherwise; 2 wrong usage
"""


@dataclass(frozen=True, slots=True)
class StatusReply:
    """The reply of one node: either `status` (the JSON of /status) or `error`.

    `name` is the id of the node, '' if unknown; `address` is '' for a member whose address is unknown.
    `note` says that the address which was asked is another port of the node, and which one.
    """

    name: str
    address: str
    status: dict[str, Any] | None = None
    error: str = ""
    note: str = ""

    @property
    def healthy(self) -> bool:
        """Whether it replied, serves, has space and the right data, and knows a leader for every group."""
        status = self.status
        return (
            status is not None
            and not status["problem"]
            and not status["disk_full"]
            and bool(status["groups"])
            and all(group["leader"] for group in status["groups"])
            and not self.fenced
        )

    @property
    def fenced(self) -> bool:
        """Whether its data of some group is known to be wrong."""
        return any(group.get("fenced") for group in (self.status or {}).get("groups", ()))


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "status",
        help="show the state of a cluster",
        description="Asks nodes for their state over HTTP and prints one line for each node and group.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "addresses",
        nargs="*",
        default=[DEFAULT_ADDRESS],
        metavar="NODE",
        help=f"HTTP ports of nodes, or their ids (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--only", action="store_true", help="ask only the given nodes, not the other members")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_DEFAULT_SECONDS,
        metavar="SECONDS",
        help=f"timeout for each node (default {TIMEOUT_DEFAULT_SECONDS:g})",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Ask the nodes and print their state. Returns the exit status."""
    timeout = chosen.timeout
    try:
        found = [addresses.find(text, lambda at: _http_ports(at, timeout)) for text in chosen.addresses]
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    asked = ask_all([("", address) for address in dict.fromkeys(found)], timeout)
    answers = [_recognised(answer, timeout) for answer in asked]
    if not chosen.only:
        answers += ask_all(others(answers), timeout)
    healthy = all(answer.healthy for answer in answers)
    if chosen.json:
        nodes = [
            {
                "node": each.name,
                "address": each.address,
                "error": each.error or None,
                "note": each.note or None,
                "status": each.status,
            }
            for each in answers
        ]
        print(json.dumps({"healthy": healthy, "nodes": nodes}, indent=2))
    else:
        print("\n".join(render(answers)))
    return 0 if healthy else 1


def ask_all(targets: Sequence[tuple[str, str]], timeout: float) -> list[StatusReply]:
    """The replies of (name, address) pairs, asked at the same time, in the given order."""
    with ThreadPoolExecutor(CONCURRENT_MAX) as pool:
        return list(pool.map(lambda target: ask(target[0], target[1], timeout), targets))


def ask(name: str, address: str, timeout: float) -> StatusReply:
    """GET /status of one node. Errors of the network or the other side become the error of the reply."""
    if not address:
        return StatusReply(name, address, error="no address known")
    try:
        connection = http.client.HTTPConnection(*split_address(address), timeout=timeout)
    except ValueError as error:
        return StatusReply(name, address, error=str(error))
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        body = response.read(ANSWER_MAX_BYTES)
        if response.status != http.HTTPStatus.OK:
            return StatusReply(name, address, error=f"HTTP {response.status} {response.reason}")
        return _understood(name, address, body)
    except (http.client.BadStatusLine, ConnectionResetError):
        return StatusReply(name, address, error=NOT_HTTP)
    except socket.gaierror as error:
        return StatusReply(name, address, error=f"{error.strerror}; {NO_SUCH_NODE}")
    except (OSError, http.client.HTTPException) as error:
        return StatusReply(name, address, error=getattr(error, "strerror", None) or str(error) or "no answer")
    finally:
        connection.close()


def _recognised(answer: StatusReply, timeout: float) -> StatusReply:
    """The reply of the HTTP port of the same node, if `answer` is that of another port of a node."""
    if answer.error != NOT_HTTP:
        return answer
    port = recognise(split_address(answer.address), timeout)
    if isinstance(port, str):
        return replace(answer, error=port)
    text = port.explain(answer.address)
    if not port.http:
        return replace(answer, name=port.id, error=text)
    return replace(ask(port.id, port.http, timeout), note=text)


def _http_ports(address: str, timeout: float) -> Mapping[str, str]:
    """The HTTP addresses by id that the node at `address` reports; none if it does not answer."""
    members = (ask("", address, timeout).status or {}).get("members", ())
    return {member["id"]: member["http"] for member in members}


def _understood(name: str, address: str, body: bytes) -> StatusReply:
    """The reply, if `body` is the status of a kraft node."""
    try:
        return StatusReply(decode(body).status.node, address, json.loads(body))
    except NotAReport:
        return StatusReply(name, address, error="not a kraft node's answer")


def others(answers: Iterable[StatusReply]) -> list[tuple[str, str]]:
    """(id, HTTP address) of the members that the replies name and that were not asked themselves."""
    asked = {answer.name for answer in answers} | {answer.address for answer in answers}
    found: dict[str, str] = {}
    for answer in answers:
        for member in (answer.status or {}).get("members", ()):
            if member["id"] not in asked and (not member["http"] or member["http"] not in asked):
                found[member["id"]] = found.get(member["id"]) or member["http"]
    return sorted(found.items())


HEADINGS = ("NODE", "STATE", "GROUP", "ROLE", "TERM", "LEADER", "COMMIT", "APPLIED", "KEYS", "HTTP")


def table_rows(status: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per group of a node, without the address; a node without groups has one row."""
    start = (status["node"], status["state"])
    rows = [
        (
            *start,
            *(str(group[key]) for key in ("group", "role", "term")),
            group["leader"] or "none",
            *(str(group[key]) for key in ("commit", "applied", "keys")),
        )
        for group in status["groups"]
    ]
    return rows or [(*start, *("-",) * 7)]


def render(answers: Sequence[StatusReply]) -> list[str]:
    """The output: a table, then notes, warnings, and problems by node or the summary."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for answer in answers:
        if answer.status is None:
            rows.append((answer.name or "?", "no answer", *("-",) * 7, answer.address or "?"))
        else:
            rows += [(*row, answer.address) for row in table_rows(answer.status)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    troubles = [f"{each.name or each.address}: {trouble}" for each in answers if (trouble := _trouble(each))]
    notes = [each.note for each in answers if each.note]
    notes += [note for answer in answers for note in _notes(answer)]
    warnings = _warnings(answers)
    well = "1 node answers and knows" if len(answers) == 1 else f"{len(answers)} nodes answer and know"
    end = f"{'needs attention' if warnings else 'all well'}: {well} a leader"
    return [*lines, "", *_version(answers), *notes, *_tolerances(answers), *warnings, *(troubles or [end])]


def _version(answers: Sequence[StatusReply]) -> list[str]:
    """The machine version in force, as the first node says that reports one."""
    statuses = [
        decode(json.dumps(each.status).encode()).status for each in answers if each.status is not None
    ]
    return [overview.machine_versions(status) for status in statuses if status.machine_version][:1]


def view_of(answers: Sequence[StatusReply]) -> ClusterView | None:
    """The cluster as these nodes report it; None if none of them does."""
    seen = [
        MemberReport(each.name, each.address, report, last=report)
        for each in answers
        if each.status is not None and (report := decode(json.dumps(each.status).encode()))
    ]
    return ClusterView(seen[0].report, tuple(seen)) if seen and seen[0].report is not None else None


def _tolerances(answers: Sequence[StatusReply]) -> Iterator[str]:
    """How many more losses the cluster survives, for each group that has a leader and lacks voters."""
    view = view_of(answers)
    for group in overview.groups(view) if view is not None else ():
        if view is not None and group.leader and not set(group.voters) <= overview.working(view):
            yield f"group {group.group}: {overview.tolerance(view, group)}"


def _warnings(answers: Sequence[StatusReply]) -> list[str]:
    """The status page's warnings about nodes that serve, each with the next command to type."""
    view = view_of(answers)
    if view is None:
        return []
    found = diagnose(view).findings
    serving = {each.name for each in answers if each.healthy}
    told = [each for each in found if each.severity == WARN and each.subject in serving]
    return [f"{each.subject}: {each.text}{each.command and f' ({each.command})'}" for each in told]


def _notes(answer: StatusReply) -> Iterator[str]:
    """Changes under way, as the leader of a group reports them; snapshots as their receiver reports them."""
    for group in (answer.status or {}).get("groups", ()):
        name = f"group {group['group']}"
        if group["role"] == "leader":
            yield from _changes(name, group)
        for transfer in group.get("transfers", ()):
            if transfer["direction"] == "receive":
                done, size = transfer["done_bytes"] / (1 << 20), transfer["size_bytes"] / (1 << 20)
                yield (
                    f"{name}: {answer.name} is receiving a snapshot from {transfer['peer']}:"
                    f" {done:.1f} of about {size:.1f} MiB"
                )


def _changes(name: str, group: dict[str, Any]) -> Iterator[str]:
    if group["learners"]:
        joining = set(group.get("joining", ()))
        learners = ", ".join(f"{id_} (to be a voter)" if id_ in joining else id_ for id_ in group["learners"])
        yield f"{name}: voters {', '.join(group['voters'])}; learners {learners}"
    if group.get("joint"):
        yield f"{name}: {VOTERS_CHANGING}"
    if group.get("transferring"):
        yield f"{name}: leadership is being transferred to {group['transferring']}"


def _trouble(answer: StatusReply) -> str:
    if answer.status is None:
        return answer.error
    if answer.healthy:
        return ""
    if answer.fenced and not answer.status["problem"]:
        return f"its data differs from the others': KRAFT RESEED {answer.name}"
    if answer.status["disk_full"] and not answer.status["problem"]:
        return DISK_FULL
    return str(answer.status["problem"]) or "no leader known"
