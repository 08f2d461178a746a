"""With one group, nodes send what they sent before there were several: as many batches, and as many bytes.

The figures are those of commit 617ba4943397, the last one that knew one group only, for the same steps. A
change that makes one of them larger costs every cluster.
"""

import pytest

from kraft.kv.commands import Put
from kraft.peerwire.codec import encode
from tests.host.trio import Trio
from tests.simulation.process import Process

REQUESTS = 20
IDLE_SECONDS = 10
SENT = {
    ("write", "leader"): (88, 4508),
    ("write", "follower"): (132, 6862),
    ("read", "leader"): (88, 1188),
    ("read", "follower"): (132, 2022),
}


@pytest.fixture
def sent(monkeypatch):
    """The bytes of each batch that was sent."""
    found: list[int] = []
    send = Process.send

    def counted(process, peer, messages):
        found.append(len(encode(messages)))
        return send(process, peer, messages)

    monkeypatch.setattr(Process, "send", counted)
    return found


@pytest.mark.parametrize(("what", "where"), SENT)
def test_requests(sent, what, where):
    """One after the other, at the leader or at a follower."""
    trio = Trio()
    trio.run(2)
    node = trio.leader if where == "leader" else trio.followers[0]
    sent.clear()
    for _ in range(REQUESTS):
        trio.answers.clear()
        if what == "write":
            trio.ask(node, Put(b"key", b"x" * 64))
        else:
            trio.look(node, b"key")
        assert trio.answered()
        trio.run(0.01)
    assert (len(sent), sum(sent)) == SENT[what, where]


def test_nothing_to_do(sent):
    trio = Trio()
    trio.run(2)
    sent.clear()
    trio.run(IDLE_SECONDS)
    assert (len(sent), sum(sent)) == (432, 6048)
