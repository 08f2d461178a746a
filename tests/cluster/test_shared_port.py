"""Several nodes on one machine, whose clients know one port."""

import pytest

from tests.cluster.harness import Cluster, free_ports, wait_until
from tests.cluster.wire import Client

pytestmark = pytest.mark.slow

CONNECTIONS = 64  # one of three nodes gets none of them in less than 3 * (2/3) ** 64 of all runs


def test_connections_to_a_shared_port_come_to_all_nodes_that_live(make_cluster):
    [shared] = free_ports(1)
    listen = f"tcp:{shared}:interface=127.0.0.1"
    cluster: Cluster = make_cluster(3, client={"shared_listen": listen})
    cluster.start()
    assert [server.events("node_started")[0]["shared"] for server in cluster] == [f"127.0.0.1:{shared}"] * 3
    names = {server.id: server.ask("CLUSTER", "MYID") for server in cluster}
    assert reached(shared) == set(names.values())

    victim = cluster.leader()
    victim.kill()

    def others_serve() -> bool:
        with Client(shared, 10.0) as client:
            return bool(client.call("SET", "key", "value") == "OK")

    wait_until(others_serve, "a write by the shared port")
    assert reached(shared) == set(names.values()) - {names[victim.id]}


def reached(port: int) -> set[bytes]:
    """The names, as CLUSTER NODES has them, of the nodes to which connections to the port come."""
    nodes = set()
    for _ in range(CONNECTIONS):
        with Client(port, 10.0) as client:
            nodes.add(client.call("CLUSTER", "MYID"))
    return nodes
