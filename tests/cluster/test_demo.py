"""`kraft demo` and `kraft status` as a person or a script uses them."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sysconfig
import urllib.request
from pathlib import Path

import pytest

from kraft.cli.children import serves
from tests.cluster.harness import free_ports, wait_until
from tests.cluster.wire import Client

pytestmark = pytest.mark.slow

IDLE_SECONDS = 5  # the demo asks its nodes once a second
KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


class Demo:
    """One run of the demo in a folder; its output as it comes."""

    def __init__(self, folder, base_port, *options):
        self.output_file = folder / "output"
        self.base_port = base_port
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [KRAFT, "demo", "--dir", folder / "demo", *options], cwd=folder, stdout=output, stderr=output
            )

    @property
    def output(self):
        return self.output_file.read_text()

    def wait_ready(self):
        """The `ready` line."""
        return wait_until(
            lambda: re.search("^ready .*$", self.output, re.M) or self._fail_if_ended(), "ready"
        )[0]

    def _fail_if_ended(self):
        assert self.process.poll() is None, self.output

    def client(self, node):
        """Of a node that serves: `ready` means that any of them does."""
        wait_until(lambda: serves(self.base_port + 20 + node), f"K{node} serves")
        return Client(self.base_port + 10 + node)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def base_port():
    """A base port whose whole range is free."""

    def usable(base):
        for port in range(base + 1, base + 30):
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    return False
        return True

    return wait_until(lambda: next(filter(usable, free_ports(1)), None), "a free range of ports")


@pytest.fixture
def demo(tmp_path, base_port):
    """`demo(options...)`: a run of the demo; all are ended with the test."""
    runs = []

    def run(*options):
        runs.append(Demo(tmp_path, base_port, *options))
        return runs[-1]

    yield run
    for each in runs:
        if each.process.poll() is None:
            each.stop()


def test_a_demo_serves_reports_a_death_and_keeps_its_data(demo, base_port, tmp_path):
    """The whole story of the README."""
    first = demo("--base-port", str(base_port))
    ready = first.wait_ready()
    assert all(f"127.0.0.1:{base_port + 10 + node}" in ready for node in (1, 2, 3))
    with first.client(1) as client:
        assert client.call("DBSIZE") == 0
        assert client.call("SET", "greeting", "hello") == "OK"
    with first.client(3) as client:
        assert client.call("GET", "greeting") == b"hello"

    pid = int((tmp_path / "demo" / "K2" / "twistd.pid").read_text())
    signal_process(pid, signal.SIGKILL)
    told = wait_until(lambda: re.search("^K2 died.*\n +(.*)$", first.output, re.M), "the death is told")
    with first.client(1) as client:
        assert wait_until(lambda: client.call("SET", "greeting", "still here") == "OK", "it goes on")
    with urllib.request.urlopen(f"http://127.0.0.1:{base_port + 21}/status", timeout=30) as status:
        assert json.load(status)["supervisor"]["kind"] == "demo"
    with urllib.request.urlopen(f"http://127.0.0.1:{base_port + 21}/", timeout=30) as page:
        anywhere = re.sub(r"(?<=[= ])demo/", f"{tmp_path}/demo/", told[1])
        assert f"<code>{anywhere}</code>" in page.read().decode()  # the same command, on the page of another
    quiet = subprocess.DEVNULL
    again = subprocess.Popen(shlex.split(told[1]), cwd=tmp_path, stdout=quiet, stderr=quiet)
    wait_until(lambda: connects(base_port + 12), "K2 is back")
    assert first.stop(signal.SIGINT) == 0
    assert again.wait(30) in (0, -signal.SIGTERM)
    assert not any(connects(base_port + 10 + node) for node in (1, 2, 3))

    second = demo()
    assert second.wait_ready() == ready
    with second.client(2) as client:
        assert client.call("GET", "greeting") == b"still here"
    assert second.stop() == 0


def signal_process(pid, number):
    """Send a signal to a process of this test's own demo."""
    subprocess.run(["kill", f"-{number.value}", str(pid)], check=True)


def connects(port):
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_taken_port_is_one_clear_line(demo, base_port):
    """Nothing is started or written when a port is in use, so the advice works."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base_port + 12))
        taken.listen()
        run = demo("--base-port", str(base_port))
        assert run.process.wait(30) == 1
        assert run.output.count("\n") == 1
        assert f"port {base_port + 12}" in run.output
        [advised] = re.findall(r"--base-port (\d+)", run.output)
        second = demo("--base-port", advised)
        assert f"K1=127.0.0.1:{int(advised) + 11}" in second.wait_ready()
        assert second.stop() == 0


def test_the_demo_survives_strays_and_its_reader_and_stops_at_ctrl_backslash(demo, base_port):
    """It ignores SIGUSR1 and other signals without a use for it, and stops its nodes at SIGQUIT."""
    run = demo("--nodes", "1", "--base-port", str(base_port))
    run.wait_ready()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE, signal.SIGTTOU):
        run.process.send_signal(number)
    with run.client(1) as client:
        assert client.call("SET", "x", "1") == "OK"
    assert run.stop(signal.SIGQUIT) == 0
    assert not connects(base_port + 11)


def test_a_demo_whose_reader_is_gone_goes_on(tmp_path, base_port):
    """As in `kraft demo | head -1`: what it says later has no reader, and it still stops its nodes."""
    run = subprocess.Popen(
        [KRAFT, "demo", "--dir", tmp_path / "demo", "--nodes", "1", "--base-port", str(base_port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline().startswith(b"ready ")
    run.stdout.close()
    pid = int((tmp_path / "demo" / "K1" / "twistd.pid").read_text())
    signal_process(pid, signal.SIGKILL)  # which it reports
    wait_until(lambda: not connects(base_port + 11), "the node is gone")
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 0


def test_an_idle_demo_has_no_load(demo, base_port):
    """The demo watches its nodes without client commands."""
    run = demo("--base-port", str(base_port))
    run.wait_ready()
    wait_until(lambda: uptime(base_port + 21) > IDLE_SECONDS, "the demo has asked for the members again")
    for node in (1, 2, 3):
        metrics = http_get(base_port + 20 + node, "/metrics")
        counts = re.findall(r"^kraft_commands_total.* (\S+)$", metrics, re.M)
        assert len(counts) > 10
        assert set(map(float, counts)) == {0.0}


def uptime(port):
    """Of the node with this HTTP port, in seconds."""
    return json.loads(http_get(port, "/status"))["uptime_seconds"]


def http_get(port, path):
    """The body of a page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def test_a_demo_of_one_node_with_tls_serves_and_grows(demo, base_port, tmp_path, need):
    """The commands that it prints work. Another number of nodes later is refused."""
    for program in ("redis-cli", "curl"):
        need(program)
    run = demo("--nodes", "1", "--tls", "--base-port", str(base_port))
    run.wait_ready()
    run_printed(run.output, tmp_path, "OK\n", "hello\n", "ok\n", "hello\n", "all well")
    run_printed(Addition(tmp_path).output, tmp_path, "hello\n", "all well", "OK\n")
    assert run.stop() == 0
    other = demo("--nodes", "5")
    assert other.process.wait(30) == 1
    assert "holds a cluster of --nodes" in other.output


def run_printed(output, folder, *expected):
    """Run the commands under `Try`, with a request for `kraft shell`; each prints what is expected."""
    commands = [
        line.partition("  # ")[0].strip()
        for line in output.partition("Try")[2].splitlines()
        if line[:2] == "  "
    ]
    commands = [each for each in commands if "demo --add" not in each]
    assert len(commands) == len(expected), commands
    for command, told in zip(commands, expected, strict=True):
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            input="get greeting\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert told in done.stdout, (command, done.stdout, done.stderr)


class Addition:
    """One run of `kraft demo --add`."""

    def __init__(self, folder):
        self.done = subprocess.run(
            [KRAFT, "demo", "--add", "--dir", folder / "demo"],
            cwd=folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert self.done.returncode == 0, self.done.stdout + self.done.stderr
        self.output = self.done.stdout


def members(client):
    """Id to kind, as the node of this client says."""
    listed = [dict(zip(each[::2], each[1::2], strict=True)) for each in client.call("KRAFT", "MEMBERS")]
    return {each[b"id"].decode(): each[b"kind"].decode() for each in listed}


def remove(run, gone, *, asked):
    """Take a node out through another one; the demo stops it."""
    with run.client(asked) as client:
        wait_until(lambda: client.call("KRAFT", "REMOVE", f"K{gone}") == "OK", "it is removed")
    wait_until(lambda: f"K{gone} was removed from the cluster" in run.output, "that is told")
    wait_until(lambda: not connects(run.base_port + 10 + gone), "it is stopped")


def test_a_demo_that_lacks_a_node_counts_the_voters_that_work(demo, base_port, tmp_path):
    """With one of three dead, a fourth voter makes up for it, and no more than that."""
    run = demo("--base-port", str(base_port))
    run.wait_ready()
    for node in (1, 2, 3):
        run.client(node).close()
    signal_process(int((tmp_path / "demo" / "K3" / "twistd.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not connects(base_port + 13), "K3 is dead")
    with run.client(1) as client:
        assert client.call("SET", "another", "leader") == "OK", "K3 may have led"
    added = Addition(tmp_path)
    assert "K4 votes: 4 voters (K1 K2 K3 K4); K3 is missing: the cluster must not lose" in added.output


def test_a_demo_grows_and_shrinks_to_one_node(demo, base_port, tmp_path):
    """`kraft demo --add` beside it, then KRAFT REMOVE; the next run starts whoever is left."""
    run = demo("--nodes", "1", "--base-port", str(base_port))
    run.wait_ready()
    with run.client(1) as client:
        assert client.call("SET", "greeting", "hello") == "OK"

    for number in (2, 3):
        added = Addition(tmp_path)
        assert f"K{number} votes: {number} voters" in added.output
        assert f"K{number} is new: started" in run.output
        with run.client(number) as client:
            assert client.call("GET", "greeting") == b"hello"
            assert members(client) == {f"K{i}": "voter" for i in range(1, number + 1)}
    assert "survives the loss of 1" in added.output

    remove(run, 1, asked=2)
    remove(run, 2, asked=3)
    with run.client(3) as client:
        assert members(client) == {"K3": "voter"}
        assert client.call("SET", "greeting", "alone") == "OK"
    assert run.stop() == 0

    again = demo()
    assert again.wait_ready() == f"ready K3=127.0.0.1:{base_port + 13}"
    with again.client(3) as client:
        assert client.call("GET", "greeting") == b"alone"
    other = demo("--nodes", "3")
    assert other.process.wait(30) == 1
    assert "`kraft demo --add` adds a node" in other.output


def test_a_node_cannot_be_added_to_a_demo_that_does_not_run(demo, base_port, tmp_path):
    """One line says what to start, and no folder is made."""
    run = demo("--nodes", "1", "--base-port", str(base_port))
    run.wait_ready()
    assert run.stop() == 0
    other = demo("--add")
    assert other.process.wait(30) == 1
    assert "start them with `kraft demo" in other.output
    assert not (tmp_path / "demo" / "K2").exists()


def status(*arguments):
    """Exit status and output of `kraft status`."""
    done = subprocess.run([KRAFT, "status", *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def test_status_shows_the_whole_cluster_from_one_address(cluster):
    """Every member has a line; a dead one makes the answer unhealthy but is shown."""
    addresses = {server.id: f"127.0.0.1:{server.http_port}" for server in cluster}
    code, text = wait_until(lambda: (found := status(addresses["K1"]))[0] == 0 and found, "all is well")
    assert all(address in text for address in addresses.values())
    assert text.count("follower") == 2
    code, text = status("--json", addresses["K2"])
    facts = json.loads(text)
    assert facts["healthy"] is True
    assert sorted(node["node"] for node in facts["nodes"]) == ["K1", "K2", "K3"]
    cluster["K3"].kill()
    code, text = status(addresses["K1"])
    assert code == 1
    assert "K3: Connection refused" in text
    wait_until(lambda: status("--only", addresses["K1"])[0] == 0, "K1 is well by itself")
