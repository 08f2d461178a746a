"""A node runs on kraft's reactor, and on any that `twistd --reactor` names."""

import pytest

from tests.cluster.wire import encode

pytestmark = pytest.mark.slow

PIPELINE = 10_000  # more than the queue of a session: reading pauses
OURS, STOCK = "kraft.process.reactor.Reactor", "twisted.internet.epollreactor.EPollReactor"


@pytest.mark.parametrize(
    ("chosen", "nodes", "found"), [("", 1, OURS), ("kraft", 1, OURS), ("epoll", 3, STOCK)]
)
def test_nodes_serve_and_stop_on_a_reactor(make_cluster, chosen, nodes, found):
    """All other tests here start three nodes on ours."""
    cluster = make_cluster(nodes, log={"level": "debug"})
    for server in cluster:
        server.reactor = chosen
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()
    for server in cluster:
        assert server.ask("SET", "k", "v") == "OK"
        said = [event["message"] for event in server.events("twisted")]
        assert f"reactor class: {found}." in said
    with leader.client() as client:
        client.send(encode("GET", "k") * PIPELINE)
        assert [client.reply() for _ in range(PIPELINE)] == [b"v"] * PIPELINE
    leader.terminate()


def test_an_unknown_reactor_is_refused(make_cluster):
    """By twistd itself, in words that name the way to the list."""
    server = make_cluster(1)["K1"]
    server.reactor = "epol"
    server.start()
    assert server.exit_status() == 1
    assert "--help-reactors" in server.output
