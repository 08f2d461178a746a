"""What a real node does about the endpoints in its file: sockets of the dead and the living, and refusals."""

import os
import socket
import subprocess

import pytest

from tests.cluster.harness import Server, free_ports, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def node(tmp_path):
    """`node(name, client="unix:..."...)`: a node with these endpoints, ended with the test; not started."""
    made = []

    def make(name="K1", **listen):
        server = Server(name, tmp_path / name, free_ports(3))
        sections = {
            port: {"listen": text, "advertise": f"127.0.0.1:{number}"}
            for (port, text), number in zip(listen.items(), free_ports(len(listen)), strict=True)
        }
        server.configure({}, **sections)
        made.append(server)
        return server

    yield make
    for server in made:
        server.kill()


def said(server):
    """The one line with which a node ended by itself."""
    assert server.exit_status() == 1
    [line] = [line for line in server.output.splitlines() if not line.startswith("{")]
    assert line.startswith("kraft: ")
    return line


def asks(path):
    """One PING over a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(64)


def started(server):
    server.start()
    before = len(server.events("node_started"))
    wait_until(lambda: len(server.events("node_started")) > before or not server.running, "it has started")
    assert server.running, server.output


def test_sockets_of_a_killed_node_do_not_prevent_its_start(node, tmp_path):
    """On every port, and whatever lock a former version has left, even with the id of a live process."""
    paths = {name: tmp_path / f"{name}.sock" for name in ("peer", "client", "http")}
    server = node(**{name: f"unix:{path}:mode=600" for name, path in paths.items()})
    started(server)
    assert server.events("node_started")[0]["client"] == f"unix:{paths['client']}"
    assert {path.stat().st_mode & 0o777 for path in paths.values()} == {0o600}
    server.kill()
    for path in paths.values():
        assert path.exists()
        path.with_name(path.name + ".lock").symlink_to(str(os.getpid()))

    started(server)
    assert asks(paths["client"]) == b"+PONG\r\n"

    other = node("K2", client=f"unix:{paths['client']}")
    other.start()
    assert said(other).startswith(
        f"kraft: client.listen unix:{paths['client']}: {paths['client']} is in use by another process"
    )
    assert asks(paths["client"]) == b"+PONG\r\n"
    paths["client"].unlink()  # somebody tidies up; the stop must not depend on the file
    server.terminate()
    assert not any(path.exists() for path in paths.values())


def test_a_container_starts_again_with_the_same_process_id(node, tmp_path, need):
    """Two lives as process 1 of a pid namespace, the first one killed."""
    need("unshare")
    path = tmp_path / "client.sock"
    server = node(client=f"unix:{path}")
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a pid namespace")
    for life in (1, 2):
        with (server.folder / "kraft.log").open("ab") as log:
            container = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *server.command], stdout=log, stderr=log
            )
        server.process = container
        wait_until(lambda: len(server.events("node_started")) == life or not server.running, f"life {life}")  # noqa: B023
        assert server.running, server.output
        assert asks(path) == b"+PONG\r\n"
        server.kill()


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("systemd:domain=INET:name=client", "systemd has passed no socket with name=client to this process"),
        ("tcp:10011:interface=192.0.2.7", "this machine has no address 192.0.2.7: ip -br address"),
        ("unix:/nowhere/at/all.sock", "there is no folder /nowhere/at: mkdir /nowhere/at"),
        ("unix:/etc/passwd", "/etc/passwd exists and is not a socket: ls -ld /etc/passwd"),
    ],
)
@pytest.mark.parametrize("port", ["peer", "client", "http"])
def test_what_only_a_start_can_find_is_one_line(node, port, listen, words):
    """It names the option, the endpoint and what to do."""
    server = node(**{port: listen})
    if port == "client":
        client = {"listen": listen, "advertise": "127.0.0.1:1", "unrestricted": True}
        server.configure({}, client=client)
    if port == "peer":
        secret = server.folder / "secret"
        secret.write_text("s" * 32)
        secret.chmod(0o600)
        server.configure(
            {}, peer={"listen": listen, "advertise": "127.0.0.1:1"}, cluster={"secret_file": str(secret)}
        )
    server.start()
    line = said(server)
    assert line.startswith(f"kraft: {port}.listen {listen}: ")
    assert words in line


@pytest.mark.parametrize(
    "listen", ["ssl:10011", "tls:10011", "fd:3", "haproxy:tcp:10011", "tcp:abc", "nosuch:1"]
)
def test_what_cannot_work_is_refused_with_the_configuration(node, listen):
    server = node(client=listen)
    server.start()
    line = said(server)
    assert line.startswith(f"kraft: {server.config}:")
    assert "client.listen" in line


def test_the_port_that_was_chosen_is_told(node):
    """Port 0 means any free one; the event of the start has it."""
    server = node(client="tcp:0:interface=127.0.0.1")
    started(server)
    host, _, port = server.events("node_started")[0]["client"].rpartition(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"


def test_a_first_start_that_is_open_to_everybody_is_refused(node):
    """In one line, before anything is written."""
    server = node(client="tcp:10011:interface=192.0.2.7")
    server.start()
    line = said(server)
    assert "users.file" in line
    assert "client.tls" in line
    assert "client.unrestricted: true" in line
    assert not server.data.exists()
