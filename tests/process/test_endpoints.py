"""The endpoints that a node listens on."""

import pytest
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from kraft.process.endpoints import BACKLOG, server_endpoint


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:10011:interface=127.0.0.1", BACKLOG),
        ("tcp6:10011:interface=\\:\\:1", BACKLOG),
        ("tcp:10011:backlog=7:interface=127.0.0.1", 7),
    ],
)
def test_many_clients_may_come_at_once(description, backlog):
    reactor = MemoryReactor()
    server_endpoint(reactor, description).listen(Factory())
    assert [server[2] for server in reactor.tcpServers] == [backlog]


def test_a_unix_socket_too():
    reactor = MemoryReactor()
    server_endpoint(reactor, "unix:/run/kraft.sock:mode=660").listen(Factory())
    ((path, _, backlog, mode, _),) = reactor.unixServers
    assert (path, backlog, mode) == ("/run/kraft.sock", BACKLOG, 0o660)
