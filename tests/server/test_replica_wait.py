"""WAIT and WAITAOF: how many followers have what was applied, and for how long a client waits."""

import pytest

from kraft.node.status import ReplicaStatus
from tests.server.fakes import Port


@pytest.fixture
def port():
    port = Port()
    port.host.changed["voters"] = ("K1", "K2", "K3")
    matched(port, 7, 3)
    return port


def matched(port, *indexes):
    """K2, K3 and so on have the log up to these indexes; 7 is applied on this node."""
    replicas = [ReplicaStatus(f"K{n}", index, 0, "replicate", 0.0, 0) for n, index in enumerate(indexes, 2)]
    port.host.changed["replicas"] = tuple(replicas)


def test_the_leader_counts_the_followers_that_have_it(port):
    client = port.connect()
    assert client.run("WAIT", "1", "0") == b":1\r\n"
    assert client.run("WAIT", "0", "0") == b":1\r\n"
    assert client.run("WAITAOF", "1", "1", "0") == b"*2\r\n:1\r\n:1\r\n"
    matched(port, 9, 7)
    assert client.run("WAIT", "2", "0") == b":2\r\n"
    port.host.changed["voters"] = ("K1", "K2")
    assert client.run("WAIT", "1", "0") == b":1\r\n"  # a learner does not count


def test_a_follower_tells_what_every_reply_proves(port):
    port.host.leaders[0] = "K2"
    client = port.connect()
    assert client.run("WAIT", "2", "0") == b":1\r\n"
    assert client.run("WAITAOF", "0", "2", "0") == b"*2\r\n:0\r\n:1\r\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("WAIT", "x", "0"), "value is not an integer or out of range"),
        (("WAIT", "1", "x"), "timeout is not an integer or out of range"),
        (("WAIT", "1", "-1"), "timeout is negative"),
        (("WAITAOF", "2", "1", "0"), "value is out of range, must be between 0 and 1"),
    ],
)
def test_wrong_arguments(port, words, error):
    assert port.connect().run(*words) == f"-ERR {error}\r\n".encode()
