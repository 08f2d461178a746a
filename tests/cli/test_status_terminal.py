"""`kraft status` at a terminal and in a pipe, once and with --watch."""

import json
import os
import re
import signal
import subprocess
import sysconfig
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.terminal import Terminal
from tests.web.reports import report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
ESCAPE = b"\x1b"
SECONDS = 60.0


@pytest.fixture
def cluster(http_nodes):
    """Three nodes; all is well."""
    http_nodes.start(**{id_: partial(made, id_) for id_ in ("K1", "K2", "K3")})
    return http_nodes


def made(id_, members):
    return report(id_, members=members)


@pytest.fixture
def terminal():
    """`terminal(words..., columns=, **environment)`: kraft in a terminal."""
    made = []

    def open_(*words, columns=100, **environment):
        made.append(Terminal([KRAFT, *words], environment, size=(30, columns)))
        return made[-1]

    yield open_
    for each in made:
        each.close()


@pytest.fixture
def shell():
    """A shell with job control."""
    made = Terminal(["bash", "--norc", "-i"], {"PS1": "$ "}, size=(30, 100))
    yield made
    made.close()


def piped(*words, **environment):
    """What the command writes into a pipe."""
    return subprocess.run(
        [KRAFT, *words], capture_output=True, timeout=SECONDS, env={**os.environ, **environment}
    ).stdout


def test_a_terminal_gets_a_table_in_colours_that_fits(cluster, terminal):
    shown = terminal("status", cluster.addresses["K1"])
    assert shown.end() == 0
    assert b"\x1b[32mserving" in shown.raw
    assert shown.lines[-1] == "all well: 3 nodes answer and know a leader"
    assert "NODE  STATE" in shown.lines[0]

    narrow = terminal("status", cluster.addresses["K1"], columns=60)
    assert narrow.end() == 0
    assert any(line.startswith("left out, as there is no room for it: ") for line in narrow.lines)
    assert [line.split()[:2] for line in narrow.lines[1:4]] == [
        [id_, "serving"] for id_ in ("K1", "K2", "K3")
    ]

    plain = terminal("status", cluster.addresses["K1"], NO_COLOR="1")
    assert plain.end() == 0
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", plain.raw)


def test_a_terminal_that_can_do_nothing_gets_what_a_pipe_gets(cluster, terminal):
    dumb = terminal("status", cluster.addresses["K1"], TERM="dumb")
    assert dumb.end() == 0
    told = piped("status", cluster.addresses["K1"], FORCE_COLOR="1", CLICOLOR_FORCE="1")
    assert ESCAPE not in dumb.raw + told
    assert dumb.raw.replace(b"\r\n", b"\n").splitlines()[0] == told.splitlines()[0]


def test_a_terminal_without_utf_8_is_understood(cluster, terminal):
    shown = terminal("status", cluster.addresses["K1"], PYTHONIOENCODING="ascii")
    assert shown.end() == 0
    assert shown.raw.isascii()
    assert shown.lines[-1] == "all well: 3 nodes answer and know a leader"


def test_watching_shows_a_death_and_a_return_until_ctrl_c(cluster, terminal):
    """From the address of the very node that dies; the others are known by then."""
    shown = terminal("status", "--watch", "0.5", cluster.addresses["K1"])
    shown.wait("all well: 3 nodes")
    shown.wait("every 0.5 s")
    cluster.stop("K1")
    shown.wait("no answer")
    shown.wait("K1: Connection refused")
    shown.wait("K2")
    cluster.restart("K1")
    shown.wait("all well: 3 nodes")
    shown.interrupt()
    assert shown.end() == 0
    assert b": 3 nodes answer" in shown.raw.partition(b"\x1b[?1049l")[2]  # after the alternate screen
    assert shown.raw.rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")  # the cursor is back
    assert "Traceback" not in shown.text


def test_watching_goes_on_while_everything_is_down(cluster, terminal):
    shown = terminal("status", "--watch", "0.5", cluster.addresses["K2"])
    shown.wait("all well: 3 nodes")
    for id_ in cluster.addresses:
        cluster.stop(id_)
    shown.wait("no answer", times=3)
    for id_ in cluster.addresses:
        cluster.restart(id_)
    shown.wait("all well: 3 nodes")


def test_watching_leaves_the_terminal_in_order_at_sigterm(cluster, terminal):
    shown = terminal("status", "--watch", "0.5", cluster.addresses["K1"])
    shown.wait("every 0.5 s")
    shown.signal(signal.SIGTERM)
    assert shown.end() == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in shown.raw
    assert "Traceback" not in shown.text


def test_watching_stops_at_ctrl_z_and_comes_back(cluster, shell):
    """While it is stopped the terminal is as before, with a cursor; then the view is on its screen again."""
    shell.type(f"{KRAFT} status --watch 0.5 {cluster.addresses['K1']}")
    shell.wait("all well: 3 nodes")
    shell.send("\x1a")
    shell.wait("Stopped")
    assert shell.raw.rfind(b"\x1b[?1049l") > shell.raw.rfind(b"\x1b[?1049h")
    assert shell.raw.rfind(b"\x1b[?25h") > shell.raw.rfind(b"\x1b[?25l")
    cluster.stop("K1")
    shell.type("fg")
    shell.wait("no answer")
    assert shell.raw.count(b"\x1b[?1049h") == 2
    shell.interrupt()
    shell.type("exit $?")
    assert shell.end() == 0
    assert "Traceback" not in shell.text


class Piped:
    """kraft with its output in a pipe, line by line."""

    def __init__(self, *words):
        self._process = subprocess.Popen([KRAFT, *words], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines = self._process.stdout

    def line(self):
        return next(self._lines)

    def interrupt(self):
        """Ctrl-C: the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(SECONDS)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._lines.close()


@pytest.fixture
def watching():
    made = []

    def start(*words):
        made.append(Piped("status", "--watch", *words))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_watching_in_a_pipe_gives_blocks_with_the_time(cluster, watching):
    run = watching("0.5", cluster.addresses["K1"])
    for _ in range(2):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, every 0\.5 s\n", run.line())
        block = [run.line()]
        while not block[-1].startswith("all well"):
            block.append(run.line())
        assert "".join(block).encode() == piped("status", cluster.addresses["K1"])
        assert run.line() == "\n"
    assert run.interrupt() == 0


def test_watching_for_programs_gives_a_line_of_json(cluster, watching):
    run = watching("0.5", "--json", cluster.addresses["K1"])
    first = json.loads(run.line())
    assert first["healthy"] is True
    assert sorted(first) == ["healthy", "nodes", "time"]
    cluster.stop("K3")
    facts = first
    while facts["healthy"]:
        facts = json.loads(run.line())
    assert [each["error"] for each in facts["nodes"] if each["node"] == "K3"] == ["Connection refused"]
    assert run.interrupt() == 0
