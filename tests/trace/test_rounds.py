"""How many reads of many clients share a round, whatever the rounds in which the clients began.

One step is one iteration of the leader's reactor, as epoll has it: every socket that has bytes, then what is
due. Followers run in every third step. A client sends again some steps after it was answered, as a program
does that needs time to take its replies.
"""

from collections import deque
from pathlib import Path

import pytest

from kraft.host.requests.read_rounds import ReadRounds
from tests.trace.nodes import Nodes, ProductionNode, Reactor, Socket, _Silence, connect
from tests.trace.requests import REQUESTS

CLIENTS = 50
STEPS = 300
FOLLOWERS_EVERY = 3
GET = REQUESTS["GET"][0]


@pytest.fixture
def cluster(tmp_path: Path):
    """Nodes, and connections of clients to their leader."""
    nodes = Nodes(tmp_path)
    reactor, server = nodes.leader.reactor, nodes.leader.clients
    clients = [connect(Reactor(), reactor, 10_011, _Silence(), server) for _ in range(CLIENTS)]
    yield nodes, clients
    nodes.close()


def iteration(node: ProductionNode) -> None:
    reactor = node.reactor
    if node.disk.pending:
        reactor.threads_turn()
    while reactor.wants_write:
        reactor.wants_write[0].doWrite()
    for socket in list(reactor.sockets):
        if socket.connected and socket.arrived:
            data, socket.arrived = b"".join(socket.arrived), []
            socket.protocol.dataReceived(data)
    reactor.timers_turn()


def sizes(nodes: Nodes, clients: list[Socket], delay: int, at_once: int, first: int) -> list[int]:
    """The number of readers of each round. `first` clients begin, the others while their round is under way.

    Up to `at_once` clients send in one step, each `delay` steps after its reply.
    """
    begun: list[int] = []
    begin = ReadRounds.begin
    ReadRounds.begin = lambda self, *rest: begun.append(len(self.waiting)) or begin(self, *rest)  # type: ignore
    sending = deque((0 if n < first else FOLLOWERS_EVERY, client) for n, client in enumerate(clients))
    try:
        for step in range(STEPS):
            for _ in range(at_once):
                if sending and sending[0][0] <= step:
                    sending.popleft()[1].other.arrived.append(GET)  # type: ignore[union-attr]
            iteration(nodes.leader)
            if step % FOLLOWERS_EVERY == FOLLOWERS_EVERY - 1:
                for follower in nodes.followers:
                    iteration(follower)
            for client in clients:
                if client.arrived:
                    client.arrived = []
                    sending.append((step + 1 + delay, client))
    finally:
        ReadRounds.begin = begin  # type: ignore[method-assign]
    return begun


@pytest.mark.parametrize("first", [CLIENTS, CLIENTS // 2])
@pytest.mark.parametrize("at_once", [5, 25, 50])
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_clients_come_to_share_one_round(cluster, delay: int, at_once: int, first: int):
    """Two halves that begin in different rounds do not stay apart."""
    nodes, clients = cluster
    begun = sizes(nodes, clients, delay, at_once, first)
    assert len(begun) > 8
    assert set(begun[-4:]) == {CLIENTS}
