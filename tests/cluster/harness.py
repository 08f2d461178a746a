"""Real nodes for tests: `twistd` processes on free ports, driven by signals, watched through their own ports.

Nothing waits for a fixed time: `wait_until` polls a condition and fails with its name at a deadline.
"""

import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.cluster.fork_server import ForkedProcess, fork_server
from tests.cluster.wire import Client, Refusal

TWISTD = Path(sysconfig.get_path("scripts")) / "twistd"
ELECTION_TIMEOUT_MAX = 1.0  # seconds: twice the default raft.election_timeout
START_DEADLINE = 60.0  # seconds for three interpreters to start on a very busy two-core machine
POLL_SECONDS = 0.02
ORDER_TIMEOUT = 40.0  # seconds: above the half minute that an administrator's command may take

# Below the ports that systems give to outgoing connections, and below those of bench/.
PORT_FIRST, PORT_END = 12_000, 20_000
_Result = TypeVar("_Result")


def _own_ports() -> Iterator[int]:
    """Ports for ever, none that another worker of the same run would try; two runs at once seldom meet."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = (PORT_END - PORT_FIRST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = PORT_FIRST + worker * count
    begun = os.getpid() * 37 % count
    return itertools.cycle([*range(first + begun, first + count), *range(first, first + begun)])


_ports = _own_ports()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, none handed out twice in a row."""
    found: list[int] = []
    while len(found) < count:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


def wait_until(
    condition: Callable[[], _Result | None], what: str, deadline: float = START_DEADLINE
) -> _Result:
    """Poll until `condition` gives something true, and return that; fail after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g}s: {what}")
        time.sleep(POLL_SECONDS)


def crowding() -> float:
    """How many processes want each core, disks included, in the last minute; at least 1.

    A bound on a time is for a machine that has a core for everything that runs: multiplied by this, it also
    holds on a busy one.
    """
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def maps(reply: Any) -> list[dict[str, Any]]:
    """A RESP2 reply that is a list of maps, with text for bytes."""
    assert not isinstance(reply, Refusal), reply
    return [
        {
            key.decode(): value.decode() if isinstance(value, bytes) else value
            for key, value in zip(each[::2], each[1::2], strict=True)
        }
        for each in reply
    ]


class Server:
    """One node: its files, its ports, and its process when there is one."""

    def __init__(self, name: str, folder: Path, ports: Sequence[int]) -> None:
        self.id = name
        self.folder = folder
        self.peer_port, self.client_port, self.http_port = ports
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.paused = False
        self.reactor = ""  # twistd's --reactor, "" for kraft's choice
        self.security: ssl.SSLContext | None = None  # to ask its ports by TLS
        self.token = ""  # to ask its HTTP port
        self.library: Path | None = None  # an installed kraft to run in place of this checkout
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        return self.folder / "kraft.yaml"

    @property
    def output(self) -> str:
        """Everything that its processes have printed."""
        log = self.folder / "kraft.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """What its processes have told under this name."""
        mark = f'"event":"{name}"'
        return [json.loads(line) for line in self.output.splitlines() if mark in line and line[-1] == "}"]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def configure(self, members: Mapping[str, str], **sections: Mapping[str, Any]) -> None:
        """Write its YAML; `sections` are laid over what the harness needs."""
        config: dict[str, dict[str, Any]] = {
            "node": {"id": self.id, "data": str(self.data)},
            "cluster": {"members": dict(members)},
            "peer": {"listen": f"tcp:{self.peer_port}:interface=127.0.0.1"},
            "client": {"listen": f"tcp:{self.client_port}:interface=127.0.0.1"},
            "http": {"listen": f"tcp:{self.http_port}:interface=127.0.0.1"},
        }
        for section, options in sections.items():
            config.setdefault(section, {}).update(options)
        self.config.write_text(yaml.safe_dump(config))

    @property
    def program(self) -> list[str]:
        """Runs a node in the foreground, with the options that follow."""
        reactor = ["--reactor", self.reactor] if self.reactor else []
        return [str(TWISTD), "-n", "--pidfile=", *reactor, "kraft"]

    @property
    def command(self) -> list[str]:
        """Starts it with its file."""
        return [*self.program, "--config", str(self.config)]

    def start(self, *arguments: str, under: Sequence[str | Path] = ()) -> None:
        """Start the process, with `--config` its own file unless other arguments are given.

        `under` is a program, with its arguments, that starts it: prlimit, say. Without one it is a fork where
        that is the same.
        """
        assert not self.running, f"{self.id} runs already"
        command = [*self.program, *arguments] if arguments else self.command
        environment = os.environ | ({"PYTHONPATH": str(self.library)} if self.library else {})
        with (self.folder / "kraft.log").open("ab") as log:
            if not under and fork_server().can_start(environment):
                self.process = fork_server().start(command, self.folder, environment, log)
            else:
                self.process = subprocess.Popen(
                    [*under, *command],
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def kill(self) -> None:
        """As a crash: SIGKILL, then wait until the process is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.paused = False

    def terminate(self) -> None:
        """SIGTERM, and an orderly end."""
        assert self.process is not None
        self.process.terminate()
        self.wait_stopped()

    def wait_stopped(self, deadline: float = START_DEADLINE) -> None:
        """Wait for the end of a process that got SIGTERM, and look at the order of its stop.

        twistd ends by the very signal once all is done, so the status alone would not tell this from a crash.
        """
        assert self.process is not None
        assert self.process.wait(deadline) in (0, -signal.SIGTERM)
        said = self.output.splitlines()[-10:]
        assert any("node_stopped" in line for line in said), said

    def pause(self) -> None:
        """SIGSTOP: the process exists, its ports accept, nothing answers."""
        self.paused = True
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.paused = False
        os.kill(self.pid, signal.SIGCONT)

    def exit_status(self, deadline: float = START_DEADLINE) -> int:
        """Wait for the process to end by itself."""
        assert self.process is not None
        return self.process.wait(deadline)

    def client(self, timeout: float = 30.0) -> Client:
        """A new connection to its client port."""
        return Client(self.client_port, timeout, self.security)

    def ask(self, *command: str | bytes | int) -> Any:
        """One command on a connection of its own; a Refusal is returned, not raised."""
        with self.client() as client:
            return client.call(*command)

    def order(self, *words: str | int) -> Any:
        """The answer to one KRAFT command."""
        with self.client(ORDER_TIMEOUT) as client:
            return client.call("KRAFT", *words)

    def serves_writes(self) -> bool:
        """Whether a write through this node is acknowledged now; it leaves no key behind."""
        try:
            return not isinstance(self.ask("SET", "harness:probe", "1", "XX"), Refusal)
        except OSError:
            return False

    def wait_serving(self, deadline: float = START_DEADLINE) -> None:
        """Wait until a write through this node is acknowledged; fail at once when its process ends."""

        def serves() -> bool:
            assert self.running, f"{self.id} ended: {self.output[-2000:]}"
            return self.serves_writes()

        wait_until(serves, f"{self.id} serves writes", deadline)

    def status(self) -> dict[str, Any] | None:
        """Its /status, or None when it does not answer with one."""
        connection = self._http()
        try:
            shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request("GET", "/status", headers=shown)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def wait_listening(self) -> None:
        """Wait until its HTTP port answers, which is opened last; or until it has ended."""
        wait_until(lambda: self.status() or not self.running, f"{self.id} listens")

    def _http(self) -> http.client.HTTPConnection:
        if self.security is None:
            return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        return http.client.HTTPSConnection("127.0.0.1", self.http_port, timeout=20, context=self.security)

    def problem(self) -> str:
        """Why it cannot serve, by its own word; '' also when it does not answer."""
        return str((self.status() or {}).get("problem", ""))

    def first_index(self) -> int:
        """Where its log begins."""
        return int(self.group().get("first_index", 0))

    def group(self) -> dict[str, Any]:
        """Its view of group 0; {} when there is none."""
        status = self.status()
        groups = status["groups"] if status else []
        return dict(groups[0]) if groups else {}

    def resident_bytes(self) -> int:
        """Memory of the process that is in use now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Cluster:
    """Servers K1, K2, ... that list each other."""

    def __init__(self, folder: Path, count: int = 3, **sections: Mapping[str, Any]) -> None:
        ports = free_ports(3 * count)
        self._folder = folder
        self._sections = sections
        self.servers = {
            f"K{i + 1}": Server(f"K{i + 1}", folder / f"K{i + 1}", ports[3 * i : 3 * i + 3])
            for i in range(count)
        }
        self.members = {name: f"127.0.0.1:{server.peer_port}" for name, server in self.servers.items()}
        for server in self:
            server.configure(self.members, **sections)

    def __iter__(self) -> Iterator[Server]:
        return iter(self.servers.values())

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def start(self) -> None:
        """Start all that do not run, and wait until every one of them serves all that it supports."""
        for server in self:
            if not server.running:
                server.start()
        self.wait_serving()
        wait_until(self._version_is_raised, "the machine version is raised")

    def _version_is_raised(self) -> bool:
        """Whether every node knows that what all of them support is in force."""
        known = [server.status() or {} for server in self]
        raised = min(each.get("machine_version_supported", 0) for each in known)
        return all(each.get("machine_version", 0) >= raised for each in known)

    def standby(self, *names: str, **sections: Any) -> list[Server]:
        """New nodes that wait to be added, configured as the others but for `sections`, and started."""
        for name in names:
            self.servers[name] = Server(name, self._folder / name, free_ports(3))
            self.wait_for_addition(self.servers[name], **sections)
        return [self.servers[name] for name in names]

    def wait_for_addition(self, server: Server, **sections: Any) -> None:
        """Start `server`, which has no data, in standby, and wait until its ports are open."""
        standby = {"members": {}, "standby": True}
        server.configure({}, **{**self._sections, **sections, "cluster": standby})
        server.start()
        server.wait_listening()

    def wait_serving(self, *servers: Server, deadline: float = START_DEADLINE) -> None:
        """Wait until writes through each of `servers` are acknowledged; all running ones if none is given."""
        for server in servers or [each for each in self if each.running]:
            server.wait_serving(deadline)

    def leader(self) -> Server:
        """The node that leads group 0 by its own word, once there is one."""

        def find() -> Server | None:
            leaders = [
                (view["term"], each) for each in self if (view := self._view(each)).get("role") == "leader"
            ]
            return max(leaders, key=lambda found: found[0])[1] if leaders else None

        return wait_until(find, "a node leads")

    @staticmethod
    def _view(server: Server) -> dict[str, Any]:
        return server.group() if server.running and not server.paused else {}

    def followers(self) -> list[Server]:
        """All but the leader."""
        leader = self.leader()
        return [server for server in self if server is not leader]

    def order(self, *words: str | int, asked: Server | None = None) -> Any:
        """The answer to one KRAFT command, given to `asked`, or to the leader."""
        return (asked or self.leader()).order(*words)

    def insist(self, *words: str | int, over: Callable[[], bool]) -> None:
        """Give a KRAFT command until it is done, or `over` says so: its node may be killed meanwhile.

        Only an answer that allows a repetition leads to one.
        """
        while not over():
            try:
                answer = self.order(*words)
            except OSError:
                continue
            if answer == "OK":
                return
            assert answer.prefix in ("CLUSTERDOWN", "UNCERTAIN"), answer

    def kinds(self) -> dict[str, str]:
        """Id to voter or learner, as the leader says."""
        return {member["id"]: member["kind"] for member in maps(self.order("MEMBERS"))}

    def wait_voters(self, *names: str) -> None:
        """Wait until exactly these are members, and all of them voters."""
        wanted = dict.fromkeys(names, "voter")

        def agreed() -> bool:
            try:
                return self.kinds() == wanted
            except OSError:
                return False  # the leader was killed in between

        wait_until(agreed, f"the members are {', '.join(names)}")

    def verify(self) -> dict[str, str]:
        """Id to equal, different or unknown: what KRAFT VERIFY finds."""
        return {row["node"]: row["state"] for row in maps(self.order("VERIFY"))}

    def wait_equal(self, *names: str) -> None:
        """Wait until KRAFT VERIFY finds all members, which are `names` if given, equal at one index."""

        def equal() -> bool:
            answer = self.order("VERIFY")
            if isinstance(answer, Refusal) and answer.prefix in ("CLUSTERDOWN", "UNCERTAIN"):
                return False  # the leader has only begun
            rows = maps(answer)
            assert all(row["state"] != "different" for row in rows), rows
            found = {row["node"] for row in rows if row["state"] == "equal"}
            same = len({(row["index"], row["sum"]) for row in rows}) == 1
            return same and found == set(names or self.servers)

        wait_until(equal, "all replicas are equal")

    def kill_all(self) -> None:
        """SIGKILL to all before any is waited for, as when the power goes."""
        for server in self:
            if server.process is not None:
                server.process.kill()
        for server in self:
            server.kill()

    def close(self) -> None:
        """End every process that is left, and print the end of what each said for a failing test's report."""
        for server in self:
            if server.running:
                server.resume()
        self.kill_all()
        for server in self:
            sys.stdout.write("\n".join([f"--- {server.id}:", *server.output.splitlines()[-15:], ""]))
