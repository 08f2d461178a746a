"""A load of inline commands, as netcat and scripts send them: SET lines with 64-byte values.

Arguments: PORT CLIENTS PIPELINE REQUESTS. Each connection keeps PIPELINE lines in flight and sends the next
ones when all have been answered. Prints one JSON object; any reply other than +OK ends the program with an
error.
"""

import json
import select
import socket
import sys
import time

from bench.measure import percentile

LINE = b"SET key:__line__ " + b"x" * 64 + b"\r\n"
OK = b"+OK\r\n"
SILENCE_SECONDS = 10.0


class Connection:
    """One socket with the replies of its current round."""

    def __init__(self, port: int, pipeline: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = LINE * pipeline
        self._expected = OK * pipeline
        self._received = b""
        self._sent_at = 0.0

    def ask(self) -> None:
        """Send a round of lines."""
        self._received = b""
        self._sent_at = time.perf_counter()
        self.socket.sendall(self._request)

    def answered(self) -> float | None:
        """Read; return the seconds since the round was sent if it is complete, else None."""
        data = self.socket.recv(1 << 16)
        self._received += data
        if not data or not self._expected.startswith(self._received):
            raise SystemExit(f"not an answer to a SET: {self._received[-200:]!r}")
        if len(self._received) < len(self._expected):
            return None
        return time.perf_counter() - self._sent_at


def run(port: int, clients: int, pipeline: int, requests: int) -> dict[str, float]:
    """Send at least `requests` lines over `clients` connections; the rate is per second, latencies in ms."""
    poll = select.epoll()
    connections = {}
    for _ in range(clients):
        connection = Connection(port, pipeline)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
    rounds = max(clients, -(-requests // pipeline))
    latencies: list[float] = []
    begun, start = len(connections), time.perf_counter()
    for connection in connections.values():
        connection.ask()
    while len(latencies) < rounds:
        events = poll.poll(SILENCE_SECONDS)
        if not events:
            raise SystemExit(f"no answer for {SILENCE_SECONDS:g} s")
        for number, _ in events:
            connection = connections[number]
            latency = connection.answered()
            if latency is None:
                continue
            latencies.append(latency)
            if begun < rounds:
                begun += 1
                connection.ask()
    wall = time.perf_counter() - start
    return {
        "requests": rounds * pipeline,
        "rate": rounds * pipeline / wall,
        "p50_ms": percentile(latencies, 0.5) * 1e3,
        "p99_ms": percentile(latencies, 0.99) * 1e3,
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:5]))))
