"""The policies around connections: their number, and how long they may be silent."""

from dataclasses import replace
from typing import Any

from kraft.config.values import ClientConfig, LimitsConfig
from kraft.server.capacity import Capacity
from kraft.server.factory import REFUSED_MAX
from tests.server.fakes import Port, Talk, encode


def test_too_many_connections_are_refused(small: Talk) -> None:
    """The cap counts open ones only."""
    port = small.port
    second, third = port.connect(), port.connect()
    assert third.read() == b"-ERR max number of clients reached\r\n"
    assert third.transport.disconnecting
    assert port.observer.rejections == {"max_clients": 1}
    third.lose()
    second.lose()
    assert port.connect().run("PING") == b"+PONG\r\n"


def test_a_connection_without_a_whole_request_is_let_go(port: Port) -> None:
    silent, slow, good = port.connect(), port.connect(), port.connect()
    good.run("PING")
    for _ in range(9):
        port.clock.advance(1)
        slow.send(b"P")
    port.clock.pump([1] * 4)
    assert [talk.transport.aborted for talk in (silent, slow, good)] == [True, True, False]
    assert port.observer.rejections == {"handshake_timeout": 2}


def test_an_idle_connection_is_let_go_but_not_one_that_waits() -> None:
    port = Port(client=ClientConfig(idle_timeout=20))
    idle, waiting, busy = port.connect(), port.connect(), port.connect()
    idle.run("PING")
    waiting.send(encode("SET", "a", "1"))
    for _ in range(30):
        port.clock.advance(1)
        busy.send(encode("PING"))
    assert [talk.transport.aborted for talk in (idle, waiting, busy)] == [True, False, False]
    assert port.observer.rejections == {"idle_timeout": 1}
    for talk in (idle, waiting, busy):
        talk.lose()
    assert not port.clock.getDelayedCalls()


def test_limits_that_may_change_hold_for_open_connections(port: Port) -> None:
    first, second = port.connect(), port.connect()
    first.run("PING")
    second.run("PING")
    clients = port.factory.port
    limits = replace(clients.config.limits, connections=2, dataset_bytes=5)
    clients.reconfigure(replace(clients.config, client=ClientConfig(idle_timeout=20), limits=limits))

    assert port.connect().read().startswith(b"-ERR max number of clients")
    assert clients.dataset_bytes_max == 5
    for _ in range(30):
        port.clock.advance(1)
        second.send(encode("PING"))
    assert [talk.transport.aborted for talk in (first, second)] == [True, False]


def test_the_process_may_admit_fewer_clients_than_configured() -> None:
    """Also after a reload that asks for more."""
    port = Port(capacity=Capacity(connections=lambda _: 1))
    assert port.connect().run("CONFIG", "GET", "maxclients") == b"*2\r\n$10\r\nmaxclients\r\n$1\r\n1\r\n"
    clients = port.factory.port
    clients.reconfigure(replace(clients.config, limits=replace(clients.config.limits, connections=50)))

    assert port.connect().read() == b"-ERR max number of clients reached\r\n"
    assert (clients.connections_max, clients.connections_configured) == (1, 50)


def test_groups_that_are_created_take_files_from_clients() -> None:
    """Each has a state file; if clients had taken the last files, no checkpoint could be written."""
    port = Port(capacity=Capacity(connections=lambda groups: 10 - 3 * groups))
    clients = port.factory.port
    assert clients.connections_max == 7
    port.host.slots.groups = 3
    assert clients.connections_max == 1
    port.connect()
    assert port.connect().read() == b"-ERR max number of clients reached\r\n"


def test_a_flood_of_refused_clients_holds_few_sockets() -> None:
    """Those above the bound are closed without a word; each that is gone makes room for another."""
    factory = Port(limits=LimitsConfig(connections=1), capacity=Capacity(connections=lambda _: 0)).factory
    refused: list[Any] = [factory.buildProtocol(None) for _ in range(REFUSED_MAX + 10)]

    assert refused[REFUSED_MAX:] == [None] * 10
    refused[0].connectionLost()
    assert factory.buildProtocol(None) is not None
    assert factory.buildProtocol(None) is None
