"""The blocking connection to a client port, over a pair of sockets."""

import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.cli.connection import NodeConnection, NotSent
from kraft.resp.render import render
from kraft.resp.values import Error, Push, SetOf, Verbatim


@pytest.fixture
def pair():
    """`pair(answer)`: a connection whose node has answered already, and the node's end."""
    ends: list[Any] = []

    def connect(answer=b""):
        mine, other = socket.socketpair()
        other.sendall(answer)
        connection = NodeConnection(mine)
        ends.extend((connection, other))
        return connection, other

    yield connect
    for each in ends:
        each.close()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"+OK\r\n", "OK"),
        (b"-ERR no\r\n", Error("ERR no")),
        (b":-7\r\n", -7),
        (b"(12345678901234567890\r\n", 12345678901234567890),
        (b",1.5\r\n", 1.5),
        (b"#t\r\n", True),
        (b"_\r\n", None),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"$4\r\n\r\n\xff\x00\r\n", b"\r\n\xff\x00"),
        (b"=7\r\ntxt:a\nb\r\n", Verbatim("a\nb")),
        (b"!5\r\nERR x\r\n", Error("ERR x")),
        (b"*2\r\n:1\r\n*1\r\n-ERR no\r\n", [1, [Error("ERR no")]]),
        (b"~1\r\n:1\r\n", SetOf((1,))),
        (b"%1\r\n$1\r\na\r\n:1\r\n", {b"a": 1}),
        (b"|1\r\n+ttl\r\n:3600\r\n:1\r\n", 1),
    ],
)
def test_replies_of_both_protocols(pair, answer, reply):
    connection, node = pair(answer)
    assert connection.call([b"GET", b"\xff"], 5) == reply
    assert node.recv(100) == b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n"


VALUES = st.recursive(
    st.none() | st.binary() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_what_the_server_renders_is_read_again(value):
    """Both ends of the protocol agree."""
    mine, other = socket.socketpair()
    with NodeConnection(mine) as connection, other:
        other.sendall(render(value, 3))
        assert connection.call([b"GET"], 5) == value


def test_pushes_are_not_replies(pair):
    """They are kept beside, in their order."""
    connection, _ = pair(b">2\r\n+invalidate\r\n*0\r\n+OK\r\n")
    assert connection.call([b"SET", b"a", b"1"], 5) == "OK"
    assert connection.pushes == [Push(("invalidate", []))]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "the node closed the connection"),
        (b"$5\r\nab", "the node closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP is spoken there: name the client port"),
        (b"\x00\x00\x01\x02", "no client port of kraft answers there"),
        (b"?1\r\n", "no client port of kraft answers there"),
        (b":x\r\n", "no client port of kraft answers there"),
        (b"*x\r\n", "an answer of 'x' elements"),
        (b"$99999999999\r\n", "an answer of 99999999999 bytes"),
        (b"*1\r\n" * 40 + b":1\r\n", "nested too deeply"),
        (b"%1\r\n*0\r\n:1\r\n", "no plain keys"),
    ],
)
def test_what_is_no_reply_is_an_error_of_the_network(pair, answer, text):
    """The words tell what is probably wrong with the address."""
    connection, node = pair(answer)
    node.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match=text):
        connection.call([b"PING"], 5)


def test_a_request_that_did_not_leave_is_told_apart(pair):
    """The node can execute complete requests only."""
    connection, node = pair()
    node.close()
    with pytest.raises(NotSent):
        connection.call([b"SET", b"a", b"1" * (1 << 22)], 5)


def test_a_silent_node_is_a_timeout(pair):
    connection, _ = pair()
    with pytest.raises(TimeoutError):
        connection.call([b"PING"], 0.01)


def test_a_closed_connection_is_stale(pair):
    connection, node = pair()
    assert not connection.stale
    node.sendall(b"+late\r\n")
    assert not connection.stale
    node.close()
    connection.close()


def test_a_connection_that_the_node_has_closed_is_stale(pair):
    connection, node = pair()
    node.close()
    assert connection.stale


def test_connecting_chooses_the_newer_protocol(tmp_path):
    """By a Unix socket here; a server that refuses HELLO is used with the older one."""
    path = str(tmp_path / "client.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(5)
        for answer in (b"%0\r\n", b"-ERR unknown command 'HELLO'\r\n"):
            with Answering(listener, answer), NodeConnection.connect((path, 0), 5) as connection:
                assert not connection.stale


class Answering:
    """The next connection to `listener` is answered from another thread."""

    def __init__(self, listener, answer):
        def serve():
            self.node, _ = listener.accept()
            self.node.recv(100)
            self.node.sendall(answer)

        self.thread = threading.Thread(target=serve)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join(5)
        self.node.close()
