"""The processes of a demonstration cluster, from start to stop.

The directory of the cluster defines its nodes, so that another command can add one. The cluster itself knows
which of them have been removed.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from kraft.cli import membership
from kraft.cli.failure import Failure
from kraft.cli.http_access import PLAIN, HttpAccess
from kraft.cli.local_cluster import LocalNode, find, http_access, present, shown
from kraft.cli.membership import ClusterMembership
from kraft.cli.notices import NodeNotices
from kraft.cli.output.blocks import BAD, COMMAND, STRONG, WARN, Span, line
from kraft.process.supervision import DEMO_VARIABLE

WATCH_INTERVAL_SECONDS = 0.1
MEMBERS_INTERVALS = 10  # between two requests for the members of the cluster
ABSENT_TWICE = 2  # times in a row that a node is missing before it counts as removed: an old leader may err
PATIENCE_SECONDS = 10.0  # before a hint; a long log may still be replaying
STOP_SECONDS = 15.0  # for a node to answer pending requests and close its database; then it is killed
PROBE_SECONDS = 3.0  # longer than client.leader_wait, so that the node can answer

Say = Callable[..., None]  # of blocks


class Departures:
    """Detects nodes that were removed from the cluster, from repeated lists of its members.

    A standby node that was never a member waits to be added; it was not removed.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._absent: dict[str, int] = {}

    def look(self, nodes: Iterable[LocalNode], members: ClusterMembership) -> list[LocalNode]:
        """The nodes that are no longer members."""
        gone = []
        for node in nodes:
            if node.id in members.kinds:
                self._seen.add(node.id)
                self._absent.pop(node.id, None)
            elif node.id in self._seen or not node.standby:
                self._absent[node.id] = self._absent.get(node.id, 0) + 1
                if self._absent[node.id] >= ABSENT_TWICE:
                    gone.append(node)
        self._seen.difference_update(node.id for node in gone)
        return gone


class Children:
    """The processes of the nodes that this command started and that have not ended."""

    def __init__(self, folder: Path, nodes: Iterable[LocalNode], say: Say) -> None:
        self.nodes = list(nodes)
        self._access = http_access(self.nodes)
        self._folder = folder
        self._say = say
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._leaving: list[subprocess.Popen[bytes]] = []  # asked to stop, because their nodes were removed
        self._departures = Departures()
        self._notices = NodeNotices(node.id for node in self.nodes)

    def start(self) -> None:
        """Start all nodes in sessions of their own, so that Ctrl-C does not reach them before `stop` does."""
        for node in self.nodes:
            self._start(node)

    def _start(self, node: LocalNode) -> None:
        # The ports are free, so a pid file is stale. But its number may belong to another process by now, and
        # then twistd would refuse to start.
        node.pidfile.unlink(missing_ok=True)
        with node.log.open("ab") as log:
            self._processes[node.id] = subprocess.Popen(  # noqa: S603 - our own twistd, arguments made here
                node.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    **self._notices.environment(node.id),
                    DEMO_VARIABLE: str(self._folder.absolute()),
                },
            )

    def wait_until_serving(self, stop: threading.Event, doing: Callable[[str], object]) -> bool:
        """Wait until any node serves. Returns False if asked to stop; raises Failure if a node ends.

        `doing` is told what the nodes say about their start.
        """
        try:
            return self._wait_until_serving(stop, doing)
        finally:
            self._notices.close()

    def _wait_until_serving(self, stop: threading.Event, doing: Callable[[str], object]) -> bool:
        waited = 0.0
        while not stop.is_set():
            for node, outcome in self._ended():
                raise Failure(
                    f"{node.id} {outcome} at start: {last_line(node.log)} (full output: {node.log})"
                )
            if any(serves(node.http_port, self._access) for node in self.nodes):
                return True
            if told := self._notices.latest():
                doing("starting: " + "; ".join(f"{id_} {text}" for id_, text in told.items()))
            stop.wait(WATCH_INTERVAL_SECONDS)
            if waited < PATIENCE_SECONDS <= (waited := waited + WATCH_INTERVAL_SECONDS):
                log = shown(self.nodes[0].log)
                hint = f"still waiting for a leader; see {log} and the logs of the other nodes"
                self._say(line(Span(hint, WARN)))
        return False

    def watch(self, stop: threading.Event) -> None:
        """Until asked to stop: report nodes that end, start new nodes, and stop removed ones.

        A node that was started by hand is not watched.
        """
        rounds = 0
        while not stop.wait(WATCH_INTERVAL_SECONDS):
            for node, outcome in self._ended():
                self._say(
                    line(Span(f"{node.id} {outcome}", BAD), ". Start it again, in another terminal:"),
                    line("  ", Span(node.typed, COMMAND)),
                )
            self._start_added()
            rounds += 1
            if rounds % MEMBERS_INTERVALS == 0:
                self._let_go()

    def _start_added(self) -> None:
        known = {node.id for node in self.nodes}
        if present(self._folder) <= known:
            return
        try:
            added = [node for node in find(self._folder) if node.id not in known]
        except Failure:
            return  # a file is being edited; the next start of a demo reports its problems
        for node in added:
            self._say(line(Span(node.id, STRONG), " is new: started"))
            self.nodes.append(node)
            self._start(node)

    def _let_go(self) -> None:
        members = membership.ask((f"127.0.0.1:{node.http_port}" for node in self.nodes), self._access)
        if members is None:
            return
        for node in self._departures.look(self.nodes, members):
            node.removed.write_text("Not started any more. Delete the folder to use its name again.\n")
            self.nodes.remove(node)
            if process := self._processes.pop(node.id, None):
                process.terminate()
                self._leaving.append(process)
            elif pid := restarted_by_hand(node):
                terminate(pid)
            told = f" was removed from the cluster and is stopped; {shown(node.folder)} stays"
            self._say(line(Span(node.id, STRONG), told))

    def stop(self) -> None:
        """Stop all nodes, also those that were restarted by hand; kill those that do not stop in time."""
        if self._processes:
            self._say(line("stopping " + " ".join(self._processes)))
        for node in self.nodes:
            if process := self._processes.get(node.id):
                process.terminate()
            elif pid := restarted_by_hand(node):
                terminate(pid)
        for process in (*self._processes.values(), *self._leaving):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                told = f"process {process.pid} did not stop within {STOP_SECONDS:.0f}s and was killed"
                self._say(line(Span(told, WARN)))
                process.kill()
                process.wait()

    def _ended(self) -> list[tuple[LocalNode, str]]:
        """Nodes whose process has ended since the last call, and how."""
        ended = []
        for node in self.nodes:
            process = self._processes.get(node.id)
            if process and (status := process.poll()) is not None:
                del self._processes[node.id]
                ended.append((node, _outcome(status)))
        self._leaving = [process for process in self._leaving if process.poll() is None]
        return ended


def serves(http_port: int, access: HttpAccess = PLAIN) -> bool:
    """Whether the node with this HTTP port serves its clients now: it can read every group linearizably.

    A leader answers such reads once a majority has logged an entry of its term. No client command is sent, so
    the node's figures show only what its users do.
    """
    connection = access.connection("127.0.0.1", http_port, PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz?sync")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def terminate(pid: int) -> None:
    """SIGTERM for a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def restarted_by_hand(node: LocalNode) -> int | None:
    """The id of the process of this node, if somebody restarted it and /proc shows it."""
    try:
        pid = int(node.pidfile.read_text())
        folder = Path(f"/proc/{pid}/cwd").readlink()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if any(folder / os.fsdecode(each) == node.config for each in arguments) else None


def last_line(log: Path) -> str:
    """The last line that is not empty, within the last 4 KiB."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def _outcome(status: int) -> str:
    """A result of `Popen.poll` in words."""
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
