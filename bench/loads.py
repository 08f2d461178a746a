"""The loads: requests, number of clients, and the programs that send them.

Each load sends a given number of requests and fails when a reply is an error, because refusing is cheaper
than working.
"""

import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass

from bench.processes import ROOT, BenchError, environment

VALUE_BYTES = 64
LIMIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """`clients` connections with `pipeline` requests in flight each; `pilot` requests estimate the rate.

    With `keys`, each request uses one of that many keys at random, named like those of `restart.key`.
    """

    operation: str  # set, get or line: a SET as an inline command
    clients: int
    pipeline: int
    pilot: int
    keys: int = 0

    @property
    def name(self) -> str:
        """The name in the tables, such as GET 50 x 16."""
        label = {"set": "SET", "get": "GET", "line": "line SET"}[self.operation]
        depth = f" x {self.pipeline}" if self.pipeline > 1 else ""
        return f"{label} {self.clients}{depth}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The client's measurements: replies per second, and latency of a request or of a whole pipeline."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float


LOADS = (
    Load("set", 1, 1, 200),
    Load("set", 50, 1, 4_000),
    Load("set", 50, 16, 16_000),
    Load("get", 1, 1, 400),
    Load("get", 50, 1, 4_000),
    Load("get", 50, 16, 16_000),
    Load("line", 1, 1, 200),
    Load("line", 50, 1, 4_000),
    Load("line", 50, 16, 16_000),
)
"""Writes come first, so that reads find the key that redis-benchmark wrote."""


def run(load: Load, port: int, requests: int) -> Outcome:
    """Load a port that accepts RESP and inline commands."""
    return (
        _lines(load, port, requests) if load.operation == "line" else _redis_benchmark(load, port, requests)
    )


def _redis_benchmark(load: Load, port: int, requests: int) -> Outcome:
    command = [
        "redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", load.operation, "-c", str(load.clients),
        "-P", str(load.pipeline), "-d", str(VALUE_BYTES), "-n", str(requests), "--csv", "-e",
    ]  # fmt: skip
    if load.keys:
        command += ["-r", str(load.keys)]
    done = finish(command)
    if "Error" in done.stdout + done.stderr:
        raise BenchError(f"{load.name}: the server answered with an error: {done.stderr or done.stdout}")
    return parse_redis_benchmark(done.stdout, requests)


def parse_redis_benchmark(text: str, requests: int) -> Outcome:
    """Parse the CSV of redis-benchmark 7."""
    start = text.find('"test"')
    rows = list(csv.DictReader(io.StringIO(text[start:]))) if start >= 0 else []
    if len(rows) != 1:
        raise BenchError(f"redis-benchmark printed no result: {text[-500:]!r}")
    row = rows[0]
    return Outcome(requests, float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


def _lines(load: Load, port: int, requests: int) -> Outcome:
    arguments = [str(number) for number in (port, load.clients, load.pipeline, requests)]
    done = finish([sys.executable, "-m", "bench.line_client", *arguments])
    return Outcome(**json.loads(done.stdout))


def finish(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a load client to its end. Raises BenchError when it fails or does not end in time."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"{command[0]} did not end within {LIMIT_SECONDS:g} s") from late
    if done.returncode:
        raise BenchError(
            f"{' '.join(command[1:])} failed ({done.returncode}): {(done.stderr or done.stdout)[-500:]}"
        )
    return done
