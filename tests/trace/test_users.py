"""Rights cost little: 3 % of the requests of 50 connections at most, and nothing for who has them all."""

from tests.server.fakes import encode
from tests.trace.instructions import CONNECTIONS, Instructions
from tests.trace.nodes import Nodes
from tests.trace.requests import REQUESTS

ROUNDS = 4
PASSWORD = "p" * 32  # as a random one, so that its hash takes no time
USERS = {
    "app": ("~app:*", "~key*", "+@read", "+@write", "+@connection", "-@dangerous"),
    "writer": ("%R~app:*", "%W~w*", "~key*", "+@all", "-@admin"),
    "selectors": ("~app:*", "+@read", "(~key*", "+@all)"),
    "most": ("~*", "+@all", "-@admin"),
}


def cost(nodes: Nodes, name: str) -> int:
    """The instructions of all nodes for one request of each connection, once all parts have warmed up.

    The threads of the disks decide what comes together with what in a round, so it is the least of some.
    """
    request, reply = REQUESTS[name]
    counts = []
    for _ in range(ROUNDS):
        with Instructions() as found:
            assert nodes.ask_all(request) == [reply] * CONNECTIONS
        counts.append(found.count)
    return min(counts)


def test_rights_cost_little(nodes):
    """As `SET 50` and `GET 50` of the benchmark, without noise."""
    before = {name: cost(nodes, name) for name in REQUESTS}
    for user, rules in USERS.items():
        assert nodes.ask(encode("ACL", "SETUSER", user, "on", f">{PASSWORD}", *rules)) == b"+OK\r\n"
    nodes.rest()
    assert cost(nodes, "GET") == before["GET"]  # no disk takes part
    for user in USERS:
        assert nodes.ask_all(encode("AUTH", user, PASSWORD)) == [b"+OK\r\n"] * CONNECTIONS
        for name, count in before.items():
            assert cost(nodes, name) <= 1.03 * count, (user, name)
