"""Whoever reads the log of a node may stall or go away: the node serves, and ends, all the same."""

import json
import os
import pty
import socket
import subprocess
import termios
import urllib.request
from contextlib import suppress

import pytest

from tests.cluster.harness import TWISTD, wait_until

pytestmark = pytest.mark.slow

STOP_SECONDS = 20.0


@pytest.fixture
def pipe():
    """A pipe that is full, and its reading end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def node(make_cluster):
    """One node, configured; `start_into` starts it with its output in a file descriptor."""
    return next(iter(make_cluster(1)))


def start_into(node, output):
    node.process = subprocess.Popen(
        [TWISTD, "-n", "--pidfile=", "kraft", "--config", str(node.config)],
        cwd=node.folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def lines_lost(node):
    """The value of the metric."""
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=30) as answer:
        rows = answer.read().decode().splitlines()
    [value] = [row.split()[1] for row in rows if row.startswith("kraft_log_lines_lost_total ")]
    return float(value)


def test_a_node_whose_output_nobody_reads_serves_and_stops(node, pipe):
    """`twistd -n kraft | sleep 1000`: nothing waits for the pipe but the thread of the log."""
    _, writer = pipe
    start_into(node, writer)
    node.wait_serving()
    with node.client() as client:
        for i in range(200):
            assert client.call("SET", f"k{i}", "v") == "OK"
    node.order("SNAPSHOT")
    assert node.ask("GET", "k199") == b"v"

    node.process.terminate()
    node.process.wait(STOP_SECONDS)


def test_a_terminal_that_was_stopped_holds_nothing_up(node):
    """Ctrl-S at the terminal of `twistd -n kraft`, and an end that does not wait for Ctrl-Q."""
    ours, terminal = pty.openpty()
    start_into(node, terminal)
    node.wait_serving()
    termios.tcflow(terminal, termios.TCOOFF)
    assert node.order("SNAPSHOT")
    for i in range(50):
        assert node.ask("SET", f"k{i}", "v") == "OK"

    node.process.terminate()
    node.process.wait(STOP_SECONDS)
    os.close(terminal)
    os.close(ours)


def test_a_log_file_on_a_full_disk_loses_lines_and_nothing_else(node, tmp_path, need):
    """With space again, the first line says how many are missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = [need("mount"), "-t", "tmpfs", "-o", "size=64k", "kraft-test", folder]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.strip()}")
    log = folder / "log"
    try:
        node.process = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", f"--logfile={log}", "kraft", "--config", str(node.config)],
            cwd=node.folder,
            stdin=subprocess.DEVNULL,
        )
        node.wait_serving()
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 1024)

        def counted():
            node.order("SNAPSHOT")
            return lines_lost(node) > 0

        wait_until(counted, "lines are lost")
        assert node.ask("SET", "k", "v") == "OK"
        filler.unlink()

        def reported():
            node.order("SNAPSHOT")
            return "log_lines_lost" in log.read_text()

        wait_until(reported, "the loss is reported")
        [told] = [row for row in log.read_text().splitlines() if '"event":"log_lines_lost"' in row]
        assert json.loads(told)["lines"] > 0
    finally:
        node.kill()
        subprocess.run([need("umount"), folder], check=True)


def test_a_node_that_cannot_start_ends_though_nobody_reads_why(node, pipe):
    """The last words get a second, not for ever."""
    _, writer = pipe
    with socket.create_server(("127.0.0.1", node.client_port)):
        start_into(node, writer)
        assert node.exit_status() == 1


def test_what_is_lost_after_the_reader_has_gone_is_counted(node):
    reader, writer = os.pipe()
    start_into(node, writer)
    os.close(writer)
    node.wait_serving()
    os.close(reader)

    def counted():
        node.order("SNAPSHOT")
        return lines_lost(node) > 0

    wait_until(counted, "a line is counted as lost")
    assert node.ask("SET", "k", "v") == "OK"


def test_the_reason_of_a_failure_gets_out_before_the_end(node):
    """Through the thread, on a pipe that is read only after the process has ended."""
    with socket.create_server(("127.0.0.1", node.client_port)):
        reader, writer = os.pipe()
        start_into(node, writer)
        os.close(writer)
        assert node.exit_status() == 1
    with os.fdopen(reader) as output:
        said = output.read().splitlines()
    assert said[-1].startswith("kraft: client.listen tcp:")
