"""What requests over several groups cost, beside the same requests in one group.

    python -m bench.over_groups [--seconds 5]

Three nodes with 16 groups; each client has one request in flight and keeps to one node. The goals are ratios,
so both sides of each are measured in turn, in the same cluster.
"""

import argparse
import selectors
import socket
import sys
import tempfile
import time
from binascii import crc_hqx
from collections.abc import Sequence
from pathlib import Path

from bench.client import command, write_together
from bench.grouped import SLOTS, Grouped
from bench.measure import percentile
from bench.processes import BenchError, local
from bench.progress import say

GROUPS = 16
ROUNDS = 3
SETS = 500  # of keys that a load uses, each client another one first
CALL_SECONDS = 20.0


class Request:
    """One request, and how its replies end. `words` are those of its commands."""

    def __init__(self, commands: Sequence[Sequence[bytes]], end: bytes) -> None:
        self.sent = b"".join([command(*words) for words in commands])
        self.end = end


def keys_of(group: int, count: int) -> list[bytes]:
    """Keys of slots that the group has since the cluster was formed."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        name = b"key:%d" % number
        if crc_hqx(name, 0) % SLOTS * GROUPS // SLOTS == group:
            found.append(name)
        number += 1
    return found


def sets(keys: Sequence[bytes]) -> Request:
    """A pipeline of SETs."""
    return Request([(b"SET", key, b"x") for key in keys], b"+OK\r\n" * len(keys))


def exec_(keys: Sequence[bytes]) -> Request:
    """The same in MULTI and EXEC."""
    words = [(b"MULTI",), *[(b"SET", key, b"x") for key in keys], (b"EXEC",)]
    return Request(words, b"+QUEUED\r\n*%d\r\n" % len(keys) + b"+OK\r\n" * len(keys))


def mget(keys: Sequence[bytes]) -> Request:
    """Values of one byte."""
    return Request([(b"MGET", *keys)], b"*%d\r\n" % len(keys) + b"$1\r\nx\r\n" * len(keys))


def get(key: bytes) -> Request:
    """A value of one byte."""
    return Request([(b"GET", key)], b"$1\r\nx\r\n")


class Connection:
    """A client with one request in flight."""

    def __init__(self, port: int, requests: Sequence[Request], place: int) -> None:
        self.socket = socket.create_connection(local(port), timeout=CALL_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._place = place
        self._begun = 0.0
        self._received = b""

    def send(self) -> None:
        """Send the next request."""
        self._place += 1
        self._received = b""
        self._begun = time.perf_counter()
        self.socket.sendall(self._requests[self._place % len(self._requests)].sent)

    def receive(self) -> float:
        """Seconds since the request was sent, if all replies are there, else 0. Raises BenchError."""
        self._received += self.socket.recv(65_536)
        if self._received.endswith(self._requests[self._place % len(self._requests)].end):
            return time.perf_counter() - self._begun
        if b"-" in self._received:
            raise BenchError(f"a request failed: {self._received[-200:]!r}")
        return 0.0


def load(ports: Sequence[int], requests: Sequence[Request], clients: int, seconds: float) -> list[float]:
    """Let clients send for a while. Returns how long each request took, in seconds."""
    waiting, found = selectors.DefaultSelector(), list[float]()
    connections = [Connection(ports[each % len(ports)], requests, each) for each in range(clients)]
    for each in connections:
        waiting.register(each.socket, selectors.EVENT_READ, each)
        each.send()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready = waiting.select(CALL_SECONDS)
        if not ready:
            raise BenchError(f"no reply within {CALL_SECONDS:.0f} s")
        for key, _ in ready:
            if took := key.data.receive():
                found.append(took)
                key.data.send()
    for each in connections:
        each.socket.close()
    return found


def loads() -> dict[str, tuple[list[Request], int]]:
    """The requests of each load, and the number of its clients."""
    keys = [keys_of(group, SETS + 16) for group in range(GROUPS)]
    one = [[keys[place % GROUPS][place + n] for n in range(2)] for place in range(SETS)]
    two = [[keys[(place + n) % GROUPS][place] for n in range(2)] for place in range(SETS)]
    hot = [exec_([keys[0][0], keys[GROUPS - 1][0]])]
    return {
        "16 SETs in one group": ([sets(keys[group][:16]) for group in range(GROUPS)], 1),
        "16 SETs in 16 groups": ([sets([keys[group][n] for group in range(GROUPS)]) for n in range(SETS)], 1),
        "EXEC in one group": (list(map(exec_, one)), 1),
        "EXEC in two groups": (list(map(exec_, two)), 1),
        "GET": ([get(pair[0]) for pair in two], 1),
        "MGET in two groups": (list(map(mget, two)), 1),
        "EXEC in one group, 50 clients": (list(map(exec_, one)), 50),
        "EXEC in two groups, 50 clients": (list(map(exec_, two)), 50),
        "EXEC of two hot keys, 50 clients": (hot, 50),
    }


def row(name: str, found: Sequence[float], seconds: float) -> str:
    """One line of the table."""
    p50, p99, most = (percentile(list(found), share) * 1e3 for share in (0.5, 0.99, 1.0))
    return f"| {name} | {len(found) / seconds:,.0f} | {p50:.2f} | {p99:.1f} | {most:.0f} |"


def main() -> int:
    """Run; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load and round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        system = Grouped(Path(directory), GROUPS, redirect=False)
        try:
            system.start()
            plan, found = loads(), dict[str, list[float]]()
            names = [key for group in range(GROUPS) for key in keys_of(group, SETS + 16)]
            write_together(local(system.ports[0]), names, 1)
            for _ in range(ROUNDS):
                for name, (requests, clients) in plan.items():
                    say(name)
                    found.setdefault(name, []).extend(load(system.ports, requests, clients, options.seconds))
        finally:
            system.stop()
    print("| requests | a second | p50, ms | p99, ms | longest, ms |\n| --- | ---: | ---: | ---: | ---: |")
    for name, times in found.items():
        print(row(name, times, ROUNDS * options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
