"""A host that vanishes without closing its connections: they end all the same.

The clients are in a network namespace of their own, whose link is then taken down.
"""

import os
import subprocess
import sys

import pytest

from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

HERE, THERE = "10.213.77.1", "10.213.77.2"
VALUE_BYTES = 1_000_000

# Connects, sends the bytes that it is told, reads one line of the answer, and then does nothing.
CLIENT = """
import socket, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
sock.sendall(sys.argv[3].encode().decode("unicode_escape").encode())
print(sock.recv(64).split(b"\\r\\n")[0].decode(), flush=True)
time.sleep(600)
"""


class OtherHost:
    """A network namespace with a link to this one."""

    def __init__(self, ip, name):
        self._ip, self._name = ip, name
        self._link = f"kraft{os.getpid() % 100_000}"
        self.processes = []

    def create(self):
        """Make it; returns whether this machine allows that."""
        made = subprocess.run([self._ip, "netns", "add", self._name], capture_output=True, text=True)
        if made.returncode:
            return made.stderr.strip()
        for command in (
            f"link add {self._link} type veth peer name far netns {self._name}",
            f"addr add {HERE}/30 dev {self._link}",
            f"link set {self._link} up",
            f"-n {self._name} addr add {THERE}/30 dev far",
            f"-n {self._name} link set far up",
        ):
            self._run(command)
        return ""

    def connect(self, port, data):
        """A client there; returns the first line that it is sent."""
        client = subprocess.Popen(
            [self._ip, "netns", "exec", self._name, sys.executable, "-c", CLIENT, HERE, str(port), data],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(client)
        assert client.stdout is not None
        return client.stdout.readline().strip()

    def vanish(self):
        """The link is down from now on."""
        self._run(f"-n {self._name} link set far down")

    def remove(self):
        for client in self.processes:
            client.kill()
            client.wait()
            client.stdout.close()
        for command in (
            f"link del {self._link}",
            f"netns del {self._name}",
        ):  # sockets keep a namespace alive
            subprocess.run([self._ip, *command.split()], check=False, capture_output=True)

    def _run(self, command):
        subprocess.run([self._ip, *command.split()], check=True)


@pytest.fixture
def other_host(need):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    host = OtherHost(need("ip"), f"kraft-test-{os.getpid()}")
    refused = host.create()
    if refused:
        pytest.skip(f"needs the right to make a network namespace: {refused}")
    yield host
    host.remove()


@pytest.fixture
def node(make_cluster):
    """One node that probes its clients after a second, and can be reached from the other host."""
    cluster = make_cluster(1)
    [node] = cluster
    client = {"listen": f"tcp:{node.client_port}", "advertise": f"127.0.0.1:{node.client_port}"}
    http = {"listen": f"tcp:{node.http_port}", "advertise": f"127.0.0.1:{node.http_port}"}
    asked = client | {"tcp_keepalive": "1s", "unrestricted": "true"}
    node.configure(cluster.members, client=asked, http=http)
    cluster.start()
    return node


def from_there(node):
    """The connections of clients on the other host."""
    return [row for row in node.ask("CLIENT", "LIST").decode().splitlines() if f"addr={THERE}:" in row]


def test_connections_of_a_vanished_host_end(node, other_host):
    """An idle one, and one whose client left its replies unread."""
    assert node.ask("SET", "big", b"x" * VALUE_BYTES) == "OK"
    assert other_host.connect(node.client_port, r"PING\r\n") == "+PONG"
    assert other_host.connect(node.client_port, r"GET big\r\n" * 20) == f"${VALUE_BYTES}"
    assert len(from_there(node)) == 2

    other_host.vanish()

    wait_until(lambda: not from_there(node), "the connections are gone")
    assert node.ask("PING") == "PONG"


def test_a_client_that_answers_probes_stays(node, other_host):
    """Silence of the client is no reason: its host answers."""
    assert other_host.connect(node.client_port, r"PING\r\n") == "+PONG"

    def silent_for_five_probes():
        [row] = from_there(node)
        return int(row.partition(" idle=")[2].split()[0]) >= 5

    wait_until(silent_for_five_probes, "the client was silent for a while")


def test_http_connections_are_probed_too(node, other_host, need):
    """The stream of events, which has no limit of its own as long as it is read."""
    head = r"GET /events HTTP/1.1\r\nHost: k1\r\n\r\n"
    assert other_host.connect(node.http_port, head) == "HTTP/1.1 200 OK"
    shown = subprocess.run(
        [need("ss"), "-Htno", "state", "established", f"sport = :{node.http_port}", f"dst {THERE}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "timer:(" in shown, shown
