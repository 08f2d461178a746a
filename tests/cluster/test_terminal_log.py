"""What a person sees at a terminal: a node started by hand, killed, started again, stopped with Ctrl-C."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import termios
import threading

import pytest

from tests.cluster.harness import TWISTD, Server, free_ports, wait_until

pytestmark = pytest.mark.slow


class Terminal:
    """A terminal of 80 columns with one program in the foreground, and what it shows."""

    def __init__(self, server: Server, *options: str) -> None:
        self._main, end = pty.openpty()
        termios.tcsetwinsize(end, (24, 80))
        self._text = b""
        self.process = subprocess.Popen(
            [TWISTD, "-n", *options, "kraft", "--config", server.config],
            cwd=server.folder, stdin=end, stdout=end, stderr=end, start_new_session=True,
            env=os.environ | {"TERM": "dumb"},
        )  # fmt: skip
        os.close(end)
        server.process = self.process
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the program has ended
            while data := os.read(self._main, 4096):
                self._text += data

    @property
    def lines(self) -> list[str]:
        """Without the time of day, which every line of the log begins with."""
        found = self._text.decode().replace("\r\n", "\n").splitlines()
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in found]

    def wait(self, words: str) -> None:
        wait_until(lambda: any(words in line for line in self.lines), f"{words!r} in {self.lines}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._main)


@pytest.fixture
def server(tmp_path):
    server = Server("K1", tmp_path / "K1", free_ports(3))
    server.configure({})
    yield server
    server.kill()


@pytest.fixture
def terminal(server):
    made = []

    def open_(*options):
        made.append(Terminal(server, *options))
        return made[-1]

    yield open_
    for each in made:
        each.close()


def test_a_terminal_shows_what_a_person_needs(server, terminal):
    """A few sentences from the start to ready, the same after kill -9, and two at Ctrl-C."""
    ready = f"K1 is ready: clients 127.0.0.1:{server.client_port}, "
    ready += f"status page http://127.0.0.1:{server.http_port}/"
    first = terminal()
    first.wait("is ready")
    first.wait("leads group 0")
    server.kill()
    assert (server.folder / "twistd.pid").exists()
    assert ready in first.lines
    assert len(first.lines) <= 7, first.lines

    again = terminal()
    again.wait("is ready")
    again.wait("leads group 0")
    os.kill(server.pid, signal.SIGINT)
    assert again.process.wait(20) == -signal.SIGINT
    again.wait("has stopped")
    assert again.lines[0].startswith("K1 starts: kraft ")
    assert ready in again.lines
    assert again.lines[-2:] == ["K1 stops; Ctrl-C again ends it at once", "K1 has stopped"]
    assert len(again.lines) <= 7, again.lines
    told = "\n".join((*first.lines, *again.lines))
    assert not re.search("pid|CRITICAL|critical|warning|twisted|Traceback", told), told


def test_a_refusal_at_a_terminal_is_the_last_line(server, terminal):
    (server.data).write_text("")
    shown = terminal("--pidfile=")
    assert shown.process.wait(30) == 1
    shown.wait("is not a directory")
    assert shown.lines[-1] == f"kraft: data directory {server.data} is not a directory: ls -ld {server.data}"
    assert len(shown.lines) == 2


def test_a_background_node_may_write_to_its_terminal(server, terminal):
    """With `stty tostop` the system would stop a node in the background at its first line."""
    shown = terminal("--pidfile=")
    shown.wait("is ready")
    for number in (signal.SIGTTOU, signal.SIGTTIN):
        os.kill(server.pid, number)
    assert server.ask("PING") == "PONG"
