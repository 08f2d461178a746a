"""Keepalive: accepted sockets inherit it from the listening one."""

import socket

import pytest

from kraft.tcp.keepalive import keep_alive


class Port:
    """A listening port, as far as keepalive knows it; tests/cluster/test_half_open.py has a real one."""

    def __init__(self, listening):
        self.socket = listening


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request):
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as made:
        yield made


def accepted(listening):
    """An accepted connection, and the client's end of it."""
    client = socket.create_connection(listening.getsockname()[:2])
    server, _ = listening.accept()
    return server, client


def options(sock):
    """Keepalive on or off, and its times."""
    tcp = [
        sock.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    ]
    return (sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *tcp)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(300.0, (1, 300, 100, 3, 600_000)), (1.0, (1, 1, 1, 3, 2000)), (1.5, (1, 2, 1, 3, 4000))],
)
def test_an_accepted_connection_is_probed(listening, seconds, expected):
    """In seconds, and the timeout of unacknowledged data in milliseconds."""
    keep_alive(Port(listening), seconds)
    server, client = accepted(listening)
    with server, client:
        assert options(server) == expected


def test_never_means_that_the_system_decides_about_data_and_nobody_probes(listening):
    before = options(listening)
    keep_alive(Port(listening), 0.0)
    server, client = accepted(listening)
    with server, client:
        assert options(server) == (0, *before[1:])


def test_a_unix_socket_and_a_port_without_a_socket_are_left_alone(tmp_path):
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        keep_alive(Port(unix), 300.0)
        assert unix.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    keep_alive(object(), 300.0)
    keep_alive(Port(None), 300.0)
