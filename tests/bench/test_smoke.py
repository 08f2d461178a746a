"""The benchmark runs, end to end and shortly. Nobody looks at its figures here."""

import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def bench(*arguments, module="bench"):
    """Run it from the checkout, where it lives, but with kraft as it is installed here."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


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
    assert len(samples) == 18
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


def test_checkpoints_and_a_snapshot(tmp_path, need):
    """Three nodes, a checkpoint of everything and of a part, and a fourth node that is fed."""
    need("redis-benchmark")
    out = str(tmp_path / "out")
    done = bench("checkpoint", "--keys", "5000", "--rounds", "1", "--seconds", "0.2", "--out", out)
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path / "out")
    assert len(result["whole"]) == len(result["part"]) == 1
    assert result["snapshot"]["new_mb"] > 0


def test_kraft_with_one_node_and_with_three(tmp_path, need):
    """Real nodes, a client on the leader and through a follower, and one killed leader."""
    need("redis-benchmark")
    done = bench(
        "--quick",
        "--systems",
        "kraft-1,kraft-3",
        "--loads",
        "SET 50,GET 50 x 16,line SET 1",
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    result = only_result(tmp_path)
    assert {sample["system"] for sample in result["samples"]} == {"kraft-1", "kraft-3", "kraft-3 follower"}
    assert [trial["system"] for trial in result["failover"]] == ["kraft-3"]


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


@pytest.mark.parametrize("operation", ["set", "line"])
def test_a_load_that_meets_an_error_reply_fails(operation, refusing_port, need):
    """Refusing is cheap: a benchmark that counted refusals would praise them."""
    need("redis-benchmark")
    code = (
        "import sys; from bench.loads import Load, run\n"
        f"run(Load({operation!r}, 2, 1, 10), {refusing_port}, 10)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "BenchError" in done.stderr
    assert "ERR no" in done.stderr
