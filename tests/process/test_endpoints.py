"""The endpoints that a node listens on: what is opened, and the line that says why it cannot be."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from kraft.listen_address import BACKLOG, split_endpoint
from kraft.process import endpoints, refusal
from kraft.process.endpoints import CannotListen, ServerEndpoint
from kraft.process.refusal import explain
from kraft.process.unix_port import UnixPort
from kraft.process.unix_socket import SocketInUse, remove_stale
from kraft.tcp.accept_limit import ACCEPTS_MAX

outcome = SynchronousTestCase()


@pytest.mark.parametrize(
    ("description", "backlog", "interface"),
    [
        ("tcp:10011:interface=127.0.0.1", BACKLOG, "127.0.0.1"),
        ("tcp6:10011:interface=\\:\\:1", BACKLOG, "::1"),
        ("tcp6:10011", BACKLOG, "::"),
        ("tcp:10011:backlog=7", 7, ""),
    ],
)
def test_many_clients_may_come_at_once(description, backlog, interface):
    reactor = MemoryReactor()
    ServerEndpoint(reactor, description).listen(Factory())
    assert [(server[2], server[3]) for server in reactor.tcpServers] == [(backlog, interface)]


def test_the_number_that_waits_may_have_a_bound():
    """Whatever the endpoint asks for, but no more than that."""
    reactor = MemoryReactor()
    for description in ("tcp:10001", "tcp:10001:backlog=7"):
        ServerEndpoint(reactor, description, 64).listen(Factory())
    assert [server[2] for server in reactor.tcpServers] == [64, 7]


# -- Unix sockets -------------------------------------------------------------------------------------


class Reactor:
    """As much of a reactor as a port needs."""

    def __init__(self):
        self.readers = set()

    def addReader(self, reader):
        self.readers.add(reader)

    def removeWriter(self, writer):
        """A port never writes."""

    def removeReader(self, reader):
        self.readers.discard(reader)


class ListeningReactor(Reactor):
    """One that opens real sockets."""

    def listenTCP(self, port, factory, backlog, interface):
        return self._started(tcp.Port(port, factory, backlog, interface, self))

    def adoptStreamPort(self, descriptor, family, factory):
        return self._started(tcp.Port._fromListeningDescriptor(self, descriptor, family, factory))

    @staticmethod
    def _started(port):
        port.startListening()
        return port


@pytest.fixture
def path(tmp_path):
    return tmp_path / "client.sock"


@pytest.mark.parametrize("kind", ["tcp", "unix", "systemd"])
def test_every_port_accepts_few_connections_in_a_turn(kind, path, monkeypatch):
    """Also one whose socket systemd has passed. How many are asked for is what Twisted would accept."""
    passed = socket.create_server(("127.0.0.1", 0))
    reactor = ListeningReactor()
    adopted = AdoptedStreamServerEndpoint(reactor, passed.detach(), socket.AF_INET)
    monkeypatch.setattr(ServerEndpoint, "_passed", lambda _: adopted)
    systemd = "systemd:domain=INET:name=client"
    described = {"tcp": "tcp:0:interface=127.0.0.1", "unix": f"unix:{path}", "systemd": systemd}[kind]
    port: Any = outcome.successResultOf(ServerEndpoint(reactor, described).listen(Factory()))
    asked_for = []

    def accept_none(_log, attempts, *_):
        asked_for.append(len(attempts))
        return ()

    monkeypatch.setattr(tcp, "_accept", accept_none)
    for _ in range(3):
        port.doRead()
    assert asked_for == [ACCEPTS_MAX] * 3
    port.connectionLost(None)


def test_a_shared_port_has_room_for_others_that_share_it():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        description = f"tcp:{free.getsockname()[1]}:interface=127.0.0.1"
    reactor: Any = ListeningReactor()
    shared = [ServerEndpoint(reactor, description, shared=True).listen(Factory()) for _ in range(2)]
    ports: list[Any] = list(map(outcome.successResultOf, shared))
    assert ports[0].getHost() == ports[1].getHost()
    failure = outcome.failureResultOf(ServerEndpoint(reactor, description).listen(Factory()), CannotListen)
    assert "is in use by another process" in failure.getErrorMessage()
    for port in ports:
        port.connectionLost(None)
    alone: Any = outcome.successResultOf(ServerEndpoint(reactor, description).listen(Factory()))
    refused = ServerEndpoint(reactor, description, shared=True).listen(Factory())
    assert "name it in client.shared_listen" in outcome.failureResultOf(refused).getErrorMessage()
    alone.connectionLost(None)


def opened(path):
    port = UnixPort(str(path), Factory(), BACKLOG, 0o660, Reactor())
    port.startListening()
    return port


def left_behind(path):
    """The file of a process that was killed: bound, and nobody listens."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


def closed(port):
    port.connectionLost(None)
    return not Path(port._path).exists()


def test_a_socket_of_a_dead_process_is_replaced(path):
    """Whatever lock Twisted has left beside it, even with the id of this very process."""
    left_behind(path)
    Path(f"{path}.lock").symlink_to(str(os.getpid()))
    port = opened(path)
    assert path.stat().st_mode & 0o777 == 0o660
    assert not Path(f"{path}.lock").is_symlink()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert closed(port)


def test_a_socket_of_a_live_process_stays(path):
    port = opened(path)
    with pytest.raises(SocketInUse, match="is in use by another process"):
        opened(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert closed(port)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_whose_owner_does_not_accept_stays(path, kind):
    """Another program's datagrams, and a queue that is full."""
    with socket.socket(socket.AF_UNIX, kind) as other, socket.socket(socket.AF_UNIX) as first:
        other.bind(str(path))
        if kind == socket.SOCK_STREAM:
            other.listen(0)
            first.connect(str(path))
        with pytest.raises(SocketInUse, match="is in use"):
            remove_stale(str(path))
    assert path.exists()


@pytest.mark.parametrize("make", ["file", "folder", "link", "pipe"])
def test_what_is_no_socket_is_never_removed(path, make):
    if make == "file":
        path.touch()
    elif make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/nowhere")
    with pytest.raises(SocketInUse, match="exists and is not a socket: ls -ld"):
        opened(path)
    assert path.exists() or path.is_symlink()


def test_a_socket_that_may_not_be_tried_stays(path, need):
    """Such as that of another user: whether somebody listens cannot be told."""
    left_behind(path)
    path.chmod(0)
    code = "import sys; from kraft.process.unix_socket import remove_stale; remove_stale(sys.argv[1])"
    drop = [need("setpriv"), "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1].endswith(
        f"{path} is the socket of another user (id {os.geteuid()}); if nobody uses it: rm {path}"
    )
    assert path.exists()


def test_a_file_that_was_removed_or_replaced_meanwhile_is_no_trouble(path):
    """Twisted's own port would raise at its close, and the stop of the node would never end."""
    port = opened(path)
    path.unlink()
    assert closed(port)

    port = opened(path)
    path.unlink()
    other = opened(path)
    assert not closed(port)
    assert closed(other)


@pytest.mark.filterwarnings("ignore:unclosed")  # by Twisted, which leaves a socket that could not be bound
def test_a_missing_folder_is_named(path):
    endpoint = ServerEndpoint(Reactor(), f"unix:{path}/below/it")
    failure = outcome.failureResultOf(endpoint.listen(Factory()), CannotListen)
    assert failure.getErrorMessage() == f"there is no folder {path}/below: mkdir {path}/below"


def test_a_socket_in_use_is_one_line(path):
    port = opened(path)
    failure = outcome.failureResultOf(
        ServerEndpoint(Reactor(), f"unix:{path}").listen(Factory()), CannotListen
    )
    assert failure.getErrorMessage() == f"{path} is in use by another process: ss -xlp | grep {path}"
    closed(port)


# -- sockets of systemd -------------------------------------------------------------------------------


def test_a_socket_that_systemd_did_not_pass_is_named():
    for which in ("name=client", "index=3"):
        endpoint = ServerEndpoint(Reactor(), f"systemd:domain=INET:{which}")
        said = outcome.failureResultOf(endpoint.listen(Factory()), CannotListen).getErrorMessage()
        assert said.startswith(f"systemd has passed no socket with {which} to this process; start it by")


@pytest.mark.parametrize(
    ("family", "listening", "found"),
    [(socket.AF_UNIX, True, "UNIX, listening"), (socket.AF_INET, False, "INET, not listening")],
)
def test_a_socket_of_another_kind_is_named(monkeypatch, path, family, listening, found):
    with socket.socket(family) as passed:
        if listening:
            passed.bind(str(path))
            passed.listen()

        def adopt(reactor, _description):
            endpoint = serverFromString(reactor, "tcp:1")
            endpoint.fileno, endpoint.addressFamily = passed.fileno(), socket.AF_INET
            return endpoint

        monkeypatch.setattr(endpoints, "serverFromString", adopt)
        endpoint = ServerEndpoint(MemoryReactor(), "systemd:domain=INET:name=client")
        failure = outcome.failureResultOf(endpoint.listen(Factory()), CannotListen)
        assert failure.getErrorMessage() == f"the socket that systemd has passed is another one ({found})"


# -- in words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "number", "words"),
    [
        ("tcp:7", errno.EADDRINUSE, "port 7 is in use by another process: ss -ltnp 'sport = :7'"),
        ("tcp:7:interface=10.9.9.9", errno.EADDRNOTAVAIL, "no address 10.9.9.9: ip -br address"),
        ("tcp6:7", errno.EAFNOSUPPORT, "this machine has no address of IPv6"),
        ("tcp:80", errno.EACCES, "ports below 1024 need a capability; write a higher port"),
        ("tcp:2000", errno.EACCES, "Permission denied"),
        ("unix:/run/x", errno.EACCES, "may not create a socket in /run: ls -ld /run"),
        ("unix:/run/x", errno.EROFS, "Read-only file system"),
    ],
)
def test_a_refusal_of_the_system_says_what_to_do(monkeypatch, endpoint, number, words):
    monkeypatch.setattr(refusal, "unprivileged_port", lambda: 1024)
    assert words in ": ".join(explain(split_endpoint(endpoint), OSError(number, os.strerror(number))))
