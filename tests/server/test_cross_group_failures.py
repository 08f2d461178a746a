"""What a client is told of a transaction over several groups when a group fails."""

from kraft.node.errors import NoLeader, Uncertain
from tests.server.groups import A, C, array, settled, three


def test_a_group_without_leader_means_that_nothing_was_done() -> None:
    port, client = three()
    for group in (A, C):
        port.host.failing_in = {0 if group == A else 2: NoLeader(0 if group == A else 2)}
        assert client.run("MSET", A, "1", C, "3").startswith(b"-CLUSTERDOWN No leader for group")
        port.host.failing_in = {}
        assert client.run("MGET", A, C) == array(None, None)
        for machine in port.host.machines:
            assert not machine.keyspace.transactions.prepared


def test_a_prepare_of_unknown_outcome_is_repeated() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.failing_in = {0: Uncertain()}
    port.host.turn()
    port.host.failing_in = {}
    port.settle()
    assert client.read() == b"+OK\r\n"


def test_a_commit_of_unknown_outcome_is_repeated_and_happens_once() -> None:
    port, client = three()
    client.run("MULTI")
    client.run("INCR", A)
    client.run("INCR", C)
    client.send(client.encode("EXEC"))
    port.host.turn()
    port.host.lost = True  # applied, but the reply is lost
    port.host.turn()
    port.host.lost = False
    assert client.read() == b""
    port.clock.advance(0.1)
    port.settle()
    assert client.read() == b"*2\r\n:1\r\n:1\r\n"
    assert client.run("MGET", A, C) == array(b"1", b"1")
    assert settled(port)


def test_a_commit_that_nobody_confirms_is_uncertain() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.turn()
    port.host.failing_in = {2: Uncertain()}
    for _ in range(60):
        port.settle()
        port.clock.advance(0.1)
    assert client.read().startswith(b"-UNCERTAIN")
