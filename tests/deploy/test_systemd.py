"""The package and the units under a real systemd, in the order in which an operator meets them.

One machine is booted for all tests, and three nodes run in it as instances of the installed unit; each test
leaves them serving. Patience is shortened by a drop-in: five seconds for the watchdog, two tenths for a
restart.
"""

import json
import re
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Server, free_ports, wait_until
from tests.deploy.conftest import BootMachine
from tests.deploy.machine import Machine
from tests.deploy.threads import held, writer_thread

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

IMPATIENT = "[Service]\nWatchdogSec=5s\nRestartSec=200ms\nStartLimitBurst=20\n"


class Unit(Server):
    """A node that systemd runs."""

    def __init__(self, name: str, machine: Machine) -> None:
        super().__init__(name, machine.root / "etc/kraft", free_ports(3))
        self.machine = machine
        self.unit = f"kraft@{name}.service"
        self.data = Path(f"/var/lib/kraft/{name}")

    @property
    def config(self) -> Path:
        return self.folder / f"{self.id}.yaml"

    @property
    def running(self) -> bool:
        return self.active == "active"

    @property
    def active(self) -> str:
        return self.machine.property(self.unit, "ActiveState")

    @property
    def output(self) -> str:
        """The journal of the unit."""
        return self.machine.run("journalctl", "-u", self.unit, "-o", "cat", "--no-pager")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The entries of the journal with this event, with the fields under their names in the log."""
        lines = self.machine.run(
            "journalctl",
            "-o",
            "json",
            "--no-pager",
            f"KRAFT_NODE={self.id}",
            f"KRAFT_EVENT={name}",
            check=False,
        )
        entries = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        return [
            {key.removeprefix("KRAFT_").lower(): value for key, value in each.items()} for each in entries
        ]

    @property
    def restarts(self) -> int:
        """How often systemd has started it anew by itself."""
        return int(self.machine.property(self.unit, "NRestarts"))

    def systemctl(self, verb: str, *options: str) -> None:
        self.machine.run("systemctl", verb, *options, self.unit)

    def wait_restarted(self, before: int) -> None:
        wait_until(lambda: self.restarts > before and self.running, f"{self.unit} runs again")
        self.wait_serving()


class Nodes(dict[str, Unit]):
    """K1, K2 and K3."""

    def leader(self) -> Unit:
        return wait_until(
            lambda: next((unit for unit in self.values() if unit.group().get("role") == "leader"), None),
            "a node leads",
        )

    def wait_serving(self) -> None:
        for unit in self.values():
            unit.wait_serving()


@pytest.fixture(scope="module")
def machine(boot_machine: BootMachine, package: Path) -> Machine:
    """Booted, with the package installed."""
    machine = boot_machine("kraft-test")
    (machine.root / "tmp.deb").write_bytes(package.read_bytes())
    machine.run("dpkg", "-i", "/tmp.deb")
    return machine


@pytest.fixture(scope="module")
def nodes(machine: Machine) -> Nodes:
    """Three nodes, enabled, started with the target, and formed."""
    nodes = Nodes({name: Unit(name, machine) for name in ("K1", "K2", "K3")})
    members = {name: f"127.0.0.1:{unit.peer_port}" for name, unit in nodes.items()}
    for unit in nodes.values():
        unit.configure(members, cluster={"secret_file": "secret", "members": members})
    (nodes["K1"].folder / "secret").write_text("only for tests\n")
    override = machine.root / "etc/systemd/system/kraft@.service.d/test.conf"
    override.parent.mkdir(parents=True)
    override.write_text(IMPATIENT)
    machine.run("systemd-tmpfiles", "--create", "kraft.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "kraft.target", *(unit.unit for unit in nodes.values()))
    machine.run("systemctl", "start", "kraft.target")
    nodes.wait_serving()
    return nodes


def test_the_package_is_whole(machine):
    """Its user and folder are there, its files are what was packed, and the node's program finds kraft."""
    assert machine.run("id", "-un", "kraft").strip() == "kraft"
    assert machine.run("stat", "-c", "%a %U %G", "/etc/kraft").strip() == "750 root kraft"
    assert machine.run("dpkg", "-V", "kraft") == ""
    assert machine.run("kraft", "--version").startswith("kraft ")
    assert "kraft" in machine.run("/opt/kraft/bin/twistd", "--help")
    assert machine.run("find", "/usr/share/doc/kraft", "-xtype", "l") == ""  # links that lead nowhere
    assert machine.run("systemd-analyze", "verify", "--man=no", "kraft@K1.service") == ""
    exposure = machine.run("systemd-analyze", "security", "kraft@K1.service").splitlines()[-1]
    assert float(exposure.split(": ")[1].split()[0]) <= 1.1


def test_three_units_are_a_cluster(nodes, machine):
    """Each is its user's process in its own folders; what it says of itself stands in its status."""
    leader = nodes.leader()
    assert leader.ask("SET", "k", "v") == "OK"
    for name, unit in nodes.items():
        assert unit.ask("GET", "k") == b"v"
        status = machine.run("stat", "-c", "%U", f"/proc/{machine.main_pid(unit.unit)}")
        assert status.strip() == "kraft"
        assert machine.run("stat", "-c", "%a %U", f"/var/lib/kraft/{name}").strip() == "700 kraft"
    wait_until(
        lambda: re.fullmatch(
            r"leader of 1 group, term \d+, commit \d+, 2/2 peers",
            machine.property(leader.unit, "StatusText"),
        ),
        "systemctl status tells who leads",
    )
    assert machine.run("stat", "-c", "%a %U %G", "/etc/kraft/secret").strip() == "640 root kraft"
    assert "dropin" not in "".join(unit.output for unit in nodes.values())
    with urllib.request.urlopen(f"http://127.0.0.1:{leader.http_port}/status", timeout=30) as status:
        supervisor = json.load(status)["supervisor"]
    assert (supervisor["kind"], supervisor["name"]) == ("systemd", f"kraft@{leader.id}")
    with urllib.request.urlopen(f"http://127.0.0.1:{leader.http_port}/metrics", timeout=30) as scrape:
        assert "\nprocess_start_time_seconds " in scrape.read().decode()  # what ProcSubset=pid would hide


def test_the_journal_knows_priorities(nodes, machine):
    """A restart of one node is a warning of the others; their daily work is not."""
    nodes["K3"].systemctl("restart")
    nodes.wait_serving()
    for unit in (nodes["K1"], nodes["K2"]):
        warnings = machine.run("journalctl", "-u", unit.unit, "-p", "warning", "-o", "cat", "--no-pager")
        assert f"{unit.id} lost the connection to K3: " in warnings
        assert f"{unit.id} is ready" not in warnings
        entries = machine.run("journalctl", "-u", unit.unit, "-o", "short", "--no-pager").splitlines()
        assert any(re.search(rf" kraft\[\d+\]: {unit.id} is ready: clients ", line) for line in entries)
        assert not any("twistd[" in line or '{"' in line for line in entries)
        [event, *_] = unit.events("node_started")
        assert (event["priority"], event["node"]) == ("6", unit.id)


def test_a_killed_node_is_started_again(nodes):
    unit = nodes.leader()
    before = unit.restarts
    unit.systemctl("kill", "-s", "KILL")
    unit.wait_restarted(before)
    nodes.wait_serving()


def test_a_blocked_reactor_ends_by_the_watchdog(nodes):
    """The process is stopped: nothing in it runs."""
    unit = nodes["K1"]
    before = unit.restarts
    unit.systemctl("kill", "-s", "STOP", "--kill-whom=main")
    unit.wait_restarted(before)
    assert "Watchdog timeout" in unit.output


def test_a_blocked_writer_thread_ends_by_the_watchdog(nodes, machine):
    """The reactor runs on and answers; only what would be written is not."""
    unit = nodes["K2"]
    before, told = unit.restarts, unit.output.count("Watchdog timeout")
    pid = machine.outer_pid(machine.main_pid(unit.unit))
    with held(writer_thread(pid)):
        assert unit.ask("PING") == "PONG"
        wait_until(lambda: unit.output.count("Watchdog timeout") > told, "the watchdog lost patience")
    unit.wait_restarted(before)


def test_a_reload_takes_what_may_change(nodes, machine):
    """`systemctl reload` returns when it is done, and the process is the same."""
    unit = nodes["K3"]
    pid = machine.main_pid(unit.unit)
    text = unit.config.read_text()
    unit.config.write_text(text + "log: {level: debug}\nraft: {election_timeout: 600ms}\n")
    unit.systemctl("reload")
    wait_until(lambda: unit.events("config_needs_restart"), "the file was read again")
    assert unit.events("config_reloaded")[-1]["changed"] == '["log.level"]'
    assert unit.events("config_needs_restart")[-1]["options"] == '["raft.election_timeout"]'
    assert machine.main_pid(unit.unit) == pid
    unit.config.write_text(text)
    unit.systemctl("reload")


def test_a_stop_hands_leadership_over(nodes, machine):
    """Before it ends, the leader makes another one leader: nobody waits for an election timeout."""
    leader = nodes.leader()
    others = [unit for unit in nodes.values() if unit is not leader]
    before = len(leader.events("election_ended"))
    leader.systemctl("stop")
    [last, *_] = wait_until(lambda: leader.events("election_ended")[before:], "the journal has it")
    assert (last["kind"], last["outcome"]) == ("transfer", "won")
    assert nodes.leader() in others
    assert machine.property(leader.unit, "Result") == "success"
    assert leader.active == "inactive"
    leader.systemctl("start")
    nodes.wait_serving()


def test_the_last_words_of_a_node_are_in_its_journal(nodes, machine):
    """Whose unit journald looks up when it reads them: the process waits for that."""
    unit = nodes["K3"]
    for _ in range(3):
        before = len(unit.events("node_stopped"))
        unit.systemctl("stop")
        told = wait_until(lambda: unit.events("node_stopped")[before:], "its last event is there")  # noqa: B023  called at once
        assert [each["_systemd_unit"] for each in told] == [unit.unit]
        unit.systemctl("start")
        nodes.wait_serving()
    assert "" not in unit.output.splitlines()


def test_a_wrong_file_is_told_before_anything_starts(machine, nodes):
    unit = Unit("K9", machine)
    unit.config.write_text("node: {id: K9, data: /var/lib/kraft/K9}\nclinet: {}\n")
    machine.run("systemctl", "start", unit.unit, check=False)
    wait_until(lambda: "did you mean client?" in unit.output, "the journal has it")
    machine.run("systemctl", "stop", unit.unit)
    unit.config.unlink()


def test_systemd_can_hold_the_client_port(machine):
    """A client that connects starts the node, and one that connects while it restarts waits for it."""
    unit = Unit("K8", machine)
    unit.configure(
        {},
        client={
            "listen": "systemd:domain=INET:name=client",
            "advertise": f"127.0.0.1:{unit.client_port}",
        },
    )
    override = machine.root / "etc/systemd/system/kraft-client@K8.socket.d/address.conf"
    override.parent.mkdir(parents=True)
    override.write_text(f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{unit.client_port}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "kraft-client@K8.socket")
    assert unit.active == "inactive"

    assert unit.ask("PING") == "PONG"
    unit.wait_serving()
    assert unit.ask("SET", "k", "v") == "OK"
    machine.run("systemctl", "restart", "--no-block", unit.unit)
    wait_until(lambda: unit.events("node_stopped"), "nobody accepts any more")
    with unit.client(30) as client:
        assert client.call("PING") == "PONG"
    unit.wait_serving()
    assert unit.ask("GET", "k") == b"v"
    machine.run("systemctl", "stop", "kraft-client@K8.socket", unit.unit)


def test_a_purge_leaves_the_data_and_nothing_else(machine, nodes):
    """The nodes are stopped first, in order."""
    nodes.wait_serving()
    said = machine.run("sh", "-c", "dpkg --purge kraft 2>&1")
    assert "/var/lib/kraft was kept" in said
    for unit in nodes.values():
        assert unit.active == "inactive"
        wait_until(partial(unit.events, "node_stopped"), "the journal has it")
        assert machine.run("ls", f"/var/lib/kraft/{unit.id}").split()
    places = ("/", "/usr", "/var/lib/dpkg")  # /usr and /var/lib/dpkg are mounts of their own
    but = ("-path", "/var/lib/kraft", "-prune")
    assert machine.run("find", *places, "-xdev", *but, "-o", "-name", "*kraft*", "-print") == ""
