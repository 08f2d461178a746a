"""The command line's own client of the client port, over a pair of sockets."""

import socket
from typing import Any

import pytest

from kraft.cli import connection as connection_module
from kraft.cli.client import Client, ErrorReply

GREETING = b"%1\r\n$5\r\nproto\r\n:3\r\n"


@pytest.fixture
def pair():
    """`pair(answer)`: a client whose node has answered already, and the node's end."""
    ends: list[Any] = []

    def connect(answer):
        mine, other = socket.socketpair()
        ends.append(other)
        mine.settimeout(5)
        other.sendall(GREETING + answer)
        client = Client(mine)
        ends.append(client)
        return client, other

    yield connect
    for each in ends:
        each.close()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (b"+OK\r\n", "OK"),
        (b":-7\r\n", -7),
        (b"$5\r\na\r\nb \r\n", "a\r\nb "),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"#t\r\n", 1),
        (b",1.5\r\n", "1.5"),
        (b"*2\r\n:1\r\n*1\r\n+a\r\n", [1, ["a"]]),
        (b"%2\r\n$1\r\na\r\n:1\r\n+b\r\n%0\r\n", {"a": 1, "b": {}}),
        (b"$2\r\n\xff\xfe\r\n", "\udcff\udcfe"),
    ],
)
def test_replies_are_plain_values(pair, answer, value):
    """Texts are `str`, whatever their form on the wire."""
    client, node = pair(answer)
    assert client.call("KRAFT", "VERSION") == value
    sent = node.recv(1000)
    assert sent == b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$5\r\nKRAFT\r\n$7\r\nVERSION\r\n"


def test_an_error_is_raised_with_its_prefix(pair):
    """The connection can be used on."""
    client, _ = pair(b"-CLUSTERDOWN No leader for group 0\r\n+PONG\r\n")
    with pytest.raises(ErrorReply, match="No leader for group 0") as raised:
        client.call("KRAFT", "LEADER")
    assert raised.value.prefix == "CLUSTERDOWN"
    assert client.call("PING") == "PONG"


@pytest.mark.parametrize("answer", [b"", b"+O", b"$5\r\nab", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_no_answer_is_an_error_of_the_network(pair, answer):
    """A node that stopped in the middle, and something else at the address."""
    client, node = pair(answer)
    node.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        client.call("PING")


def test_answers_are_bounded(pair, monkeypatch):
    """Before they are read."""
    monkeypatch.setattr(connection_module, "BULK_BYTES_MAX", 100)
    client, _ = pair(b"$101\r\n")
    with pytest.raises(ConnectionError, match="101 bytes"):
        client.call("PING")
