"""A real node under a service manager played by the test: what it hears, and when it hears nothing more."""

import fcntl
import os
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from kraft.telemetry.notify import STATUS_SECONDS
from tests.cluster.harness import TWISTD, Server, free_ports, wait_until
from tests.cluster.wire import Refusal
from tests.deploy.threads import held, writer_thread

pytestmark = pytest.mark.slow

WATCHDOG_SECONDS = 2.4  # so that a sign of life is due every 0.8 seconds
CLIENT = {"write_timeout": "1s"}


class Manager:
    """A notify socket and what came in, oldest first; the lines of a datagram stay together.

    A thread reads all the time: the socket holds ten datagrams, and a node drops what does not fit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._arrived: SimpleQueue[str] = SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while said := self._socket.recv(4096).decode():
            self._arrived.put(said)

    def wait(self, words: str, deadline: float = 60.0) -> str:
        """The next datagram with these words in it; what came before it is in `heard`."""
        end = time.monotonic() + deadline
        while True:
            try:
                said = self._arrived.get(timeout=max(0.01, end - time.monotonic()))
            except Empty:
                raise AssertionError(f"not within {deadline:g}s: {words}; heard {self.heard}") from None
            self.heard.append(said)
            if words in said:
                return said

    def silent(self, words: str, seconds: float) -> bool:
        """Whether no datagram with these words comes for so long."""
        try:
            self.wait(words, seconds)
        except AssertionError:
            return True
        return False

    def drop(self) -> None:
        """Forget what waits."""
        while not self._arrived.empty():
            self._arrived.get()
        self.heard.clear()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def node(tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A cluster of one, started under the manager and watched by it."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_SECONDS * 1_000_000)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    server = Server("K1", tmp_path / "K1", free_ports(3))
    server.configure({}, client=CLIENT)
    server.start()
    yield server
    if server.running:
        server.resume()
    server.kill()


def test_the_life_of_a_node(node, manager):
    """Ready with open ports, a status in words, a reload with its outcome, and the end told as it begins."""
    manager.wait("READY=1")
    assert manager.heard[0] == "STATUS=reading the data directory"
    assert all("EXTEND_TIMEOUT_USEC=" in said for said in manager.heard[1:-1])
    assert node.ask("PING") == "PONG"

    status = manager.wait("STATUS=leader")
    heard = time.time()
    node.wait_serving()
    [elected] = [event for event in node.events("role_changed") if event["role"] == "leader"]
    led = datetime.fromisoformat(elected["timestamp"]).timestamp()
    assert heard - led < STATUS_SECONDS - 1  # at the change, and not at the next interval
    assert "leader of 1 group, term " in status
    assert status.endswith("0/0 peers")
    manager.wait("WATCHDOG=1")

    node.configure({}, client=CLIENT, log={"level": "debug"}, raft={"election_timeout": "2s"})
    os.kill(node.pid, signal.SIGHUP)
    begin = manager.wait("RELOADING=1")
    assert "MONOTONIC_USEC=" in begin
    manager.wait("READY=1")
    wait_until(lambda: node.events("config_needs_restart"), "the log has the reload")
    assert node.events("config_reloaded")[-1]["changed"] == ["log.level"]
    assert node.events("config_needs_restart")[-1]["options"] == ["raft.election_timeout"]

    node.config.write_text("node: {id: K1\n")
    os.kill(node.pid, signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    wait_until(lambda: node.events("config_refused"), "the log has the refusal")
    [problem] = node.events("config_refused")[-1]["problems"]
    assert str(node.config) in problem
    assert node.serves_writes()

    node.terminate()
    manager.wait("STOPPING=1")


def test_a_blocked_reactor_gives_no_sign_of_life(node, manager):
    """A stopped process is one; when it goes on, so do the signs."""
    manager.wait("WATCHDOG=1")
    node.pause()
    manager.drop()
    assert manager.silent("WATCHDOG=1", WATCHDOG_SECONDS)
    node.resume()
    manager.wait("WATCHDOG=1")


def test_a_blocked_writer_thread_gives_no_sign_of_life(node, manager):
    """The reactor answers clients all the while, and tells the status; only writes wait."""
    node.wait_serving()
    with held(writer_thread(node.pid)):
        manager.silent("WATCHDOG=1", 1.0)  # the answer that was on its way
        manager.drop()
        assert manager.silent("WATCHDOG=1", WATCHDOG_SECONDS)
        assert node.ask("PING") == "PONG"
        answer = node.ask("SET", "k", "v")
        assert isinstance(answer, Refusal), answer
        assert "leader of 1 group" in manager.wait("STATUS=")
        assert not any("WATCHDOG=1" in said for said in manager.heard)
    manager.wait("WATCHDOG=1")
    wait_until(node.serves_writes, "writes go on")


def test_a_node_that_cannot_start_says_why(node, manager, tmp_path):
    """The words stay in `systemctl status` after the end."""
    manager.wait("READY=1")
    other = Server("K1", tmp_path / "other", (*free_ports(1), node.client_port, *free_ports(1)))
    other.configure({})
    other.start()
    try:
        assert other.exit_status() == 1
        assert str(node.client_port) in manager.wait("STATUS=failed: ")
    finally:
        other.kill()


def test_a_terminal_that_is_closed_ends_the_node_in_order(tmp_path):
    """The same signal, but nobody asked for a reload: it is what ends programs that run in a terminal."""
    node = Server("K1", tmp_path / "K1", free_ports(3))
    node.configure({})
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [TWISTD, "-n", "--pidfile=", "kraft", "--config", str(node.config)],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inside)
    try:
        wait_until(node.serves_writes, "the node serves writes")
        os.close(terminal)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
