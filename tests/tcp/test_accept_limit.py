"""A port of Twisted on a real socket accepts few connections in one turn, however many wait."""

import socket

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port

from kraft.tcp.accept_limit import ACCEPTS_MAX, limit_accepts


class Reactor:
    """As much of a reactor as a port and its connections need: its turns are made by the test."""

    def addReader(self, reader):
        """Nothing is read."""

    removeReader = removeWriter = addReader


@pytest.fixture
def accepted():
    """What a listening port has accepted so far."""
    return []


@pytest.fixture
def port(accepted):
    class Accepted(Protocol):
        def connectionMade(self):
            accepted.append(self)

    port = Port(0, Factory.forProtocol(Accepted), 500, "127.0.0.1", Reactor())
    port.startListening()
    limit_accepts(port)
    yield port
    for each in accepted:
        each.transport.socket.close()
    port.socket.close()


def test_the_others_wait_for_the_next_turn(port, accepted):
    """Twisted alone would accept a hundred at once, then more."""
    count = 10 * ACCEPTS_MAX + 1
    clients = [socket.create_connection(port.socket.getsockname()) for _ in range(count)]
    for turn in range(1, 11):
        port.doRead()
        assert len(accepted) == turn * ACCEPTS_MAX
    port.doRead()
    port.doRead()
    assert len(accepted) == count
    for each in clients:
        each.close()
