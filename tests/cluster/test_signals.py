"""What a real node does at each signal, and about the pid file of its former life."""

import os
import signal
import subprocess

import pytest

from tests.cluster.harness import TWISTD, wait_until

pytestmark = pytest.mark.slow

IGNORED = ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPIPE", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGRTMIN")


@pytest.fixture
def single(make_cluster):
    """One node that serves."""
    server = make_cluster(1)["K1"]
    server.start()
    wait_until(server.serves_writes, "it serves")
    return server


def test_stray_signals_do_not_end_a_node(single):
    """Neither while it serves nor while it stops."""
    for name in IGNORED:
        os.kill(single.pid, getattr(signal, name))
    assert single.serves_writes()
    single.process.terminate()
    for name in (*IGNORED, "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGTERM", "SIGTERM"):
        if single.running:
            os.kill(single.pid, getattr(signal, name))
    single.wait_stopped()
    assert "Traceback" not in single.output.replace("Thread MainThread", "")


def test_a_node_reports_its_state(single):
    """In one event that has what an operator asks first."""
    os.kill(single.pid, signal.SIGUSR2)
    [report] = wait_until(lambda: single.events("state_report"), "the report")
    assert report["state"] == "serving"
    assert report["groups"][0]["role"] == "leader"
    assert report["members"] == [{"node": "K1", "voter": True, "connected": True, "lag": None}]
    assert report["queues"].keys() == {"writer", "state", "images"}
    assert report["summary"].startswith("leader of 1 group, term ")


def test_a_node_shows_what_its_threads_do(single):
    """And goes on."""
    os.kill(single.pid, signal.SIGQUIT)
    [report] = wait_until(lambda: single.events("thread_stacks"), "the stacks")
    assert "Thread MainThread:" in report["stacks"]
    assert "Thread kraft-writer:" in report["stacks"]
    assert single.serves_writes()


def test_hangups_in_a_row_reload_in_a_row(single):
    for _ in range(3):
        os.kill(single.pid, signal.SIGHUP)
    wait_until(lambda: single.events("config_reloaded"), "it is reloaded")
    assert single.serves_writes()


def test_a_second_ctrl_c_ends_a_node_at_once(make_cluster):
    """Even when the first one cannot be carried out: a client does not read its replies."""
    server = make_cluster(1, client={"write_timeout": "60s"})["K1"]
    server.start()
    wait_until(server.serves_writes, "it serves")
    with server.client() as client:
        assert client.call("SET", "k", "x" * 500_000) == "OK"
        client.send(b"GET k\r\n" * 200)  # far more than the socket's buffers take
        wait_until(lambda: server.ask("PING") == "PONG", "it answers others")
        os.kill(server.pid, signal.SIGINT)
        wait_until(lambda: server.events("node_stopping"), "it began to stop")
        assert server.running
        os.kill(server.pid, signal.SIGINT)
        assert server.process.wait(10) == -signal.SIGINT
    assert "Traceback" not in server.output


def test_signals_during_a_start_do_not_end_it(make_cluster):
    """From the moment at which kraft is loaded: the directory is locked soon after."""
    server = make_cluster(1)["K1"]
    server.start()
    wait_until(server.data.exists, "it has begun to start")
    for name in (*IGNORED, "SIGHUP", "SIGQUIT", "SIGUSR2"):
        os.kill(server.pid, getattr(signal, name))
    wait_until(server.serves_writes, "it serves")


def test_ctrl_c_during_a_start_is_quiet(make_cluster):
    server = make_cluster(1)["K1"]
    server.start()
    wait_until(server.data.exists, "it has begun to start")
    os.kill(server.pid, signal.SIGINT)
    assert server.process.wait(20) == -signal.SIGINT
    assert "Traceback" not in server.output


@pytest.mark.parametrize("number", ["4194999", "own", "other", ""])
def test_a_stale_pid_file_is_replaced_without_a_word(make_cluster, number):
    """The number is that of no process, of this one (a container), or of one that has taken it since."""
    server = make_cluster(1)["K1"]
    pid_file = server.folder / "twistd.pid"
    other = {"own": "$$", "other": str(os.getpid())}.get(number, number)
    with (server.folder / "kraft.log").open("ab") as log:
        server.process = subprocess.Popen(
            ["sh", "-c", f'printf "%s" {other} > {pid_file}; exec "$@"', "sh", TWISTD, "-n",
             f"--pidfile={pid_file}", "kraft", "--config", server.config],
            stdout=log, stderr=log,
        )  # fmt: skip
    wait_until(server.serves_writes, "it serves")
    assert int(pid_file.read_text()) == server.pid
    assert "pid" not in server.output
    assert all(line.startswith("{") for line in server.output.splitlines())

    second = subprocess.run(
        [TWISTD, "-n", f"--pidfile={pid_file}", "kraft", "--config", server.config],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr == (
        f"kraft: pid file {pid_file}: process {server.pid} uses it: stop it with kill {server.pid};"
        " name another one: twistd --pidfile=FILE\n"
    )
    assert int(pid_file.read_text()) == server.pid
    server.terminate()
    assert not pid_file.exists()
