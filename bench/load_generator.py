"""A client that sends requests as fast as they are answered (closed loop), or at given times (open loop).

The only argument is a JSON object: host, port, requests, rate, and load and access with the fields of
`loads.Load` and `loads.Access`. It prints one JSON object with the fields of `loads.Outcome`; any reply other
than the expected one ends it with an error.

In an open loop requests arrive independently of each other and of the replies, as those of many users do: the
times between them are exponentially distributed, with a fixed seed. A request is sent at its time even if
earlier ones on its connection have not been answered, and its latency counts from that time, not from when it
was sent. A server that stalls for a second therefore has a second's requests with up to a second of latency,
which a client that waits for replies would omit ("coordinated omission": Gil Tene, How NOT to Measure
Latency).

Requests, replies and times are made before the first one is sent; what is left per request is a send, a share
of a poll, a receive and the comparison of two byte strings.
"""

import contextlib
import gc
import itertools
import json
import random
import select
import socket
import ssl
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from bench.client import ONE_KEY, command, key
from bench.loads import KEYS_OF_A_TRANSACTION, PLAIN, Access, Load, Outcome
from bench.measure import percentile
from bench.processes import Address

SILENCE_SECONDS = 10.0
MOST_REQUESTS = 500_000  # all are in memory, with about 400 bytes each
SEED = 11
ZIPF_EXPONENT = 0.99  # as in YCSB
READ_SHARE = 0.8
OK = b"+OK\r\n"
Exchange = tuple[bytes, bytes]  # a request and its reply


def key_names(load: Load, count: int, dice: random.Random) -> Iterator[bytes]:
    """The keys of `count` requests."""
    if not load.keys:
        return itertools.repeat(ONE_KEY, count)
    if not load.zipf:
        return (key(dice.randrange(load.keys)) for _ in range(count))
    weights = array("d", itertools.accumulate(n**-ZIPF_EXPONENT for n in range(1, load.keys + 1)))
    return map(key, dice.choices(range(load.keys), cum_weights=weights, k=count))


def exchanges(load: Load, count: int) -> list[Exchange]:
    """Make `count` requests with their replies; the same for each run."""
    dice, value = random.Random(SEED), b"x" * load.value_bytes  # noqa: S311 - repeatable, not secret
    if load.operation in ("mset5", "exec5"):
        names = key_names(load, KEYS_OF_A_TRANSACTION * count, dice)
        together = transaction if load.operation == "exec5" else several
        return [together(list(itertools.islice(names, KEYS_OF_A_TRANSACTION)), value) for _ in range(count)]
    found = b"$%d\r\n%b\r\n" % (len(value), value)
    reads = {"get": 1.0, "line_get": 1.0, "set": 0.0, "line_set": 0.0, "mix": READ_SHARE}[load.operation]
    form = line if load.inline else command
    return [
        (form(b"GET", name), found) if dice.random() < reads else (form(b"SET", name, value), OK)
        for name in list(key_names(load, count, dice))
    ]


def several(names: Sequence[bytes], value: bytes) -> Exchange:
    """Make an MSET of all names."""
    return command(b"MSET", *(word for name in names for word in (name, value))), OK


def transaction(names: Sequence[bytes], value: bytes) -> Exchange:
    """Make a transaction that sets each name, sent as one piece."""
    writes = [command(b"SET", name, value) for name in names]
    request = b"".join([command(b"MULTI"), *writes, command(b"EXEC")])
    return request, OK + b"+QUEUED\r\n" * len(names) + b"*%d\r\n" % len(names) + OK * len(names)


def line(*words: bytes) -> bytes:
    """Encode one request as an inline command."""
    return b" ".join(words) + b"\r\n"


def pipelines(single: Sequence[Exchange], depth: int) -> list[Exchange]:
    """Join each `depth` exchanges to one."""
    if depth == 1:
        return list(single)
    return [
        (b"".join(request for request, _ in some), b"".join(reply for _, reply in some))
        for some in (single[at : at + depth] for at in range(0, len(single), depth))
    ]


def arrivals(rate: float, count: int) -> list[float]:
    """The times of `count` requests in seconds from the start: a Poisson process."""
    dice = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    return list(itertools.accumulate(dice.expovariate(rate) for _ in range(count)))


class Connection:
    """One socket, and the replies that it owes: each with the time from which its latency counts."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._owed: deque[tuple[float, bytes]] = deque()
        self._received = b""

    def send(self, exchange: Exchange, since: float) -> None:
        """Send a request whose latency counts from `since`."""
        self._owed.append((since, exchange[1]))
        self.socket.sendall(exchange[0])

    def receive(self, latencies: list[float]) -> int:
        """Read; add the latency of each complete reply, and return their number."""
        data = self._read()
        now, owed, done = time.perf_counter(), self._owed, 0
        received = self._received + data if self._received else data
        while owed and len(received) >= len(owed[0][1]):
            since, reply = owed.popleft()
            if not received.startswith(reply):
                _unexpected(received)
            latencies.append(now - since)
            received = received[len(reply) :]
            done += 1
        if not data or (received and not (owed and owed[0][1].startswith(received))):
            _unexpected(received)
        self._received = received
        return done

    def _read(self) -> bytes:
        """What has come. A poll does not see what TLS has read and not given yet."""
        data = self.socket.recv(1 << 18)
        while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            data += self.socket.recv(1 << 18)
        return data


def connect(address: Address, access: Access = PLAIN) -> Connection:
    """Connect, with TLS and a login if `access` says so. Raises OSError."""
    connected = socket.create_connection(address, timeout=SILENCE_SECONDS)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if access.authority:
        context = ssl.create_default_context(cafile=access.authority)
        connected = context.wrap_socket(connected, server_hostname=address.host)
    connection = Connection(connected)
    if access.user:
        connection.send((command(b"AUTH", access.user.encode(), access.password.encode()), OK), 0.0)
        connection.receive([])
    if access.authority:  # session tickets (RFC 8446 section 4.6.1), such as those of Redis, are no reply
        connection.send((command(b"PING"), b"+PONG\r\n"), 0.0)
        connection.receive([])
    return connection


def _unexpected(received: bytes) -> NoReturn:
    raise SystemExit(f"not the expected reply: {received[:200]!r}")


class LoadGenerator:
    """Sends exchanges over connections to one server, and collects latencies in seconds."""

    def __init__(self, address: Address, clients: int, access: Access = PLAIN) -> None:
        self._poll = select.epoll()  # first: select takes no numbers above 1023
        self._connections = [connect(address, access) for _ in range(clients)]
        self._by_number = {each.socket.fileno(): each for each in self._connections}
        for number in self._by_number:
            self._poll.register(number, select.EPOLLIN)
        self.latencies: list[float] = []
        self.lateness: list[float] = []

    def closed_loop(self, todo: Sequence[Exchange]) -> float:
        """Each connection sends the next exchange when it has been answered. Returns the seconds taken."""
        rest, start = iter(todo), time.perf_counter()
        for connection, exchange in zip(self._connections, rest, strict=False):
            connection.send(exchange, time.perf_counter())
        while len(self.latencies) < len(todo):
            for connection in self._ready(SILENCE_SECONDS):
                if connection.receive(self.latencies) and (following := next(rest, None)):
                    connection.send(following, time.perf_counter())
        return time.perf_counter() - start

    def open_loop(self, todo: Sequence[Exchange], times: Sequence[float]) -> float:
        """Send each exchange at its time, on each connection in turn. Returns the seconds taken."""
        turns = itertools.cycle(self._connections)
        sent, silent_since, start = 0, 0.0, time.perf_counter()
        while len(self.latencies) < len(todo):
            now = time.perf_counter() - start
            while sent < len(todo) and times[sent] <= now:
                self.lateness.append(now - times[sent])
                next(turns).send(todo[sent], start + times[sent])
                sent += 1
                now = time.perf_counter() - start
            ready = self._ready(0.0)
            for connection in ready:
                connection.receive(self.latencies)
            if ready or len(self.latencies) == sent:
                silent_since = now
            elif now - silent_since > SILENCE_SECONDS:
                _silence()
            if not ready:
                pause = times[sent] - now if sent < len(todo) else 1.0
                # epoll counts in milliseconds, select in microseconds
                select.select([self._poll], [], [], max(0.0, pause))
        return time.perf_counter() - start

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.socket.close()
        self._poll.close()

    def _ready(self, seconds: float) -> list[Connection]:
        """The connections that have data. Raises SystemExit if a wait is in vain."""
        events = self._poll.poll(seconds)
        if seconds and not events:
            _silence()
        return [self._by_number[number] for number, _ in events]


def _silence() -> NoReturn:
    raise SystemExit(f"no reply for {SILENCE_SECONDS:g} s")


def run(address: Address, load: Load, requests: int, rate: float, access: Access = PLAIN) -> Outcome:
    """Send the requests: `rate` in a second, or as fast as they are answered if it is 0."""
    rounds = -(-min(requests, MOST_REQUESTS) // load.pipeline)
    todo = pipelines(exchanges(load, rounds * load.pipeline), load.pipeline)
    with contextlib.closing(LoadGenerator(address, load.clients, access)) as generator:
        if rate:
            seconds = generator.open_loop(todo, arrivals(rate, len(todo)))
        else:
            seconds = generator.closed_loop(todo)
    late = percentile(generator.lateness, 0.99) * 1e3 if rate else None
    p50, p99, p999 = (percentile(generator.latencies, share) * 1e3 for share in (0.5, 0.99, 0.999))
    count = rounds * load.pipeline
    return Outcome(count, count / seconds, p50, p99, p999, late)


def _wake_exactly() -> None:
    """Have the kernel end waits within a microsecond instead of 50, where it allows that (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1000")


def main(argument: str) -> None:
    """Run the task, and print the outcome."""
    task = json.loads(argument)
    address = Address(task["host"], task["port"])
    gc.disable()  # nothing here has cycles, and a collection would look like a slow server
    _wake_exactly()
    try:
        load, access = Load(**task["load"]), Access(**task["access"])
        outcome = run(address, load, task["requests"], task["rate"], access)
    except OSError as error:
        raise SystemExit(f"{address}: {error}") from error
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main(sys.argv[1])
