"""Two nodes and the connection between them, from dialling to its end."""

import pytest
from twisted.internet.error import ConnectionLost

from kraft.raft.messages import Append, Entry, Heartbeat
from kraft.transport.limits import LinkLimits
from tests.transport.wires import Network, Node, pair

BEAT = Heartbeat(term=1, commit=0, round=1)


def append(size, index=1):
    return Append(1, index - 1, min(index - 1, 1), 0, (Entry(index, 1, 0, 1, b"x" * size),))


@pytest.mark.parametrize("secret", [None, b"swordfish"])
@pytest.mark.parametrize("size", [1, 1 << 30])
def test_two_nodes_meet_and_talk(secret, size):
    """The smaller id dials, both learn of it, and batches go both ways, however the bytes are read."""
    network, _, one, two = pair(secret=secret)

    network.pump(size)
    assert one.links.send("K2", [(0, BEAT), (3, append(10))])
    assert two.links.send("K1", [(0, BEAT)])
    network.pump(size)

    assert network.attempts == [two.address]
    assert one.owner.told == [("up", "K2")]
    assert two.owner.told == [("up", "K1")]
    assert two.owner.messages == [("K1", 0, BEAT), ("K1", 3, append(10))]
    assert one.owner.messages == [("K2", 0, BEAT)]
    assert one.links.connected() == {"K2"}
    assert two.links.connected() == {"K1"}
