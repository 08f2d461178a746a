"""`kraft demo`: runs a cluster of real nodes on this machine, in the foreground.

Each node is an ordinary `twistd -n kraft --config DIR/Ki/kraft.yaml`, so everything that works on a real node
(kill it, start it again, edit its file) works on these nodes too, from another terminal.
"""

import argparse
import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from kraft.cli import growth
from kraft.cli.children import Children
from kraft.cli.local_cluster import (
    BASE_PORT_DEFAULT,
    BASE_PORT_MAX,
    NODES_DEFAULT,
    NODES_MAX,
    LocalNode,
    find_or_create,
)
from kraft.cli.membership import ClusterMembership
from kraft.process.signals import ignore_strays

DESCRIPTION = """\
Starts a cluster on this machine and stays in the foreground. Node i is called Ki, keeps its files in DIR/Ki
and listens on the loopback ports P+i (peers), P+10+i (clients) and P+20+i (HTTP), where P is the base port.
When the cluster serves writes, a line `ready` lists the client addresses. DIR keeps the data and the ports:
the next run continues where this one stopped. Ctrl-C or SIGTERM stops all nodes.

--nodes and --base-port apply only to a new DIR. --add, in another terminal, adds a node to a running cluster.
A node that is removed with KRAFT REMOVE is stopped and not started again.
"""

EXAMPLES = """\
examples:
  kraft demo                                     three nodes, ports 10001 to 10023, files in ./kraft-demo
  kraft demo --nodes 5 --dir /tmp/five --base-port 20000
  kill -9 "$(cat kraft-demo/K1/twistd.pid)"      from another terminal: the cluster goes on
  kraft demo --add                               from another terminal: one more node
  rm -r kraft-demo                               delete the cluster and its data

files, for each node:
  DIR/Ki/kraft.yaml   its configuration          DIR/Ki/data/      its log and state
  DIR/Ki/twistd.pid   its process id             DIR/Ki/kraft.log  its output
  DIR/Ki/removed      exists if the node was removed from the cluster

exit status: 0 after Ctrl-C or SIGTERM, or when the node is added; 1 on failure; 2 wrong usage
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "demo",
        help="run a cluster on this machine",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--nodes",
        type=_number(1, NODES_MAX),
        metavar="N",
        help=f"number of nodes, 1 to {NODES_MAX} (default {NODES_DEFAULT})",
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
        type=_number(1, BASE_PORT_MAX),
        metavar="P",
        help=f"base port (default {BASE_PORT_DEFAULT})",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the cluster until a signal stops it, or add a node. Returns the exit status."""
    folder = chosen.dir.absolute()
    if chosen.add:
        node, members = growth.add_node(folder, chosen.base_port, _say)
        announce_added(node, members)
        return 0
    ignore_strays()
    nodes = find_or_create(folder, chosen.nodes, chosen.base_port)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: stop.set())
    for node in nodes:
        if node.standby and not node.data.exists():
            _say(_without_data(node))
    children = Children(folder, nodes, _say)
    try:
        children.start()
        if children.wait_until_serving(stop):
            announce(nodes)
            children.watch(stop)
    finally:
        children.stop()
    return 0


def _without_data(node: LocalNode) -> str:
    """What to do about a node whose data was deleted, or that was never added."""
    return (
        f"{node.id} has no data and waits in standby. If the cluster still counts it as a member:"
        f" KRAFT REPLACE {node.id} {node.id} 127.0.0.1 {node.peer_port}; if not: kraft demo --add"
    )


def announce(nodes: list[LocalNode]) -> None:
    """Print the line that scripts wait for, and commands to try."""
    first, last = nodes[0], nodes[-1]
    _say("ready " + " ".join(f"{node.id}=127.0.0.1:{node.client_port}" for node in nodes))
    _say(f"""
Try, in another terminal:
  redis-cli -p {first.client_port} set greeting hello
  redis-cli -p {last.client_port} get greeting                # any node answers
  printf 'incr visits\\r\\nquit\\r\\n' | nc 127.0.0.1 {first.client_port}
  {_this_command()} status 127.0.0.1:{first.http_port}
  {_this_command()} demo --add --dir {shlex.quote(_shown(first.folder.parent))}
  kill -9 "$(cat {shlex.quote(_shown(first.pidfile))})"    # the others go on
Files are in {_shown(first.folder.parent)}. Ctrl-C stops all nodes.""")


def announce_added(node: LocalNode, members: ClusterMembership) -> None:
    """Print that the node votes, and commands to try."""
    voters, port = members.voters, members.address[1]
    _say(f"""{node.id} votes: {len(voters)} voters ({" ".join(voters)}); {growth.tolerance(node, members)}

Try:
  redis-cli -p {node.client_port} get greeting
  {_this_command()} status 127.0.0.1:{node.http_port}
  printf 'kraft remove {node.id}\\r\\nquit\\r\\n' | nc 127.0.0.1 {port}    # takes it out again""")


def _this_command() -> str:
    """How the user called `kraft`: by name, or by a path."""
    return "kraft" if os.sep not in sys.argv[0] else shlex.quote(_shown(Path(sys.argv[0])))


def _shown(path: Path) -> str:
    """A path as a person would type it: relative if it is below the working directory."""
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)


def _number(least: int, most: int) -> Callable[[str], int]:
    """An argparse type: a whole number in a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return value

    return parse


def _say(text: str) -> None:
    """Print a line. The nodes do not depend on the reader of the output (`| head`)."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
