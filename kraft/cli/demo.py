"""`kraft demo`: runs a cluster of real nodes on this machine, in the foreground.

Each node is an ordinary `twistd -n kraft --config DIR/Ki/kraft.yaml`, so everything that works on a real node
(kill it, start it again, edit its file) works on these nodes too, from another terminal.
"""

import argparse
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kraft.cli import arguments, growth
from kraft.cli.children import Children
from kraft.cli.local_cluster import (
    BASE_PORT_DEFAULT,
    BASE_PORT_MAX,
    NODES_DEFAULT,
    NODES_MAX,
    LocalNode,
    find_or_create,
    shown,
)
from kraft.cli.membership import ClusterMembership
from kraft.cli.output.blocks import COMMAND, DIM, EMPTY, GOOD, STRONG, WARN, Block, Line, Span, line
from kraft.cli.output.display import Display, display
from kraft.config.values import GROUPS_MAX
from kraft.process.signals import ignore_strays

COMMENT_COLUMN = 48  # of what stands beside commands to try
DESCRIPTION = """\
Starts a cluster on this machine and stays in the foreground. Node i is called Ki, keeps its files in DIR/Ki
and listens on the loopback ports P+i (peers), P+10+i (clients) and P+20+i (HTTP), where P is the base port.
When the cluster serves writes, a line `ready` lists the client addresses. DIR keeps the data and the ports:
the next run continues where this one stopped. Ctrl-C or SIGTERM stops all nodes.

--nodes, --groups, --base-port and --tls apply only to a new DIR. --add, in another terminal, adds a node to a
running cluster. A node that is removed with KRAFT REMOVE is stopped and not started again.
"""

EXAMPLES = """\
examples:
  kraft demo                                     three nodes, ports 10001 to 10023, files in ./kraft-demo
  kraft demo --nodes 5 --dir /tmp/five --base-port 20000
  kraft demo --groups 3 --dir /tmp/three         three leaders, one for each third of the keys
  kraft demo --tls --dir /tmp/tls                TLS on all ports; the CA is in /tmp/tls/certs
  kill -9 "$(cat kraft-demo/K1/twistd.pid)"      from another terminal: the cluster goes on
  kraft demo --add                               from another terminal: one more node
  rm -r kraft-demo                               delete the cluster and its data

files, for each node:
  DIR/Ki/kraft.yaml   its configuration          DIR/Ki/data/      its log and state
  DIR/Ki/twistd.pid   its process id             DIR/Ki/kraft.log  its output
  DIR/Ki/removed      exists if the node was removed from the cluster
  DIR/certs/          with --tls: the CA and the certificates, as `kraft certs --dir DIR/certs` lists them

exit status: 0 after Ctrl-C or SIGTERM, or when the node is added; 1 on failure; 2 wrong usage
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--nodes",
        type=arguments.whole(1, NODES_MAX),
        metavar="N",
        help=f"number of nodes, 1 to {NODES_MAX} (default {NODES_DEFAULT})",
    )
    parser.add_argument(
        "--groups",
        type=arguments.whole(1, GROUPS_MAX),
        metavar="N",
        help=f"number of Raft groups, 1 to {GROUPS_MAX} (default 1); docs/groups.md",
    )
    size.add_argument("--add", action="store_true", help="add a node to the running cluster in DIR")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("kraft-demo"),
        metavar="DIR",
        help="directory of the cluster (default ./kraft-demo)",
    )
    parser.add_argument(
        "--base-port",
        type=arguments.whole(1, BASE_PORT_MAX),
        metavar="P",
        help=f"base port (default {BASE_PORT_DEFAULT})",
    )
    parser.add_argument(
        "--tls", action="store_true", help="TLS on all ports, by certificates made for this cluster"
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the cluster until a signal stops it, or add a node. Returns the exit status."""
    folder = chosen.dir.absolute()
    out = display()
    say = partial(_say, out)
    if chosen.add:
        node, members = growth.add_node(folder, chosen.base_port, out)
        say(*added(node, members))
        return 0
    ignore_strays()
    nodes = find_or_create(folder, chosen.nodes, chosen.base_port, chosen.groups, tls=chosen.tls)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: stop.set())
    for node in nodes:
        if node.standby and not node.data.exists():
            say(line(Span(_without_data(node), WARN)))
    children = Children(folder, nodes, say)
    try:
        children.start()
        if _serving(children, stop, out):
            say(*ready(nodes))
            children.watch(stop)
    finally:
        children.stop()
    return 0


def _serving(children: Children, stop: threading.Event, out: Display) -> bool:
    """Whether the cluster serves writes; False if asked to stop before."""
    with out.busy() as doing:
        doing("starting " + " ".join(node.id for node in children.nodes))
        return children.wait_until_serving(stop, doing)


def _without_data(node: LocalNode) -> str:
    """What to do about a node whose data was deleted, or that was never added."""
    return (
        f"{node.id} has no data and waits in standby. If the cluster still counts it as a member:"
        f" KRAFT REPLACE {node.id} {node.id} 127.0.0.1 {node.peer_port}; if not: kraft demo --add"
    )


def ready(nodes: list[LocalNode]) -> Iterator[Line]:
    """The line that scripts wait for, and commands to try."""
    first, last, tls = nodes[0], nodes[-1], _tls_options(nodes[0])
    addresses = " ".join(f"{node.id}=127.0.0.1:{node.client_port}" for node in nodes)
    yield line(Span("ready", GOOD), f" {addresses}")
    yield EMPTY
    yield line("Try, in another terminal:")
    yield _try(f"redis-cli{tls} -p {first.client_port} set greeting hello")
    yield _try(f"redis-cli{tls} -p {last.client_port} get greeting", "# any node answers")
    if first.ca is None:
        yield _try(f"printf 'incr visits\\r\\nquit\\r\\n' | nc 127.0.0.1 {first.client_port}")
    else:
        ca = shlex.quote(shown(first.ca))
        yield _try(f"curl --cacert {ca} https://127.0.0.1:{first.http_port}/readyz")
    shell = f"{_this_command()} shell{tls} {first.client_port}"
    yield _try(shell, "# goes on when a node dies")
    yield _try(f"{_this_command()} status{tls} 127.0.0.1:{first.http_port}")
    yield _try(f"{_this_command()} demo --add --dir {shlex.quote(shown(first.folder.parent))}")
    if len(nodes) > 2:  # else those that are left have no majority
        kill = f'kill -9 "$(cat {shlex.quote(shown(first.pidfile))})"'
        yield _try(kill, "# the others go on")
    page, note = f"http://127.0.0.1:{last.http_port}/", ""
    if tls:
        page, note = page.replace("http", "https"), "    # browsers do not know the CA: import it, or go on"
    yield line("Status page: ", Span(page, COMMAND), Span(note, DIM))
    yield line(f"Files are in {shown(first.folder.parent)}. Ctrl-C stops all nodes.")


def added(node: LocalNode, members: ClusterMembership) -> Iterator[Line]:
    """That the node votes, and commands to try."""
    voters, port, tls = members.voters, members.address[1], _tls_options(node)
    count = f"{len(voters)} voters ({' '.join(voters)})"
    told, down = growth.outlook(node, members)
    yield line(Span(node.id, STRONG), Span(" votes", GOOD), f": {count}; {told}")
    yield EMPTY
    yield line("Try:")
    yield _try(f"redis-cli{tls} -p {node.client_port} get greeting")
    yield _try(f"{_this_command()} status{tls} 127.0.0.1:{node.http_port}")
    leaver = down[0] if down else node.id
    remove = f"printf 'kraft remove {leaver}\\r\\nquit\\r\\n' | nc 127.0.0.1 {port}"
    if tls:
        remove = f"redis-cli{tls} -p {port} kraft remove {leaver}"
    yield _try(remove, f"# if {leaver} stays down for good" if down else "# takes it out again")


def _tls_options(node: LocalNode) -> str:
    """What commands that ask the node need, of redis-cli and of kraft."""
    return "" if node.ca is None else f" --tls --cacert {shlex.quote(shown(node.ca))}"


def _try(command: str, comment: str = "") -> Line:
    gap = " " * max(COMMENT_COLUMN - len(command), 2) if comment else ""
    return line("  ", Span(command, COMMAND), gap, Span(comment, DIM))


def _this_command() -> str:
    """How the user can call `kraft` again: by name if the search path leads there, else by its path."""
    program = sys.argv[0]
    if os.sep not in program or shutil.which("kraft") == program:
        return "kraft"
    path = shown(Path(program))
    return shlex.quote(path if os.sep in path else f"./{path}")


def _say(out: Display, *blocks: Block) -> None:
    """Print blocks. The nodes do not depend on the reader of the output (`| head`)."""
    try:
        out.show(*blocks)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
