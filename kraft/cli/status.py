"""`kraft status`: the state of a cluster, as its nodes report it on their HTTP ports.

It asks the given nodes first, then the other members that they name, so that one address is enough to show
the whole cluster. Nodes that do not answer are shown too: this command is for the day something is down.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from kraft.cli import address as addresses
from kraft.cli import arguments, http_access, http_targets, servers, status_report, tls_options
from kraft.cli.failure import WrongUsage
from kraft.cli.http_targets import DEFAULT_ADDRESS
from kraft.cli.output.blocks import Block, line
from kraft.cli.output.display import display
from kraft.cli.status_reply import StatusPoll, StatusReply

TIMEOUT_DEFAULT_SECONDS, TIMEOUT_MAX_SECONDS = 2.0, 3600.0
WATCH_DEFAULT_SECONDS = 2.0
WATCH_MIN_SECONDS, WATCH_MAX_SECONDS = 0.2, 3600.0  # each round asks every node once

EXAMPLES = """\
examples:
  kraft status                                   that of the nodes in KRAFT_SERVERS, or on 127.0.0.1:10021
  kraft status 10.0.0.1:10021 10.0.0.2:10021     start from these
  kraft status --only 10.0.0.1:10021             this node alone
  kraft status --json | jq .healthy
  kraft status --cacert ca.crt https://10.0.0.1  with TLS
  kraft status --token-file token 10.0.0.1       with http.token_file
  kraft status K1                                the node K1 of a file here, in /etc/kraft, or of the demo
  kraft status --watch                           again every 2 seconds, until Ctrl-C
  kraft status --watch 10 --json >> log.jsonl    a line of JSON every 10 seconds

An address is the HTTP port of a node (http.listen in its configuration): HOST, HOST:PORT or a URL; the port
is 10021 if none is given. If it is the client or peer port of a node, its HTTP port is found and asked.

The cluster counts as unhealthy if any node does not answer, has not formed a cluster, knows no leader, has a
full disk, or has data that differs from the others. The lines below the table show learners, changes of the
voters, snapshot transfers and warnings, with the next command to type. The status page on the same ports
(http://HOST:PORT/) shows the same live, and its glossary (http://HOST:PORT/glossary) explains the terms.

columns: ROLE is what the node does in the group: the leader orders all writes, followers copy them, a
precandidate or candidate is trying to become leader, a learner copies without a vote. TERM counts elections.
COMMIT is the last log entry that a majority has, APPLIED the last one that reads on this node can see. Where
nodes have replicas of some groups only, a node has lines for these; `kraft groups` shows the nodes of each. A
node with more than 8 groups has one line with their sums, and one for each group with a problem; --groups
shows them all.

--watch shows the state again and again: at a terminal in one place, elsewhere one after the other, each after
a line with the time. It goes on while the cluster is down, and asks all members that it has heard of.

exit status: 0 every node answers, is healthy and knows a leader; 1 otherwise; 2 wrong usage. With --watch it
is 0 at Ctrl-C, whatever was shown
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = "Asks nodes for their state over HTTP and prints one line for each node and group."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "addresses",
        nargs="*",
        metavar="NODE",
        help=f"HTTP ports of nodes, or their ids (default: those of the nodes in ${servers.VARIABLE}, or"
        f" {DEFAULT_ADDRESS}; if that does not answer, the nodes whose configurations are at hand)",
    )
    parser.add_argument("--only", action="store_true", help="ask only the given nodes, not the other members")
    parser.add_argument(
        "--groups", action="store_true", help="one line for each group, however many there are"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--watch",
        nargs="?",
        const=str(WATCH_DEFAULT_SECONDS),
        metavar="SECONDS",
        help=f"show it again and again, every so often (default {WATCH_DEFAULT_SECONDS:g}), until Ctrl-C",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds(TIMEOUT_MAX_SECONDS),
        default=TIMEOUT_DEFAULT_SECONDS,
        metavar="SECONDS",
        help=f"timeout for each node (default {TIMEOUT_DEFAULT_SECONDS:g})",
    )
    http_access.declare(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Ask the nodes and show their state. Returns the exit status."""
    timeout = chosen.timeout
    seconds, given = _interval(chosen.watch, chosen.addresses)
    by_url = any(map(tls_options.is_secure, given)) or http_targets.secure_by_default(given)
    access = http_access.chosen(chosen, by_url=by_url)
    found = http_targets.find(given, timeout, access, only=chosen.only)
    known = addresses.known_nodes if found == [DEFAULT_ADDRESS] and not chosen.only else dict
    poll = StatusPoll(found, timeout, only=chosen.only, access=access, known=known)
    if seconds:
        with suppress(KeyboardInterrupt):
            _watch(poll, seconds, in_json=chosen.json, every_group=chosen.groups)
        return 0
    answers = poll.ask()
    if chosen.json:
        print(json.dumps(_facts(answers), indent=2))
    else:
        display().show(*status_report.blocks(answers, every_group=chosen.groups))
    return 0 if _healthy(answers) else 1


def _interval(text: str | None, given: list[str]) -> tuple[float, list[str]]:
    """The seconds between two rounds, 0 without --watch; and the nodes that are given.

    The word after --watch may be the first of the nodes. Raises WrongUsage.
    """
    if text is None:
        return 0.0, given
    try:
        seconds = float(text)
    except ValueError:
        return WATCH_DEFAULT_SECONDS, [text, *given]
    if not WATCH_MIN_SECONDS <= seconds <= WATCH_MAX_SECONDS:
        bounds = f"{WATCH_MIN_SECONDS:g} to {WATCH_MAX_SECONDS:g} seconds"
        hint = f"; to watch the node at port {text}: kraft status {text} --watch" if text.isdecimal() else ""
        raise WrongUsage(f"--watch {text}: the time between two looks is {bounds}{hint}")
    return seconds, given


def _healthy(answers: Sequence[StatusReply]) -> bool:
    return all(answer.healthy for answer in answers)


def _facts(answers: Sequence[StatusReply]) -> dict[str, Any]:
    """The replies as JSON values."""
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
    return {"healthy": _healthy(answers), "nodes": nodes}


# -- again and again ----------------------------------------------------------------------------------


def _watch(poll: StatusPoll, seconds: float, *, in_json: bool, every_group: bool) -> None:
    """Show the state every `seconds` until an interrupt."""
    with _terminable(), _json_lines() if in_json else _views(seconds, every_group=every_group) as show:
        due = time.monotonic()
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            show(now, poll.ask())
            due = max(due + seconds, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


Show = Callable[[str, Sequence[StatusReply]], None]  # the time (RFC 3339), and the replies


@contextmanager
def _json_lines() -> Iterator[Show]:
    yield lambda now, answers: print(json.dumps({"time": now, **_facts(answers)}), flush=True)


@contextmanager
def _views(seconds: float, *, every_group: bool) -> Iterator[Show]:
    with display().screen() as show:

        def view(now: str, answers: Sequence[StatusReply]) -> None:
            head: Block = line(f"{now}, every {seconds:g} s")
            show([head, *status_report.blocks(answers, every_group=every_group)])

        yield view


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the process in order, so that the terminal is left as it was."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
