"""Replies and pushes on their way out: pushes never land inside a reply, and what is unread is bounded."""

import pytest

from kraft.resp.values import Push
from kraft.server import output as output_module
from kraft.server.output import Output
from tests.server.fakes import Port, Talk, encode
from tests.server.test_protocol import connect, read_all

NEWS = Push((b"news", [1, None]))
RESP3 = b">2\r\n$4\r\nnews\r\n*2\r\n:1\r\n_\r\n"
RESP2 = b"*2\r\n$4\r\nnews\r\n*2\r\n:1\r\n$-1\r\n"


def output_of(client: Talk) -> Output:
    return client.protocol.session.output


def test_a_push_has_the_form_of_the_connection(client: Talk) -> None:
    output_of(client).push(NEWS)
    assert client.read() == RESP2
    client.run("HELLO", "3")
    output_of(client).push(NEWS)
    assert client.read() == RESP3
    client.ask(b"kraft output plain\r\n")
    output_of(client).push(NEWS)
    assert client.read() == b"news\n1\nnull\n"


def test_a_push_while_a_segment_is_under_way_precedes_its_replies(client: Talk) -> None:
    client.run("HELLO", "3")
    assert client.send(encode("SET", "a", "1") + encode("GET", "a")) == b""
    output_of(client).push(NEWS)
    assert client.read() == RESP3
    client.port.host.turn()
    output_of(client).push(NEWS)
    assert client.read() == b"+OK\r\n" + RESP3
    client.port.host.turn()
    assert client.read() == b"$1\r\n1\r\n"


def test_a_push_between_the_rounds_of_long_reads_splits_no_reply(client: Talk) -> None:
    value = b"x" * 600_000
    client.run("HELLO", "3")
    client.run("SET", "big", value)
    client.send(encode("GET", "big") * 3 + encode("MGET", "big", "no"))
    one = b"$600000\r\n" + value + b"\r\n"
    client.port.host.turn()
    output_of(client).push(NEWS)
    assert client.read() == one * 2 + RESP3
    client.port.host.turn()
    assert client.read() == one + b"*2\r\n" + one + b"_\r\n"


def test_a_push_comes_after_replies_that_wait_unsent(port: Port) -> None:
    """And one that takes the client over its bound blocks it like a reply."""
    protocol, socket = connect(port)
    socket.room = 3
    protocol.dataReceived(encode("ECHO", "x" * 100_000))
    output = protocol.session.output
    output.push(NEWS)
    assert socket.taken == b"$10"
    assert not output.blocked
    output.push(Push((b"y" * 1_000_000,)))
    assert output.blocked
    protocol.dataReceived(encode("PING"))
    sent = read_all(socket)
    assert sent.startswith(b"$100000\r\nxxx")
    assert sent.endswith(b"x\r\n" + RESP2 + b"*1\r\n$1000000\r\n" + b"y" * 1_000_000 + b"\r\n+PONG\r\n")


def test_client_reply_does_not_concern_pushes(client: Talk) -> None:
    """As in Redis: neither switched off nor counted by SKIP."""
    client.send(encode("CLIENT", "REPLY", "SKIP"))
    output_of(client).push(NEWS)
    assert client.read() == RESP2
    assert client.send(encode("PING") * 2) == b"+PONG\r\n"
    client.send(encode("CLIENT", "REPLY", "OFF"))
    output_of(client).push(NEWS)
    assert client.read() == RESP2


def test_nothing_is_pushed_after_the_end(client: Talk) -> None:
    other = client.port.connect()
    client.run("QUIT")
    output_of(client).push(NEWS)
    assert client.read() == b""
    output = output_of(other)
    other.lose()
    output.push(NEWS)
    assert other.read() == b""


def test_more_output_than_may_stay_unread_closes(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted before the values are copied together."""
    monkeypatch.setattr(output_module, "OUTPUT_BYTES", 5000)
    client.run("SET", "a", "v" * 1000)
    assert len(client.run("MGET", *["a"] * 4)) > 4000
    assert client.run("MGET", *["a"] * 6) == b""
    assert client.transport.aborted
    assert client.port.observer.rejections == {"output_limit": 1}


def test_plain_output_has_the_same_bound(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "OUTPUT_BYTES", 5000)
    client.run("SET", "a", "v" * 1000)
    client.ask(b"kraft output plain\r\n")
    assert len(client.ask(b"mget a a a a\r\n")) == 4004
    assert client.ask(b"mget a a a a a a\r\n") == b""
    assert client.transport.aborted
