"""Every bound of the client port: the reply or the close at it, and that others go on."""

import gc
import weakref
from dataclasses import replace

import pytest

from kraft.config.values import ClientConfig, LimitsConfig
from kraft.server import output
from kraft.server import session as session_module
from tests.server.fakes import Port, Talk, encode

SMALL = LimitsConfig(key_bytes=8, value_bytes=64, request_bytes=256, arguments=16, connections=2)


@pytest.fixture
def small() -> Talk:
    return Port(limits=SMALL).connect()


def test_keys_values_and_requests_have_limits(small: Talk) -> None:
    """Each is refused in its place; the connection stays."""
    table = [
        (("SET", "k" * 8, "v" * 64), b"+OK\r\n"),
        (("SET", "k" * 9, "v"), b"-ERR key exceeds limit of 8 bytes\r\n"),
        (("GET", "k" * 9), b"-ERR key exceeds limit of 8 bytes\r\n"),
        (("SET", "k", "v" * 65), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("SET", "k", "v" * 5000), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("MSET", "a", "v" * 64, "b", "v" * 64), b"+OK\r\n"),
        (("MSET", *("k", "v" * 60) * 5), b"-ERR request exceeds limit of 256 bytes\r\n"),
        (("ECHO", "v" * 65), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("DEL", "a", "k" * 9), b"-ERR key exceeds limit of 8 bytes\r\n"),
    ]
    for words, reply in table:
        assert small.run(*words) == reply
    everything = b"".join(encode(*words) for words, _ in table)
    assert small.ask(everything) == b"".join(reply for _, reply in table)


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"*17\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\nP", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"set a 'b\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    ],
)
def test_garbage_is_told_and_closed_after_what_was_good(small: Talk, garbage: bytes, words: bytes) -> None:
    other = small.port.connect()
    small.send(encode("SET", "a", "1") + garbage)
    small.port.host.settle()
    assert small.read() == b"+OK\r\n" + words
    assert small.transport.disconnecting
    assert small.ask(encode("PING")) == b""
    assert other.run("PING") == b"+PONG\r\n"
    assert small.port.observer.rejections == {"protocol_error": 1}


def test_a_value_does_not_grow_over_its_limit(small: Talk) -> None:
    """Whatever the pieces."""
    assert small.run("APPEND", "a", "v" * 60) == b":60\r\n"
    assert small.run("APPEND", "a", "v" * 5) == b"-ERR value exceeds limit of 64 bytes\r\n"
    assert small.run("APPEND", "a", "v" * 4) == b":64\r\n"


def test_too_many_connections_are_told_so(small: Talk) -> None:
    """The cap counts open ones only."""
    port = small.port
    second, third = port.connect(), port.connect()
    assert third.read() == b"-ERR max number of clients reached\r\n"
    assert third.transport.disconnecting
    assert port.observer.rejections == {"max_clients": 1}
    third.lose()
    second.lose()
    assert port.connect().run("PING") == b"+PONG\r\n"


def test_a_full_dataset_refuses_growth_only() -> None:
    """Reads and deletes still work, and it clears by itself."""
    client = Port(limits=LimitsConfig(dataset_bytes=200)).connect()
    refused = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    assert client.run("SET", "a", "1" * 200) == b"+OK\r\n"
    for words in (("SET", "b", "1"), ("APPEND", "a", "1"), ("INCR", "n"), ("MSET", "a", "1")):
        assert client.run(*words) == refused
    assert client.run("STRLEN", "a") == b":200\r\n"
    assert client.run("EXPIRE", "a", "100") == b":1\r\n"
    assert client.run("DEL", "a") == b":1\r\n"
    assert client.run("SET", "b", "1") == b"+OK\r\n"


def test_reading_pauses_while_too_much_is_queued(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "QUEUE_REQUESTS", 10)
    client.send(encode("SET", "a", "1"))
    client.send(encode("PING") * 10)
    assert client.transport.producerState == "producing"
    client.send(encode("PING"))
    assert client.transport.producerState == "paused"
    assert client.port.observer.paused_now == 1
    client.port.host.settle()
    assert client.read() == b"+OK\r\n" + b"+PONG\r\n" * 11
    assert client.transport.producerState == "producing"
    assert client.port.observer.paused_now == 0


def test_reading_pauses_while_too_many_bytes_are_queued(client: Talk) -> None:
    client.send(encode("SET", "a", "1"))
    client.send(encode("SET", "a", "v" * 1_000_000))
    assert client.transport.producerState == "producing"
    client.send(encode("SET", "a", "v" * 100_000))
    assert client.transport.producerState == "paused"
    client.port.host.settle()
    assert client.transport.producerState == "producing"


def test_the_queue_forgets_what_is_done(client: Talk) -> None:
    """A client that is always a little ahead costs no more for it."""
    client.send(encode("SET", "a", "1"))
    for _ in range(50):
        client.send(encode("SET", "a", "1"))
        client.port.host.turn()
    assert len(client.protocol.session._queue) <= 2


def test_a_saturated_host_pauses_connections_until_relief(client: Talk) -> None:
    client.port.host.saturated = True
    client.send(encode("SET", "a", "1"))
    assert client.transport.producerState == "paused"
    client.port.host.settle()
    assert client.read() == b"+OK\r\n"
    assert client.transport.producerState == "paused"
    client.port.host.relieve()
    assert client.transport.producerState == "producing"


def test_relief_after_the_client_left_is_harmless(client: Talk) -> None:
    client.port.host.saturated = True
    client.send(encode("SET", "a", "1"))
    client.lose()
    assert client.port.observer.paused_now == 0
    client.port.host.relieve()
    client.port.host.settle()


def test_more_output_than_may_stay_unread_closes(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted before the values are copied together."""
    monkeypatch.setattr(output, "OUTPUT_BYTES", 5000)
    client.run("SET", "a", "v" * 1000)
    assert len(client.run("MGET", *["a"] * 4)) > 4000
    assert client.run("MGET", *["a"] * 6) == b""
    assert client.transport.aborted
    assert client.port.observer.rejections == {"output_limit": 1}


def test_plain_output_has_the_same_bound(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "OUTPUT_BYTES", 5000)
    client.run("SET", "a", "v" * 1000)
    client.ask(b"kraft output plain\r\n")
    assert len(client.ask(b"mget a a a a\r\n")) == 4004
    assert client.ask(b"mget a a a a a a\r\n") == b""
    assert client.transport.aborted


def test_local_commands_that_take_long_let_others_have_their_turn(
    client: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies stay in order, and what came meanwhile or is half done by the end is answered as well."""
    monkeypatch.setattr(session_module, "LOCAL_SECONDS", 0)
    sent = b"".join(encode("ECHO", str(n)) for n in range(20)) + encode("SET", "a", "1")
    wanted = b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(20)) + b"+OK\r\n"
    replies = client.send(sent)
    assert replies == b"$1\r\n0\r\n"
    other = client.port.connect()
    assert other.send(encode("PING")) == b"+PONG\r\n"
    assert client.send(encode("PING")) == b""
    client.protocol.readConnectionLost()
    for _ in range(3):
        client.port.clock.advance(0)
        client.port.host.settle()
        replies += client.read()
    assert replies == wanted + b"+PONG\r\n"
    assert client.transport.disconnecting


def test_names_of_clients_are_short(client: Talk) -> None:
    """CLIENT LIST shows them all."""
    for words in (("CLIENT", "SETNAME"), ("HELLO", "2", "SETNAME"), ("CLIENT", "SETINFO", "LIB-NAME")):
        assert not client.run(*words, "n" * 256).startswith(b"-")
        assert b"cannot be longer than 256 bytes" in client.run(*words, "n" * 257)


@pytest.mark.parametrize("words", [("CONFIG", "GET"), ("COMMAND", "INFO"), ("COMMAND", "DOCS")])
def test_names_and_patterns_in_a_request_are_few(client: Talk, words: tuple[str, ...]) -> None:
    """Each costs much more than its bytes."""
    assert not client.run(*words, *["x"] * 256).startswith(b"-")
    assert client.run(*words, *["x"] * 257) == b"-ERR more than 256 arguments\r\n"


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


def test_draining_answers_what_was_received_then_closes(port: Port) -> None:
    pending, idle = port.connect(), port.connect()
    pending.send(encode("SET", "a", "1") + encode("GET", "a"))
    drained: list[bool] = []
    port.factory.port.drain(lambda: drained.append(True))
    assert idle.transport.disconnecting
    idle.lose()
    port.host.settle()
    assert pending.read() == b"+OK\r\n$1\r\n1\r\n"
    assert pending.transport.disconnecting
    assert not drained
    pending.lose()
    assert drained == [True]


def test_a_lost_connection_leaves_nothing_behind_that_waits_for_a_collection(port: Port) -> None:
    """Its buffers may be large; a circle of references would keep them until the collector runs."""
    gc.disable()
    try:
        client = port.connect()
        client.run("PING")
        transport = weakref.ref(client.transport)
        client.lose()
        del client
        assert transport() is None
    finally:
        gc.enable()
