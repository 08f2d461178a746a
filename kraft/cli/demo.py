"""`kraft demo`: a cluster of real nodes on this machine, in the foreground.

Each node is an ordinary `twistd -n kraft --config DIR/Ki/kraft.yaml`, so everything that can be done to a
real node (kill it, start it again, edit its file) can be done to these from another terminal.
"""

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from kraft.cli.failure import Failure
from kraft.cli.local_cluster import (
    BASE_PORT_DEFAULT,
    BASE_PORT_MAX,
    NODES_DEFAULT,
    NODES_MAX,
    Node,
    find_or_create,
    refuse_taken_ports,
)

WATCH_INTERVAL_SECONDS = 0.1
PATIENCE_SECONDS = 10.0  # then it says where to look; a long log may still be replaying
STOP_SECONDS = 15.0  # a node answers what is pending and closes its database; then it is killed
PROBE_SECONDS = 3.0  # longer than client.leader_wait, so that a node's own answer is seen

DESCRIPTION = """\
Starts a cluster on this machine and stays in the foreground. Node i is called Ki, keeps its files in DIR/Ki
and listens on the loopback ports P+i (peers), P+10+i (clients) and P+20+i (HTTP), P being the base port.
When the cluster serves writes, one line `ready` lists the client addresses. DIR keeps data and ports: the
next run continues where this one ended. Ctrl-C or SIGTERM stops all nodes.

--nodes and --base-port count only when DIR is new.
"""

EXAMPLES = """\
examples:
  kraft demo                                     three nodes, ports 10001 to 10023, files in ./kraft-demo
  kraft demo --nodes 5 --dir /tmp/five --base-port 20000
  kill -9 "$(cat kraft-demo/K1/twistd.pid)"      from another terminal: watch it go on
  rm -r kraft-demo                               forget the cluster and its data

files, for each node:
  DIR/Ki/kraft.yaml   its configuration          DIR/Ki/data/      its log and state
  DIR/Ki/twistd.pid   its process id             DIR/Ki/kraft.log  what it printed

exit status: 0 after Ctrl-C or SIGTERM, 1 when the cluster cannot start, 2 wrong usage
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
    parser.add_argument(
        "--nodes",
        type=_number(1, NODES_MAX),
        metavar="N",
        help=f"how many, 1 to {NODES_MAX} (default {NODES_DEFAULT})",
    )
    parser.add_argument(
        "--dir", type=Path, default=Path("kraft-demo"), metavar="DIR", help="its files (default ./kraft-demo)"
    )
    parser.add_argument(
        "--base-port",
        type=_number(1, BASE_PORT_MAX),
        metavar="P",
        help=f"ports start after it (default {BASE_PORT_DEFAULT})",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the cluster until a signal asks to stop."""
    nodes = find_or_create(chosen.dir.absolute(), chosen.nodes, chosen.base_port)
    refuse_taken_ports(nodes)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    children = Children(nodes)
    try:
        children.start()
        if children.wait_until_serving(stop):
            announce(nodes)
            children.watch(stop)
    finally:
        children.stop()
    return 0


class Children:
    """The processes of the nodes, as far as this command started them and has not seen them end."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all, away from this terminal's Ctrl-C: they are stopped in order, by `stop`."""
        for node in self.nodes:
            # No node can be behind an old pid file, as the ports are free; but its number may be in use
            # again, and then twistd would refuse to start.
            node.pidfile.unlink(missing_ok=True)
            with node.log.open("ab") as log:
                self._processes[node.id] = subprocess.Popen(  # noqa: S603 - our own twistd, arguments made here
                    node.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )

    def wait_until_serving(self, stop: threading.Event) -> bool:
        """Wait until a write succeeds on any node. False: asked to stop; Failure: a node ended first."""
        waited = 0.0
        while not stop.is_set():
            for node, outcome in self._ended():
                raise Failure(f"{node.id} {outcome} at start: {last_line(node.log)} (all of it: {node.log})")
            if any(serves_writes(node.client_port) for node in self.nodes):
                return True
            stop.wait(WATCH_INTERVAL_SECONDS)
            if waited < PATIENCE_SECONDS <= (waited := waited + WATCH_INTERVAL_SECONDS):
                _say(f"still waiting for a leader; see {self.nodes[0].log} and its neighbours")
        return False

    def watch(self, stop: threading.Event) -> None:
        """Report each node that dies, until asked to stop; one started by hand is its starter's to watch."""
        while not stop.wait(WATCH_INTERVAL_SECONDS):
            for node, outcome in self._ended():
                command = shlex.join(node.command)
                _say(f"{node.id} {outcome}. Start it again, in another terminal:\n  {command}")

    def stop(self) -> None:
        """Ask all nodes to stop, also those started again by hand; kill what has not gone in time."""
        if self._processes:
            _say("stopping " + " ".join(self._processes))
        for node in self.nodes:
            if process := self._processes.get(node.id):
                process.terminate()
            elif pid := restarted_by_hand(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        for name, process in self._processes.items():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _say(f"{name} did not stop within {STOP_SECONDS:.0f}s and was killed")
                process.kill()
                process.wait()

    def _ended(self) -> list[tuple[Node, str]]:
        """Nodes whose process has ended since the last call, and how; they leave the watch."""
        ended = []
        for node in self.nodes:
            process = self._processes.get(node.id)
            if process and (status := process.poll()) is not None:
                del self._processes[node.id]
                ended.append((node, _outcome(status)))
        return ended


def serves_writes(client_port: int) -> bool:
    """Whether a write through this port commits now.

    `SET ... XX` of a key that nobody has goes through the log like any write and leaves nothing behind.
    """
    try:
        with socket.create_connection(("127.0.0.1", client_port), PROBE_SECONDS) as connection:
            connection.sendall(b"SET kraft:demo:probe 1 XX\r\n")
            return connection.recv(64).startswith((b"$-1", b"+OK"))
    except OSError:
        return False


def announce(nodes: list[Node]) -> None:
    """The line that scripts wait for, and what a person may try next."""
    first, last = nodes[0], nodes[-1]
    _say("ready " + " ".join(f"{node.id}=127.0.0.1:{node.client_port}" for node in nodes))
    _say(f"""
Try, in another terminal:
  redis-cli -p {first.client_port} set greeting hello
  redis-cli -p {last.client_port} get greeting                # any node answers
  printf 'incr visits\\r\\nquit\\r\\n' | nc 127.0.0.1 {first.client_port}
  {_this_command()} status 127.0.0.1:{first.http_port}
  kill -9 "$(cat {shlex.quote(_shown(first.pidfile))})"    # the others go on
Files are in {_shown(first.folder.parent)}. Ctrl-C stops all nodes.""")


def restarted_by_hand(node: Node) -> int | None:
    """The process of this very node that somebody started after its first one died, where /proc can tell."""
    try:
        pid = int(node.pidfile.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(node.config) in arguments else None


def last_line(log: Path) -> str:
    """The last line with text in it, of the last 4 KiB."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def _outcome(status: int) -> str:
    """What `Popen.poll` says, in words."""
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _this_command() -> str:
    """How the user called `kraft`: the name alone when it is on PATH, else the way to it."""
    return "kraft" if os.sep not in sys.argv[0] else shlex.quote(_shown(Path(sys.argv[0])))


def _shown(path: Path) -> str:
    """A path as a person would type it here: relative when it is below the working folder."""
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
    print(text, flush=True)
