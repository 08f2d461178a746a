"""A redis-server for tests that compare with it, and connections that show every byte of its replies."""

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tests.cluster.harness import free_ports, wait_until
from tests.cluster.wire import Client
from tests.server.fake_host import FakeClock
from tests.server.fakes import Talk

NUMBER = int(os.environ.get("KRAFT_TEST_SEQUENCES", "40"))  # of sequences; docs/redis-differences.md
ORDERS = int(os.environ.get("KRAFT_TEST_ORDERS", "0"))  # others, in which each sequence is tried as well

Step = TypeVar("Step")


def in_other_orders(sequence: list[Step], dice: random.Random) -> Iterator[list[Step]]:
    """The sequence itself, then ORDERS sequences of the same length whose steps are drawn from its steps.

    To draw is hundreds of times faster than to have hypothesis generate as many steps.
    """
    yield sequence
    for _ in range(ORDERS):
        yield dice.choices(sequence, k=len(sequence))


@contextlib.contextmanager
def running_redis(program: str, folder: Path) -> Iterator[int]:
    """The port of an empty redis-server, which ends with the context. It keeps nothing on disk."""
    [port] = free_ports(1)
    options = {"--port": str(port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no"}
    with (folder / "redis.log").open("wb") as log:
        command = [program, *(word for option in options.items() for word in option)]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port), "redis-server answers")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        with Client(port) as client:
            return bool(client.call("PING") == "PONG")
    except OSError:
        return False


class RealTime(FakeClock):
    """The wall clock of this machine, as redis-server has it."""

    def wall_ms(self) -> int:
        return int(time.time() * 1000)


class Replies:
    """Takes one reply after the other, whole, from bytes that arrive in pieces."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self._at = 0

    def take(self) -> bytes:
        """The bytes of the next reply."""
        self._buffer, self._at = self._buffer[self._at :], 0
        self._skip()
        return self._buffer[: self._at]

    def _skip(self) -> None:
        """Go to the end of a value."""
        end = self._buffer.find(b"\r\n", self._at)
        while end < 0:
            self._more()
            end = self._buffer.find(b"\r\n", self._at)
        kind, line = self._buffer[self._at : self._at + 1], self._buffer[self._at + 1 : end]
        self._at = end + 2
        if kind in (b"$", b"=") and line != b"-1":
            self._at += int(line) + 2
            while len(self._buffer) < self._at:
                self._more()
        elif kind in (b"*", b"%", b"~"):
            for _ in range(int(line) * (2 if kind == b"%" else 1)):
                self._skip()

    def _more(self) -> None:
        piece = self._receive()
        assert piece, f"no end of a reply after {self._buffer!r}"
        self._buffer += piece


def replies(data: bytes, number: int) -> list[bytes]:
    """The replies that `data` consists of."""
    rest = [b"", data]
    taken = Replies(rest.pop)
    found = [taken.take() for _ in range(number)]
    assert sum(map(len, found)) == len(data), f"more than {number} replies in {data!r}"
    return found


def ask_all(kraft: Talk, one_by_one: bool, requests: Sequence[bytes]) -> list[bytes]:
    """The replies of kraft to requests that are sent at once, or each after the reply to the one before."""
    if one_by_one:
        return [kraft.ask(request) for request in requests]
    return replies(kraft.ask(b"".join(requests)), len(requests))


class Exchange:
    """One connection to redis-server that returns the bytes of each reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = Replies(lambda: self._socket.recv(1 << 16))

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """The reply to one request, which may be a line."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: Sequence[bytes]) -> list[bytes]:
        """The replies to requests that are sent at once."""
        self._socket.sendall(b"".join(requests))
        return [self._replies.take() for _ in requests]
