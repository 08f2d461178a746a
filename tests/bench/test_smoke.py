"""The benchmark runs, end to end and shortly. Nobody looks at its figures here."""

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading

import pytest

from tests.bench.conftest import ROOT
from tests.cluster.harness import Cluster, free_ports, wait_until

LIMIT_SECONDS = 280
pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT_SECONDS + 60)]


def bench(*arguments, module="bench"):
    """Run it from the checkout, where it lives, but with kraft as it is installed here.

    A run that takes too long is terminated, so that it stops the servers that it has started.
    """
    command = [sys.executable, "-m", module, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            out, errors = process.communicate(timeout=LIMIT_SECONDS)
        except BaseException:
            process.terminate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def only_result(directory):
    (path,) = directory.glob("*.json")
    return json.loads(path.read_text())


def test_bare_server_and_sketch(tmp_path, need):
    """The yardsticks need nothing of kraft; a run leaves its results and nothing else."""
    need("redis-benchmark")
    pytest.importorskip("hiredis")
    page = tmp_path / "page.md"
    done = bench(
        "--quick", "--systems", "bare,sketch", "--out", str(tmp_path / "out"), "--markdown", str(page)
    )
    assert done.returncode == 0, done.stderr
    samples = only_result(tmp_path / "out")["samples"]
    assert {sample["system"] for sample in samples} == {"bare", "sketch"}
    assert len(samples) == 12 + 9  # the bare server stores nothing that lines could read
    assert all(sample["rate"] > 0 for sample in samples)
    assert page.read_text() in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_another_checkout_beside_this_one(tmp_path, need):
    """Three nodes run the code of the other checkout, and the page divides by them."""
    need("redis-benchmark")
    other = tmp_path / "other"
    for folder in ("kraft", "twisted"):
        shutil.copytree(ROOT / folder, other / folder, ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "kraft" / "__init__.py"
    version.write_text(
        version.read_text() + '__import__("pathlib").Path(__file__).with_name("used").touch()\n'
    )
    options = ["--quick", "--systems", "kraft-3", "--loads", "GET 50", "--failovers", "0"]
    done = bench(*options, "--earlier", str(other), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "| kraft-3 / earlier-3 | GET 50 |" in done.stdout
    assert (other / "kraft" / "used").exists()


def test_nodes_with_tls_and_with_users(tmp_path, need):
    """The clients of loads use TLS, or log in: both programs that send them."""
    need("redis-benchmark")
    pytest.importorskip("cryptography")
    need("redis-server")
    options = [
        "--quick",
        "--systems",
        "kraft-3,tls-3,users-3,redis-server,redis-server-tls",
        "--failovers",
        "0",
    ]
    out = tmp_path / "out"
    done = bench(*options, "--loads", "GET 50,5-key MSET 50 100k keys", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "| tls-3 / kraft-3 | GET 50 |" in done.stdout
    assert "| load | tls-3 / kraft-3 | users-3 / kraft-3 | redis-server-tls / redis-server |" in done.stdout
    done = bench("open-loop", *options[:3], "--loads", "SET 50", "--rates", "200", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "users-3" in done.stdout


def test_one_group_beside_three(tmp_path, need):
    """The clients of three groups send each request to the leader of its key."""
    need("redis-benchmark")
    options = ["--quick", "--systems", "one-group-3,three-groups-3", "--failovers", "0"]
    done = bench(*options, "--loads", "SET 50,GET 50 x 16", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    for load in ("SET 50", "GET 50 x 16"):
        assert f"| three-groups-3 / one-group-3 | {load} |" in done.stdout


def test_checkpoints_and_a_snapshot(tmp_path, need):
    """Three nodes, a checkpoint of everything and of a part, and a fourth node that is fed."""
    need("redis-benchmark")
    out = str(tmp_path / "out")
    done = bench("checkpoint", "--keys", "5000", "--rounds", "1", "--seconds", "0.2", "--out", out)
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path / "out")
    assert len(result["whole"]) == len(result["part"]) == 1
    assert result["snapshot"]["new_mb"] > 0
    for trial in result["whole"] + result["part"]:
        assert trial["pulse"]["pause_ms"] >= trial["pulse"]["p999_ms"] > 0
        assert trial["pulse"]["most_mb"] > 10


def test_backups_beside_writers(tmp_path, need):
    """An image that is fetched, and one that the follower writes."""
    need("redis-benchmark")
    out = str(tmp_path / "out")
    done = bench("backup", "--keys", "5000", "--rounds", "1", "--seconds", "0.2", "--out", out)
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path / "out")
    for trial in (*result["fetched"], *result["own"]):
        assert trial["busy"]["p99_ms"] > 0
        assert trial["pulse"]["writes"] > 0
    assert "| `KRAFT BACKUP` |" in done.stdout


def test_scans_beside_writers(tmp_path, need):
    """Three nodes, and a client that finds every key while others write."""
    need("redis-benchmark")
    out = str(tmp_path / "out")
    done = bench("scan", "--keys", "5000", "--rounds", "1", "--seconds", "0.2", "--out", out)
    assert done.returncode == 0, done.stderr
    [trial] = only_result(tmp_path / "out")["trials"]
    assert trial["seconds"] > 0
    assert trial["pause_ms"] > 0
    assert "| scan, s |" in done.stdout


def test_systems_that_nobody_uses(tmp_path, need, redis_server):
    """One that is started, empty and with keys, and one that runs already."""
    need("redis-benchmark")
    port, pid = redis_server
    options = ["--address", f"redis=127.0.0.1:{port}", "--pids", f"redis={pid}", "--systems", "kraft-1"]
    done = bench("idle", "--quick", *options, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    samples = {sample["system"]: sample for sample in only_result(tmp_path / "out")["samples"]}
    assert set(samples) == {"redis", "kraft-1"}
    for sample in samples.values():
        assert sample["full"]["mb"] > sample["empty"]["mb"]
        assert len(sample["empty"]["cores"]) == 1
    assert "| kraft-1 |" in done.stdout


def test_kraft_with_one_node_and_with_three(tmp_path, need):
    """Real nodes, a client on the leader and through a follower, and one killed leader."""
    need("redis-benchmark")
    done = bench(
        "--quick",
        "--systems",
        "kraft-1,kraft-3",
        "--loads",
        "SET 50,GET 50 x 16,line SET 1,line GET 50 x 16",
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path)
    assert {sample["system"] for sample in result["samples"]} == {"kraft-1", "kraft-3", "kraft-3 follower"}
    assert [trial["system"] for trial in result["failover"]] == ["kraft-3"]


@pytest.fixture
def redis_server(need, tmp_path):
    """A redis-server of Debian: its port and its process id."""
    (port,) = free_ports(1)
    command = [
        need("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(port), "redis-server listens")
            yield port, process.pid
        finally:
            process.terminate()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def test_running_clusters_given_by_their_addresses(tmp_path, need, redis_server, cluster):
    """One with process ids and one without; afterwards both still run."""
    need("redis-benchmark")
    port, pid = redis_server
    nodes = ",".join(f"127.0.0.1:{node.client_port}" for node in cluster)
    pids = ",".join(str(node.pid) for node in cluster)
    options = ["--quick", "--systems", "", "--json", "--out", str(tmp_path / "out")]
    options += ["--address", f"redis=127.0.0.1:1,127.0.0.1:{port}", "--address", f"demo={nodes}"]
    done = bench(
        "mixed", *options, "--pids", f"demo={pids}", "--loads", "80/20 50 zipf 100k keys,MGET 50 100k keys"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == only_result(tmp_path / "out")
    samples = {(sample["system"], sample["load"]): sample for sample in result["samples"]}
    assert len(samples) == 4
    assert {system for system, _ in samples} == {"redis", "demo"}
    for (system, _), sample in samples.items():
        assert sample["rate"] > 0
        assert (sample["cpu_seconds_per_1000"] is None) == (system == "redis")
        assert len(sample["rss_mb"]) == (3 if system == "demo" else 0)
    assert listens(port)
    os.kill(pid, 0)
    cluster.wait_serving()


def test_latency_at_given_rates(tmp_path, need, redis_server):
    """At shares of the peak, and at a given rate."""
    need("redis-benchmark")
    port, pid = redis_server
    options = [
        "open-loop",
        "--quick",
        "--systems",
        "",
        "--address",
        f"redis=127.0.0.1:{port}",
        "--pids",
        f"redis={pid}",
    ]
    done = bench(*options, "--loads", "GET 50", "--out", str(tmp_path / "shares"))
    assert done.returncode == 0, done.stderr
    assert "| GET 50 at 50% |" in done.stdout
    assert "| GET 50 at 80% |" in done.stdout
    done = bench(*options, "--loads", "SET 50", "--rates", "1000", "--out", str(tmp_path / "rates"))
    assert done.returncode == 0, done.stderr
    (sample,) = only_result(tmp_path / "rates")["samples"]
    assert (sample["load"], sample["asked"], sample["requests"]) == ("SET 50 at 1,000/s", 1000.0, 200)
    assert 0 < sample["p50_ms"] <= sample["p99_ms"] <= sample["p999_ms"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "redis"], "is not NAME=VALUE"),
        (["--address", "redis=localhost"], "is not HOST:PORT"),
        (["--address", "kraft-3=127.0.0.1:1"], "each name must be new"),
        (["--address", "a=127.0.0.1:1", "--pids", "a=x"], "something other than process ids"),
        (["--pids", "a=1"], "there is no --address of that name"),
        (["--loads", "SET 51"], "no such load: SET 51"),
        (["--systems", ""], "there is no system to run"),
        (["--other-python", "/nonexistent/python"], "/nonexistent/python: No such file or directory"),
    ],
)
def test_wrong_options_are_named(tmp_path, need, options, words):
    need("redis-benchmark")
    done = bench("compare", *options, "--out", str(tmp_path))
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_restart_of_a_node_with_keys(tmp_path):
    done = bench("restart", "--keys", "2000", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path)
    assert result["from_log"]["seconds"] > 0
    assert result["after_stop"]["seconds"] > 0
    assert result["after_kill"]["seconds"] > 0


class Refusing(socketserver.BaseRequestHandler):
    """Answers every read with one error."""

    def handle(self):
        while self.request.recv(65_536):
            self.request.sendall(b"-ERR no\r\n")


@pytest.fixture
def refusing_port():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    "operation", ["set", "line_set", "line_get", "mset", "mget", "mix", "mset5", "exec5"]
)
def test_a_load_that_meets_an_error_reply_fails(operation, refusing_port, need):
    """Refusing is cheap: a benchmark that counted refusals would praise them."""
    need("redis-benchmark")
    code = (
        "from bench.loads import Load, run; from bench.processes import local\n"
        f"run(Load({operation!r}, 2, 1, 10), local({refusing_port}), 10)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "BenchError" in done.stderr
    assert "ERR no" in done.stderr
