"""How a node starts, refuses to start, and stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress

import pytest

from kraft.process.failure import DAMAGED_STATUS
from tests.cluster.harness import START_DEADLINE, TWISTD, Server, free_ports, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import encode
from tests.storage.test_remembered_damage import damage_free_page

pytestmark = pytest.mark.slow


@pytest.fixture
def single(make_cluster):
    """One node that forms a cluster alone; not started."""
    return make_cluster(1)["K1"]


def refusal(server: Server) -> str:
    """The one line in which a node that ended says why, once; beside it only events before that."""
    assert server.exit_status() == 1
    [line] = [line for line in server.output.splitlines() if not line.startswith("{")]
    assert line.startswith("kraft: ")
    assert "node_failed" not in server.output
    return line


@pytest.mark.parametrize("port", ["peer_port", "client_port", "http_port"])
def test_a_taken_port_is_one_clear_line(single, port):
    """The line names the port."""
    number = getattr(single, port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", number))
        taken.listen()
        single.start()
        assert str(number) in refusal(single)


def test_a_directory_in_use_is_one_clear_line(single, tmp_path):
    """Two processes never share a data directory."""
    single.start()
    wait_until(single.serves_writes, "the first one runs")
    second = Server("K1", tmp_path / "second", free_ports(3))
    second.data = single.data
    second.configure({"K1": f"127.0.0.1:{second.peer_port}"})
    second.start()
    assert str(single.data) in refusal(second)
    assert single.serves_writes()


def test_damage_that_a_node_met_while_it_ran_is_refused_from_then_on(single):
    """A start does not read what is damaged here. A service manager is told not to try again."""
    single.start()
    wait_until(single.serves_writes, "it serves")
    for number in range(30):
        assert single.ask("SET", f"k{number}", "x" * 100_000) == "OK"
    assert single.ask("KRAFT", "SNAPSHOT") > 0
    assert single.ask("KRAFT", "COMPACT", "KEEP", "0")
    wait_until(lambda: single.group()["first_index"] > 30, "the log is cut, and has free pages")
    single.terminate()
    damage_free_page(single.data / "log.db")

    single.start()
    wait_until(single.serves_writes, "it starts")
    with single.client() as client, suppress(ConnectionError, EOFError):
        for _ in range(30):
            client.call("SET", "k", "x" * 100_000)
    assert single.exit_status() == DAMAGED_STATUS
    [line] = [line for line in single.output.splitlines() if line.startswith("kraft: ")]
    assert "re-admit the node with KRAFT REPLACE" in line

    single.start()
    assert single.exit_status() == DAMAGED_STATUS
    assert single.output.splitlines()[-1] == line


def test_a_directory_of_another_node_is_one_clear_line(single):
    """The data of K1 does not become that of K9 by a changed id."""
    single.start()
    wait_until(single.serves_writes, "it runs")
    single.terminate()
    (single.folder / "kraft.log").unlink()
    single.id = "K9"
    single.configure({"K9": f"127.0.0.1:{single.peer_port}"})
    single.start()
    line = refusal(single)
    assert "K1" in line
    assert "K9" in line


def test_a_data_directory_that_cannot_be_made_is_one_clear_line(single):
    """A file stands where the directory should be."""
    single.data.write_text("not a directory")
    single.start()
    assert str(single.data) in refusal(single)


def test_a_wrong_configuration_tells_all_its_faults(single):
    """Each with its option; nothing is started."""
    single.configure({}, raft={"electon_timeout": "1s"}, client={"routing": "sideways"})
    single.start()
    assert single.exit_status() not in (0, None)
    first, second = single.output.splitlines()
    assert first.startswith("kraft: ")
    assert second.startswith("kraft: ")
    assert "electon_timeout" in single.output
    assert "client.routing" in single.output
    assert not single.data.exists()


def test_a_missing_configuration_is_one_clear_line(single):
    """The file is named."""
    single.config.unlink()
    single.start()
    assert str(single.config) in refusal(single)


def test_an_empty_secret_is_one_clear_line(single):
    """The file is named."""
    secret = single.folder / "secret"
    secret.touch()
    single.configure({"K1": f"127.0.0.1:{single.peer_port}"}, cluster={"secret_file": str(secret)})
    single.start()
    assert str(secret) in refusal(single)


def test_a_log_elsewhere_says_too_why_the_node_ended(single):
    """What collects standard output learns of a failure, although the line for people is somewhere else."""
    single.data.write_text("not a directory")
    ended = twistd(single, "-n", "--pidfile=")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"kraft: data directory {single.data}")
    starting, failed = map(json.loads, ended.stdout.splitlines())
    assert (starting["event"], starting["data"]) == ("node_starting", str(single.data))
    event = failed
    assert (event["event"], event["reason"]) == ("node_failed", ended.stderr[len("kraft: ") :].rstrip())


def test_the_output_of_a_node_is_its_events(single):
    """From start to stop every line is one of ours; the framework below adds nothing."""
    single.start()
    wait_until(single.serves_writes, "it serves")
    single.terminate()
    names = [json.loads(line)["event"] for line in single.output.splitlines()]
    assert {"cluster_formed", "node_started", "node_stopping"} < set(names)
    assert names[-1] == "node_stopped"
    assert "twisted" not in names


def twistd(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    """Run twistd with the configuration of `server`, in its folder, until it ends or became a daemon."""
    command = [str(TWISTD), *options, "kraft", "--config", str(server.config)]
    return subprocess.run(
        command, cwd=server.folder, capture_output=True, text=True, timeout=START_DEADLINE, check=False
    )


@pytest.fixture
def daemon(single):
    """`daemon(option...)` starts `single` as a daemon; it is ended with the test."""
    pidfile = single.folder / "twistd.pid"
    yield lambda *options: twistd(single, *options)
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(("options", "log"), [((), "twistd.log"), (("--logfile", "k.log"), "k.log")])
def test_a_daemon_logs_to_a_file(single, daemon, options, log):
    """All of its life is there; SIGUSR1 begins a new file; SIGTERM ends it in order."""
    assert daemon(*options).returncode == 0
    log, pidfile = single.folder / log, single.folder / "twistd.pid"
    wait_until(single.serves_writes, "it serves")
    assert json.loads(log.read_text().splitlines()[0])["event"] == "node_starting"
    os.kill(int(pidfile.read_text()), signal.SIGUSR1)
    wait_until(lambda: log.with_name(log.name + ".1").exists(), "a new file")
    os.kill(int(pidfile.read_text()), signal.SIGTERM)
    wait_until(lambda: not pidfile.exists(), "it ends")
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()][-1] == "node_stopped"


def test_a_daemon_that_cannot_start_tells_who_started_it(single, daemon):
    """And its log; no process and no pid file is left."""
    single.data.write_text("not a directory")
    started = daemon()
    assert started.returncode == 1
    assert f"data directory {single.data}"[:40] in started.stderr
    log, pidfile = single.folder / "twistd.log", single.folder / "twistd.pid"
    wait_until(lambda: '"node_failed"' in log.read_text(), "the log says why")
    wait_until(lambda: not pidfile.exists(), "its pid file is gone")


@pytest.mark.parametrize("option", ["--syslog", "--logfile=-", "--logfile=/nowhere/at/all.log"])
def test_a_log_that_cannot_be_is_one_clear_line(single, daemon, option):
    """Before the daemon is made: a node without a log would fail unseen."""
    started = daemon(option)
    assert started.returncode == 1
    [line] = started.stderr.splitlines()
    assert line.startswith("kraft: ")
    assert option.lstrip("-").removeprefix("logfile=") in line


def test_a_removed_directory_is_made_again(single):
    """A data directory need not exist before the first start."""
    assert not single.data.exists()
    single.start()
    wait_until(single.serves_writes, "it serves")
    single.terminate()


def test_sigterm_answers_what_is_pending(cluster):
    """Each command of a pipeline is answered in order, up to where the connection closes at a whole reply."""
    leader = cluster.leader()
    with leader.client() as client:
        assert client.call("SET", "n", "0") == "OK"
        client.send(encode("INCR", "n") * 500)
        assert client.reply() == 1
        leader.process.terminate()
        answers = [1]
        try:
            while len(answers) < 500:
                answers.append(client.reply())
        except ConnectionError:
            pass
    leader.wait_stopped()
    done = [answer for answer in answers if isinstance(answer, int)]
    assert done == list(range(1, len(done) + 1))
    other = cluster.leader()
    assert len(done) <= int(other.ask("GET", "n")) <= 500
    leader.start()
    cluster.wait_serving(leader)


def test_a_rolling_restart_loses_nothing(cluster):
    """One node after the other, under load: every stop is orderly, every start catches up."""
    with Load(list(cluster)) as load:
        for server in cluster:
            load.advance(100)
            server.terminate()
            server.start()
            cluster.wait_serving(server)
    for server in cluster:
        load.check(server)


def test_the_launcher_options_run_one_node(single):
    """The long options of the Java launcher, without a file."""
    single.config.unlink()
    data = single.folder / "by-options"
    single.start(
        *("--id", "K1", "--mode", "standalone", "--host", "127.0.0.1", "--data-dir", str(data)),
        *("--raft-rpc-port", str(single.peer_port), "--service-port", str(single.client_port)),
    )
    wait_until(single.serves_writes, "it serves")
    assert data.is_dir()
    single.terminate()


def test_the_launcher_options_run_a_group(make_cluster):
    """group-member with the member list as one argument."""
    cluster = make_cluster()
    listed = " ".join(f"{server.id},127.0.0.1,{server.peer_port}" for server in cluster)
    for server in cluster:
        server.start(
            *("--id", server.id, "--mode", "group-member", "--group-config", listed),
            *("--service-port", str(server.client_port), "--data-dir", str(server.data)),
        )
    cluster.wait_serving()
    assert cluster["K1"].ask("SET", "x", "1") == "OK"
    assert [server.ask("GET", "x") for server in cluster] == [b"1"] * 3


def test_standby_by_the_launchers_options_waits_to_be_added(single):
    """As the Java launcher had it; the directory goes where such a node keeps it."""
    options = ["--id", "K1", "--mode", "standby", "--service-port", str(single.client_port)]
    single.start(*options, "--raft-rpc-port", str(single.peer_port), "--data-dir", str(single.data))
    wait_until(lambda: "node_started" in single.output, "its ports are open")
    assert "standby" in str(single.ask("KRAFT", "STATUS"))
    assert single.ask("SET", "x", "1").startswith("CLUSTERDOWN")


def test_options_and_file_exclude_each_other(single):
    """Two sources for one setting would leave the user guessing."""
    single.start("--config", str(single.config), "--id", "K1", "--mode", "standalone")
    assert single.exit_status() not in (0, None)
    assert re.search("--config", single.output)
    assert "Traceback" not in single.output


def test_a_moved_directory_is_the_same_node(single):
    """Identity is in the directory, not in its path."""
    single.start()
    wait_until(single.serves_writes, "it serves")
    assert single.ask("SET", "x", "kept") == "OK"
    single.terminate()
    moved = single.folder / "elsewhere"
    shutil.move(single.data, moved)
    single.data = moved
    single.configure({"K1": f"127.0.0.1:{single.peer_port}"})
    single.start()
    wait_until(single.serves_writes, "it serves again")
    assert single.ask("GET", "x") == b"kept"


@pytest.mark.parametrize("name", ["log.db", "state-0-1.db", "highwater", "lock"])
def test_a_file_that_cannot_be_written_is_one_clear_line(single, need, name):
    """The file, its owner, its mode and the command that mends it; then the node starts."""
    single.start()
    wait_until(single.serves_writes, "it serves")
    assert single.ask("KRAFT", "SNAPSHOT") > 0
    single.terminate()
    path = single.data / name
    path.chmod(0o444)
    (single.folder / "kraft.log").unlink()

    plain = [need("setpriv"), "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    with (single.folder / "kraft.log").open("ab") as log:
        single.process = subprocess.Popen([*plain, *single.command], stdout=log, stderr=log)
    line = refusal(single)
    assert line.startswith(f"kraft: {path}: it belongs to ")
    assert line.endswith(f": chmod u+rw {path}")

    subprocess.run(line.rpartition(": ")[2].split(), check=True)
    single.start()
    wait_until(single.serves_writes, "it serves again")


def test_a_folder_of_twistd_that_is_not_there_is_one_clear_line(single):
    """twistd itself would show a traceback."""
    ended = twistd(single, "-n", "--pidfile=", "--rundir=/nowhere/at/all")
    assert ended.returncode == 1
    assert ended.stderr == "kraft: /nowhere/at/all: No such file or directory\n"
    ended = twistd(single, "-n", "--pidfile=/nowhere/at/all.pid")
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        "kraft: pid file /nowhere/at/all.pid: No such file or directory; name another"
    )


def test_a_secret_that_everybody_may_read_is_a_warning(single):
    secret = single.folder / "secret"
    secret.write_text("s" * 32)
    secret.chmod(0o644)
    single.configure({"K1": f"127.0.0.1:{single.peer_port}"}, cluster={"secret_file": str(secret)})
    single.start()
    [event] = wait_until(lambda: single.events("secret_exposed"), "it is told")
    assert (event["level"], event["mode"], event["mend"]) == ("warning", "0644", f"chmod o= {secret}")
