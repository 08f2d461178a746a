"""The systems under comparison: start, health check and stop.

A system has one or more views: names under which it appears in the tables, each with the port to load.
"""

import json
import shutil
import sys
from pathlib import Path

from bench import loads
from bench.client import ask, order, stores, write_keyspace
from bench.loads import Load, Outcome
from bench.processes import ROOT, Address, BenchError, Process, free_ports, listening, local, wait_for


class System:
    """The common part of all systems. `directory` is exclusive to the system."""

    name = ""
    access = loads.PLAIN  # of the clients of a load; others connect without TLS, as no user

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[Process] = []
        self._value_bytes: dict[int, int] = {}  # of the values in each keyspace that was written

    def start(self) -> None:
        """Start it; return when it serves. Raises BenchError when it does not within the limit."""
        raise NotImplementedError

    def views(self) -> dict[str, Address]:
        """Return the current address of each view."""
        raise NotImplementedError

    def takes(self, load: Load) -> bool:  # noqa: ARG002 - most run every load
        """Return whether the system can run the load."""
        return True

    def prepare(self, load: Load, address: Address) -> None:
        """Write the keys that a load reads, unless they are there, or the script that it calls."""
        if load.operation == "evalsha":
            order(address, b"SCRIPT", b"LOAD", loads.SCRIPT)
        if load.reads and self._value_bytes.get(load.keys) != load.value_bytes:
            self.write_keys(load, address)
            self._value_bytes[load.keys] = load.value_bytes

    def write_keys(self, load: Load, address: Address) -> None:
        """Write every key of a load's keyspace."""
        write_keyspace(address, load.keys, load.value_bytes)

    def run(self, load: Load, address: Address, requests: int) -> Outcome:
        """Run a load against a view, as fast as it replies."""
        if not load.reads:
            self._value_bytes.pop(load.keys, None)
        return loads.run(load, address, requests, self.access)

    def paced(self, load: Load, address: Address, requests: int, rate: float) -> Outcome:
        """Run a load at `rate` requests per second whatever the replies do, or as fast as it replies if 0."""
        return loads.generate(load, address, requests, rate, self.access)

    def pids(self) -> list[int]:
        """Return the process ids of the system."""
        return [process.pid for process in self.processes]

    def stop(self) -> None:
        """Stop every process and remove its data."""
        for process in self.processes:
            process.stop()
        self.processes = []
        shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self, name: str, command: list[str]) -> Process:
        directory = self.directory / name
        directory.mkdir(parents=True)
        process = Process(command, directory, name=name)
        self.processes.append(process)
        return process


class Bare(System):
    """One Twisted process that parses commands and replies +OK."""

    name = "bare"

    def start(self) -> None:
        """Start it and wait for its port; it stores nothing."""
        (self._port,) = free_ports(1)
        self._launch("bare", [sys.executable, "-m", "bench.servers.bare", str(self._port)])
        wait_for(lambda: listening(self._port), "the bare server", self.processes)

    def takes(self, load: Load) -> bool:
        """Refuse transactions, counters, and loads that compare what they read with what was written."""
        return not (load.reads and load.generated) and load.operation not in ("exec5", "incr", "evalsha")

    def views(self) -> dict[str, Address]:
        """Return its address."""
        return {"bare": local(self._port)}


class Sketch(System):
    """Three processes that replicate and sync without Raft (servers/sketch.py)."""

    name = "sketch"
    program: tuple[str, ...] = (sys.executable, "-m", "bench.servers.sketch")

    def takes(self, load: Load) -> bool:
        """Refuse transactions and counters."""
        return load.operation not in ("exec5", "incr", "evalsha")

    def start(self) -> None:
        """Start the followers, then the leader; return when it acknowledges a write."""
        self._port, *followers = free_ports(3)
        for number, port in enumerate(followers, 1):
            self._member(f"follower{number}", "follower", port, [])
            wait_for(lambda port=port: listening(port), "a follower of the sketch", self.processes)  # type: ignore[misc]
        self._member("leader", "leader", self._port, followers)
        wait_for(lambda: stores(local(self._port)), "the sketch", self.processes)

    def _member(self, name: str, role: str, port: int, followers: list[int]) -> None:
        arguments = [role, str(port), str(self.directory / name), *map(str, followers)]
        self._launch(name, [*self.program, *arguments])

    def views(self) -> dict[str, Address]:
        """Return the address of the leader."""
        return {self.name: local(self._port)}


class OtherSketch(Sketch):
    """Another sketch with the same arguments, to verify that ours is a fair yardstick."""

    name = "other-sketch"

    def __init__(self, directory: Path, script: Path) -> None:
        super().__init__(directory)
        self.program = (sys.executable, str(script))

    def takes(self, load: Load) -> bool:
        """Refuse inline commands, which it need not support, and transactions."""
        return not load.inline and super().takes(load)


CONFIG = """\
node: {{id: {id}, data: {data}}}
cluster: {{members: {members}}}
peer: {{listen: "tcp:{peer}:interface=127.0.0.1", advertise: "127.0.0.1:{peer}"}}
client: {{listen: "tcp:{client}:interface=127.0.0.1", advertise: "127.0.0.1:{client}"}}
http: {{listen: "tcp:{http}:interface=127.0.0.1", advertise: "127.0.0.1:{http}"}}
"""


class Kraft(System):
    """Nodes run by `twistd` with default settings and metrics; `sections` is more YAML for each node.

    `checkout` holds the code that they run and `python` the interpreter: with others one run compares two
    versions or interpreters.
    """

    def __init__(
        self,
        directory: Path,
        nodes: int,
        sections: str = "",
        *,
        label: str = "kraft",
        checkout: Path = ROOT,
        python: str = sys.executable,
    ) -> None:
        super().__init__(directory)
        self._sections = sections
        self._checkout, self._python = checkout, python
        self.name = f"{label}-{nodes}"
        self._nodes = nodes
        self.ports: list[int] = []

    def start(self) -> None:
        """Start all nodes; return when one leads and all accept writes."""
        self.ports, peers, https = (free_ports(self._nodes) for _ in range(3))
        members = {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(peers, 1)}
        for number, (client, peer, http) in enumerate(zip(self.ports, peers, https, strict=True), 1):
            directory = self.directory / f"n{number}"
            text = CONFIG.format(
                id=f"n{number}",
                data=json.dumps(str(directory / "data")),
                members=json.dumps(members if self._nodes > 1 else {}),
                peer=peer,
                client=client,
                http=http,
            )
            self._node(f"n{number}", self.secured(f"n{number}", text))
        wait_for(self.healthy, self.name, self.processes)

    def secured(self, name: str, text: str) -> str:  # noqa: ARG002 - of these nodes all are alike
        """Return the configuration `text` of a node with what it needs for TLS or users; here nothing."""
        return text

    def _node(self, name: str, text: str) -> None:
        directory = self.directory / name
        config = directory / "kraft.yaml"
        twistd = "from twisted.scripts.twistd import run; run()"
        command = [self._python, "-c", twistd, "-n", "--pidfile=", "kraft", "--config", str(config)]
        directory.mkdir(parents=True)
        config.write_text(text + self._sections)
        self.processes.append(Process(command, directory, name=name, checkout=self._checkout))

    def standby(self) -> tuple[str, int]:
        """Start one more node, which waits to be added; return its id and peer port."""
        name, (client, peer, http) = f"n{len(self.processes) + 1}", free_ports(3)
        data = json.dumps(str(self.directory / name / "data"))
        text = CONFIG.format(id=name, data=data, members="{}", peer=peer, client=client, http=http)
        self._node(name, text.replace("{members: {}}", "{standby: true}"))
        self.ports.append(client)
        wait_for(lambda: listening(client), name, self.processes)
        return name, peer

    def leader(self) -> int | None:
        """Return the position of the leader; None unless exactly one node reports that it leads."""
        leaders = [number for number in range(self._nodes) if self._leads(number)]
        return leaders[0] if len(leaders) == 1 else None

    def _leads(self, number: int) -> bool:
        name = f"n{number + 1}".encode()  # ROLE would not do: a follower calls itself a master, too
        own = b"$6\r\nleader\r\n$%d\r\n%b\r\n" % (len(name), name)
        try:
            return own in ask(local(self.ports[number]), b"KRAFT", b"LEADER", seconds=0.5)
        except OSError:
            return False

    def healthy(self) -> bool:
        """Return whether there is a leader and every node accepts writes."""
        return self.leader() is not None and all(stores(local(port)) for port in self.ports)

    def write(self, numbers: list[int], seconds: float) -> bool:
        """Try one write on each of these nodes in turn until one acknowledges it."""
        for number in numbers:
            try:
                if stores(local(self.ports[number]), seconds):
                    return True
            except OSError:
                continue
        return False

    def views(self) -> dict[str, Address]:
        """Return the address of the leader and, in a cluster, of one follower."""
        leader = self.leader()
        if leader is None:
            raise BenchError(f"{self.name} has no leader")
        views = {self.name: local(self.ports[leader])}
        if self._nodes > 1:
            views[f"{self.name} follower"] = local(self.ports[(leader + 1) % self._nodes])
        return views
