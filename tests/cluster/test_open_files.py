"""Nodes with few open files: clients cannot take the last ones, whatever they do."""

import os
import resource
import signal
import socket
import subprocess
import sysconfig
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

FLOOD = 400
KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


@pytest.fixture
def limited(need):
    """Starts a server with this soft and hard limit."""
    prlimit = need("prlimit")

    def start(server, soft, hard):
        server.start(under=(prlimit, f"--nofile={soft}:{hard}"))

    return start


def limits_of(server):
    return resource.prlimit(server.pid, resource.RLIMIT_NOFILE)


def metric(server, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=30) as answer:
        rows = answer.read().decode().splitlines()
    [value] = [row.split()[1] for row in rows if row.startswith(f"{name} ")]
    return float(value)


def connect(stack, port, count):
    """Connections that stay open as long as the server lets them."""
    found = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(count)]
    for each in found:
        each.settimeout(20)
    return found


def test_the_soft_limit_is_no_limit(make_cluster, limited):
    """A soft limit of 256, 300 clients, and then a first checkpoint: all three nodes go on."""
    cluster = make_cluster()
    for server in cluster:
        limited(server, 256, 4096)
    cluster.wait_serving()
    assert {limits_of(server) for server in cluster} == {(4096, 4096)}
    with ExitStack() as stack:
        for server in cluster:
            for client in connect(stack, server.client_port, 300):
                client.sendall(b"PING\r\n")
                assert client.recv(64) == b"+PONG\r\n"
        assert isinstance(cluster.order("SNAPSHOT"), int | bytes | str)
        wait_until(lambda: all(server.events("checkpoint_written") for server in cluster), "checkpoints")
    assert all(server.running for server in cluster)


def test_clients_cannot_take_the_last_files(make_cluster, limited):
    """At a hard limit of 256: some clients are refused, everything else works, and one line says so."""
    cluster = make_cluster()
    for server in cluster:
        limited(server, 256, 256)
    cluster.wait_serving()
    leader = cluster.leader()
    assert metric(leader, "kraft_client_connections_max") == 128
    [told] = leader.events("connections_limited")
    assert (told["connections"], told["configured"], told["open_files"]) == (128, 10_000, 256)
    assert leader.status()["connections_max"] == 128
    with ExitStack() as stack:
        for server in cluster:
            connect(stack, server.http_port, FLOOD)
            connect(stack, server.peer_port, FLOOD)
            connect(stack, server.client_port, FLOOD)
        wait_until(lambda: all(server.events("client_rejected") for server in cluster), "clients are refused")
        assert all(server.running for server in cluster)
    wait_until(leader.serves_writes, "there is room for a client again")
    cluster.order("SNAPSHOT")
    assert all(server.running for server in cluster)
    assert not any(server.events("checkpoint_failed") for server in cluster)
    cluster.wait_equal()


def test_too_low_a_limit_ends_in_one_line(make_cluster, limited):
    [server] = make_cluster(1)
    limited(server, 100, 100)
    assert server.exit_status() == 1
    assert "kraft: this process may open 100 files, and a node needs 128 or more" in server.output
    assert "Traceback" not in server.output


def test_doctor_and_status_say_what_is_admitted(make_cluster, limited):
    cluster = make_cluster(1)
    [server] = cluster
    limited(server, 300, 300)
    cluster.wait_serving()
    said = subprocess.run([KRAFT, "doctor", str(server.config)], capture_output=True, text=True).stdout
    assert "may open 300 files: it admits 150 clients, not limits.connections (10000)" in said
    shown = subprocess.run(
        [KRAFT, "status", f"127.0.0.1:{server.http_port}"], capture_output=True, text=True
    ).stdout
    assert "it admits 150 clients, not limits.connections (10000)" in shown


def test_a_node_without_a_file_to_be_had_goes_on(make_cluster, limited):
    """A client is closed, a reload refused, a scrape answered in part; then everything works again."""
    cluster = make_cluster(1)
    [server] = cluster
    limited(server, 256, 256)
    cluster.wait_serving()
    wait_until(lambda: server.events("checkpoint_written"), "the first checkpoint is written")
    with ExitStack() as stack:
        client = stack.enter_context(server.client())
        assert client.call("PING") == "PONG"  # it is accepted
        highest = max(int(path.name) for path in Path(f"/proc/{server.pid}/fd").iterdir())
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (highest + 1, 256))
        wait_until(lambda: is_closed(*connect(stack, server.client_port, 1)), "no file is left")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.events("config_refused"), "the reload is refused")
        before = cpu_seconds(server)
        for i in range(100):
            assert client.call("SET", f"k{i}", "v") == "OK"
        assert cpu_seconds(server) - before < 5
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, 256))
    assert "Too many open files" in server.events("config_refused")[0]["problems"][0]
    wait_until(server.serves_writes, "it serves")
    assert cluster.order("SNAPSHOT")


def is_closed(client):
    """Whether the server closed the connection instead of answering."""
    client.sendall(b"PING\r\n")
    try:
        return client.recv(64) == b""
    except ConnectionResetError:
        return True


def cpu_seconds(server):
    """What its process has used; one that accepts in vain for ever uses all there is."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
