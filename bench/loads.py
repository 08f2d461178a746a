"""The loads: requests, number of clients, and the programs that send them.

Each load sends a given number of requests and fails when a reply is an error, because refusing is cheaper
than working. redis-benchmark sends what it can; bench/load_generator.py sends the rest: inline commands,
mixtures, keys of unequal popularity, and requests at given times.
"""

import csv
import io
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from hashlib import sha1

from bench.client import ONE_KEY
from bench.processes import ROOT, Address, BenchError, environment

VALUE_BYTES = 64
LIMIT_SECONDS = 120.0
KEYS_OF_A_COMMAND = 10
"""What redis-benchmark's MSET writes, and what our MGET reads."""
KEYS_OF_A_TRANSACTION = 5

COUNTER = "counter:__rand_int__"
SCRIPT = (
    b"redis.call('GET', KEYS[1]) local n = redis.call('INCR', KEYS[1])"
    b" redis.call('PEXPIRE', KEYS[1], ARGV[1]) return n"
)
"""A rate limiter's: what the load evalsha calls."""

LABELS = {
    "set": "SET", "get": "GET", "line_set": "line SET", "line_get": "line GET", "mix": "80/20",
    "mset": "MSET", "mget": "MGET", "mset5": "5-key MSET", "exec5": "5-SET EXEC", "incr": "INCR",
    "evalsha": "EVALSHA",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """`clients` connections with `pipeline` requests in flight each; `pilot` requests estimate the rate.

    With `keys`, each request uses one of that many keys at random, named like those of `client.key`: all are
    equally likely, or with `zipf` as in YCSB, number n in proportion to 1 / n ** 0.99. The operation mset5 is
    an MSET of 5 keys, exec5 a transaction of 5 SET: MULTI, the commands and EXEC in one piece, which count as
    one request. The operation evalsha is a script of GET, INCR and PEXPIRE, to compare with incr.
    """

    operation: str  # set, get; line_set, line_get: as inline commands; mix: 80 % GET; mset, mget: 10 keys
    clients: int
    pipeline: int
    pilot: int
    keys: int = 0
    value_bytes: int = VALUE_BYTES
    zipf: bool = False

    @property
    def name(self) -> str:
        """The name in the tables, such as GET 50 x 16 or 80/20 50 zipf 100k keys."""
        parts = [f"{LABELS[self.operation]} {self.clients}"]
        if self.pipeline > 1:
            parts.append(f"x {self.pipeline}")
        if self.value_bytes != VALUE_BYTES:
            parts.append(f"{self.value_bytes // 1000}kB")
        if self.zipf:
            parts.append("zipf")
        if self.keys:
            parts.append(
                f"{self.keys // 1_000_000}M keys" if self.keys >= 1_000_000 else f"{self.keys // 1000}k keys"
            )
        return " ".join(parts)

    @property
    def reads(self) -> bool:
        """Whether it expects the keys to be there."""
        return self.operation in ("get", "line_get", "mix", "mget")

    @property
    def inline(self) -> bool:
        """Whether its requests are lines, as people type them into netcat."""
        return self.operation in ("line_set", "line_get")

    @property
    def generated(self) -> bool:
        """Whether our load generator sends it, which compares every reply with the expected one."""
        return self.inline or self.zipf or self.operation in ("mix", "mset5", "exec5")


@dataclass(frozen=True, slots=True)
class Access:
    """How clients connect: with TLS if `authority` is the file of a CA, as `user` if any, and to the leader
    of each key if it is a `cluster` to them.
    """

    authority: str = ""
    user: str = ""
    password: str = ""
    cluster: bool = False


PLAIN = Access()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The client's measurements: replies per second, and latency of a request or of a whole pipeline.

    p999_ms and late_p99_ms (how late requests were sent, at given times) are from the load generator only.
    """

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float | None = None
    late_p99_ms: float | None = None


LOADS = (
    Load("set", 1, 1, 200),
    Load("set", 50, 1, 4_000),
    Load("set", 50, 16, 16_000),
    Load("get", 1, 1, 400),
    Load("get", 50, 1, 4_000),
    Load("get", 50, 16, 16_000),
    Load("line_set", 1, 1, 200),
    Load("line_set", 50, 1, 4_000),
    Load("line_set", 50, 16, 16_000),
    Load("line_get", 1, 1, 400),
    Load("line_get", 50, 1, 4_000),
    Load("line_get", 50, 16, 16_000),
)
MIXED = (
    Load("mix", 50, 1, 4_000, keys=100_000),
    Load("mix", 50, 1, 4_000, keys=100_000, zipf=True),
    Load("mset", 50, 1, 2_000, keys=100_000),
    Load("mget", 50, 1, 2_000, keys=100_000),
    Load("mset5", 50, 1, 2_000, keys=100_000),
    Load("exec5", 50, 1, 2_000, keys=100_000),
    Load("incr", 50, 1, 4_000),
    Load("evalsha", 50, 1, 2_000),
    Load("incr", 50, 1, 4_000, keys=100_000),
    Load("evalsha", 50, 1, 2_000, keys=100_000),
    Load("set", 50, 1, 1_000, value_bytes=10_000),
    Load("get", 50, 1, 1_000, value_bytes=10_000),
    Load("set", 50, 1, 200, value_bytes=100_000),
    Load("get", 50, 1, 400, value_bytes=100_000),
    Load("set", 500, 1, 5_000),
    Load("get", 500, 1, 5_000),
    Load("set", 2_000, 1, 10_000),
    Load("get", 2_000, 1, 10_000),
    Load("mix", 50, 1, 4_000, keys=1_000_000),
    Load("mix", 50, 1, 4_000, keys=5_000_000),
)


def run(load: Load, address: Address, requests: int, access: Access = PLAIN) -> Outcome:
    """Load a server that accepts RESP and inline commands, as fast as it replies."""
    if load.generated:
        return generate(load, address, requests, access=access)
    return _redis_benchmark(load, address, requests, access)


def _redis_benchmark(load: Load, address: Address, requests: int, access: Access) -> Outcome:
    command = [
        "redis-benchmark", "-h", address.host, "-p", str(address.port), "-c", str(load.clients),
        "-P", str(load.pipeline), "-d", str(load.value_bytes), "-n", str(requests), "--csv", "-e",
    ]  # fmt: skip
    if access.authority:
        command += ["--tls", "--cacert", access.authority]
    if access.user:
        command += ["--user", access.user, "-a", access.password]
    if access.cluster:
        command += ["--cluster"]
    if load.keys:
        command += ["-r", str(load.keys)]
    if load.operation == "incr":
        command += ["INCR", COUNTER]
    elif load.operation == "evalsha":
        command += ["EVALSHA", sha1(SCRIPT, usedforsecurity=False).hexdigest(), "1", COUNTER, "60000"]
    elif load.operation == "mget":
        command += ["MGET", *[ONE_KEY.decode()] * KEYS_OF_A_COMMAND]
    else:
        command += ["-t", load.operation]
    done = finish(command)
    if "Error" in done.stdout + done.stderr:
        raise BenchError(f"{load.name}: the server answered with an error: {done.stderr or done.stdout}")
    return parse_redis_benchmark(done.stdout, requests)


def parse_redis_benchmark(text: str, requests: int) -> Outcome:
    """Parse the CSV of redis-benchmark 7.

    It divides by whole milliseconds, and so tells an infinite rate of a run that took less than one: such a
    run counts as one of a millisecond.
    """
    start = text.find('"test"')
    rows = list(csv.DictReader(io.StringIO(text[start:]))) if start >= 0 else []
    if len(rows) != 1:
        raise BenchError(f"redis-benchmark printed no result: {text[-500:]!r}")
    row = rows[0]
    rate = min(float(row["rps"]), requests * 1000.0)
    return Outcome(requests, rate, float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


def generate(
    load: Load, address: Address, requests: int, rate: float = 0.0, access: Access = PLAIN
) -> Outcome:
    """Load a server with the load generator: `rate` requests per second, or 0 as fast as it replies.

    It sends at most `load_generator.MOST_REQUESTS`.
    """
    task = {**address._asdict(), "requests": requests, "rate": rate}
    task |= {"load": asdict(load), "access": asdict(access)}
    done = finish([sys.executable, "-m", "bench.load_generator", json.dumps(task)])
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
