"""The policies around connections: their number, and how long they may be silent."""

from dataclasses import replace

from kraft.config.values import ClientConfig
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
