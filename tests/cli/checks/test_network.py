"""What `kraft doctor` finds at the ports of a node and of its peers."""

import dataclasses
import os
import socket

import pytest

from kraft.cli.checks import network
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from kraft.cli.checks.subject import Subject
from kraft.config import parse
from kraft.node.supervisor import DEMO, SYSTEMD, Supervisor
from kraft.telemetry.recent.facts import Facts
from tests.cli.checks.subjects import SECTIONS, first, levels, only
from tests.web.reports import member, report, silent, view, without


@pytest.fixture
def port():
    """One that this process listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def peer_port(node, port, interface="127.0.0.1"):
    """As configured to have this port for peers."""
    peer = dataclasses.replace(node.config.peer, listen=f"tcp:{port}:interface={interface}")
    return dataclasses.replace(node, config=dataclasses.replace(node.config, peer=peer))


def test_a_port_that_is_taken_or_free(stopped, port):
    taken, chosen, none = network.ports(peer_port(stopped(), port))
    assert (taken.level, taken.command) == (PROBLEM, f"ss -ltnp 'sport = :{port}'")
    assert (chosen.level, none.level) == (OK, OK)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = unused.getsockname()[1]
    assert first(network.ports(peer_port(stopped(), free))).text == f"peer.listen: port {free} is free"


def test_a_shared_port_may_be_in_use_by_nodes_that_share_it(stopped):
    node = stopped()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        shared = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        client = dataclasses.replace(node.config.client, shared_listen=shared)
        subject = dataclasses.replace(node, config=dataclasses.replace(node.config, client=client))
        found = {each.text.partition(":")[0]: each.level for each in network.ports(subject)}
        assert found["client.shared_listen"] == OK
        client = dataclasses.replace(node.config.client, listen=shared)
        alone = dataclasses.replace(node, config=dataclasses.replace(node.config, client=client))
        assert {each.level for each in network.ports(alone)} == {OK, PROBLEM}


def test_an_address_that_this_machine_does_not_have(stopped):
    found = first(network.ports(peer_port(stopped(), 40_009, "192.0.2.1")))
    assert found.text == "peer.listen: this machine has no address 192.0.2.1"


def test_a_unix_socket_of_a_stopped_node(stopped, tmp_path):
    """Free, left by a dead process, in use, or something else."""
    path = tmp_path / "client.sock"

    def found(where=path):
        listen = f'client: {{listen: "unix:{where}", advertise: "h:1"}}\n'
        text = SECTIONS.format(data=tmp_path / "data").replace(
            'client: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}\n', listen
        )
        _, client, _ = network.ports(Subject("K1.yaml", parse(text, "K1.yaml"), None))
        return client.level, client.text

    assert found() == (OK, f"client.listen: {path} is free")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert found() == (
            PROBLEM,
            f"client.listen: {path} is in use by another process: ss -xlp | grep {path}",
        )
    assert found()[0] == OK
    assert "left by a dead process" in found()[1]
    assert path.exists()
    assert found(tmp_path) == (
        PROBLEM,
        f"client.listen: {tmp_path} exists and is not a socket: ls -ld {tmp_path}",
    )
    assert found(tmp_path / "no" / "s") == (PROBLEM, f"client.listen: there is no folder {tmp_path}/no")


def test_a_port_of_a_running_node(stopped, port, monkeypatch):
    own = peer_port(stopped(pid=os.getpid()), port)
    assert first(network.ports(own)).text == f"peer.listen: port {port} is held by the node"
    monkeypatch.setattr(network, "_sockets_of", lambda _: {-1})
    assert "held by a process other than the node" in first(network.ports(own)).text
    monkeypatch.setattr(network, "_sockets_of", lambda _: None)
    assert first(network.ports(own)).text == f"peer.listen: port {port} is open"
    monkeypatch.setattr(network, "listening", lambda _: set())
    assert first(network.ports(own)).level == PROBLEM


MEMBERS = 'cluster: {members: {K1: "127.0.0.1:1", K2: "127.0.0.1:3", K3: "127.0.0.1:4"}}'


def dialled(monkeypatch, **errors):
    """Who was dialled, in a list that fills; `port3=error` for those who cannot be."""
    calls = []

    def dial(address):
        calls.append(address)
        if error := errors.get(f"port{address[-1]}"):
            raise error

    monkeypatch.setattr(network, "_dial", dial)
    return calls


def test_peers_are_dialled_while_the_node_is_stopped(stopped, monkeypatch):
    calls = dialled(monkeypatch)
    assert levels(network.peers(stopped(MEMBERS))) == [OK, OK]
    assert sorted(calls) == ["127.0.0.1:3", "127.0.0.1:4"]


def test_peers_that_cannot_be_reached(stopped, monkeypatch):
    """With a majority left a warning; what to do goes by the error."""
    refused = ConnectionRefusedError(111, "Connection refused")
    dialled(monkeypatch, port3=refused)
    first, second = network.peers(stopped(MEMBERS))
    assert (first.level, first.command) == (WARNING, "systemctl start kraft@K2, on its machine")
    assert second.level == OK

    dialled(monkeypatch, port3=refused, port4=TimeoutError("timed out"))
    first, second = network.peers(stopped(MEMBERS))
    assert (first.level, second.level) == (PROBLEM, PROBLEM)
    assert second.command == "nc -vz 127.0.0.1 4; then its firewall"


def test_a_peer_that_is_linked_is_not_dialled(stopped, monkeypatch):
    calls = dialled(monkeypatch)
    own = without("K3", report("K1", members=(member("K1"), member("K2"), member("K3"))))
    node = stopped(pid=5, view=view(own, report("K2"), silent("K3")))
    linked, reached = network.peers(node)
    assert (linked.text, reached.text) == ("K2 is connected (K2:1)", "K3 can be reached (K3:1)")
    assert calls == ["K3:1"]


@pytest.mark.parametrize(
    ("supervisor", "command"),
    [
        (Supervisor(DEMO, "d", "twistd", "d/K1/kraft.yaml"),
         "twistd -n --pidfile=d/K3/twistd.pid kraft --config d/K3/kraft.yaml"),
        (Supervisor(SYSTEMD, "kraft@K1"), "systemctl start kraft@K3, on its machine"),
        (Supervisor(), "start it again, on its machine"),
    ],
)  # fmt: skip
def test_a_peer_is_started_as_the_nodes_were(stopped, monkeypatch, supervisor, command):
    """The next command is the one of the page, which the check of the cluster shows too."""
    dialled(monkeypatch, port1=ConnectionRefusedError(111, "Connection refused"))
    facts, members = Facts(supervisor=supervisor), (member("K1"), member("K3", connected=False))
    own = report("K1", facts=facts, members=members)
    told = only(network.peers(stopped(pid=5, view=view(own, silent("K3")))))
    assert told.command == command


def test_a_node_alone_has_no_peers(stopped):
    assert only(network.peers(stopped())).text == "there are no other members"
