"""Reads by a node without a replica of the group are as fresh as those of its members."""

from tests.host.scattered import LACKING, Scattered
from tests.server.groups import key_in

KEY = key_in(1)


def test_a_former_leader_that_is_asked_does_not_answer():
    """It does not know yet that the others have elected another one, which has written since."""
    cluster = Scattered()
    leader = cluster.leader_of(1)
    others = [id_ for id_ in cluster.nodes if id_ not in (leader, LACKING)]
    assert cluster.connect(leader).run("SET", KEY, "old") == b"+OK\r\n"
    away = [(a, b) for a in (leader, LACKING) for b in others]
    away += [(b, a) for a, b in away]
    cluster.network.block(away)
    assert cluster.run(5, lambda: any(id_ in others for id_ in cluster.leaders(1)))
    assert cluster.connect(others[0]).run("SET", KEY, "new") == b"+OK\r\n"
    client = cluster.connect(LACKING)
    client.send("GET", KEY)
    cluster.run(0.3)
    assert client.transport.value() == b""
    cluster.network.unblock(away)
    assert client.reply() == b"$3\r\nnew\r\n"
