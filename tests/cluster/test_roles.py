"""What real nodes call themselves in INFO, HELLO, ROLE and CLUSTER, for clients that look for a master."""

import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cluster.harness import Server, free_ports, wait_until

pytestmark = pytest.mark.slow

GLIDE = Path(__file__).parent / "clients" / "valkey_glide.py"
PROGRAM_SECONDS = 60.0


def roles(server):
    """The role that INFO, HELLO and ROLE name, `slave` for each word that Redis has for it."""
    info = dict(
        line.split(":", 1) for line in server.ask("INFO", "replication").decode().splitlines() if ":" in line
    )
    hello = server.ask("HELLO")
    pairs = dict(zip(hello[::2], hello[1::2], strict=True))
    words = {info["role"], pairs[b"role"].decode(), server.ask("ROLE")[0].decode()}
    return {word.replace("replica", "slave") for word in words}, info


def masters_in_cluster_nodes(server):
    lines = server.ask("CLUSTER", "NODES").decode().splitlines()
    return [line.split()[1].partition("@")[0] for line in lines if "master" in line.split()[2]]


@pytest.mark.parametrize(
    ("client", "follower"),
    [({}, "master"), ({"follower_role": "replica"}, "slave"), ({"routing": "redirect"}, "slave")],
    ids=["default", "replica", "redirect"],
)
def test_all_commands_name_the_same_role(make_cluster, client, follower):
    """On every node; and CLUSTER NODES has the leader as the only master in every mode."""
    cluster = make_cluster(client=client)
    for server in cluster:
        server.start()  # a node that redirects serves no writes itself, so that `cluster.start` would wait
    leader = cluster.leader()
    for server in cluster:
        wait_until(partial(_knows, server, leader), f"{server.id} knows the leader and all addresses")
        names, info = roles(server)
        assert names == {"master" if server is leader else follower}, server.id
        assert info["kraft_leader"] == leader.id
        assert info["kraft_role"] == ("leader" if server is leader else "follower")
        assert masters_in_cluster_nodes(server) == [f"127.0.0.1:{leader.client_port}"]
        if names == {"slave"}:
            assert info["master_port"] == str(leader.client_port)
            assert info["master_link_status"] == "up"
    wait_until(lambda: roles(leader)[1]["connected_slaves"] == "2", "both followers are connected")
    _, info = roles(leader)
    assert info["slave1"].startswith("ip=127.0.0.1,port=")


def test_a_node_that_waits_to_be_added_is_no_master(tmp_path):
    """It takes no writes yet, so no client must choose it."""
    server = Server("K9", tmp_path / "K9", free_ports(3))
    server.configure({}, cluster={"standby": True})
    server.start()
    try:
        wait_until(lambda: _answers(server), "the node answers")
        names, info = roles(server)
        assert names == {"slave"}
        assert info["master_link_status"] == "down"
        assert server.ask("SET", "a", "1").startswith("CLUSTERDOWN")
    finally:
        server.kill()


def _knows(server, leader):
    """Whether a node knows the leader, and the client addresses of all nodes, which their greetings tell."""
    return _answers(server) and roles(server)[1]["kraft_leader"] == leader.id and _addresses(server) == 3


def _addresses(server):
    return server.ask("CLUSTER", "NODES").count(b" connected")


def _answers(server):
    try:
        return server.ask("PING") == "PONG"
    except OSError:
        return False


@pytest.mark.parametrize("node", ["K1", "K2", "K3"])
def test_valkey_glide_writes_through_any_node(shared_cluster, node):
    """It accepts masters only, and a follower that forwards writes is one."""
    assert glide(node, shared_cluster[node]) == "ok\n"


def glide(prefix, *servers):
    """What the program with valkey-glide prints."""
    if find_spec("glide") is None:  # not imported: it would warn in the other tests of this process
        pytest.skip("needs valkey-glide")
    ports = [str(server.client_port) for server in servers]
    program = [sys.executable, GLIDE, prefix, *ports]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PROGRAM_SECONDS)
    return done.stdout or done.stderr


@pytest.mark.parametrize("follower_role", ["master", "replica"])
def test_valkey_glide_and_the_role_of_followers(make_cluster, follower_role):
    """Given all nodes it wants exactly one master; given one node it wants a master."""
    cluster = make_cluster(client={"follower_role": follower_role})
    cluster.start()
    leader = cluster.leader()
    follower = next(server for server in cluster if server is not leader)
    assert glide("leader", leader) == "ok\n"
    if follower_role == "master":
        assert glide("follower", follower) == "ok\n"
        assert "Primary conflict" in glide("all", *cluster)
    else:
        assert "No primary node found" in glide("follower", follower)
        assert glide("all", *cluster) == "ok\n"
