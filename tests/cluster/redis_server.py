"""A redis-server for tests that compare with it, and connections that show every byte of its replies."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.harness import free_ports, wait_until
from tests.cluster.wire import Client
from tests.server.fakes import FakeClock, encode

NUMBER = int(os.environ.get("KRAFT_TEST_SEQUENCES", "40"))  # of sequences; docs/redis-differences.md


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


class RawClient:
    """One connection to redis-server that returns the bytes of each reply."""

    END = b"the end of a reply"

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """The reply to one request, which may be a line."""
        self._socket.sendall(request + encode("ECHO", self.END))
        end = b"$%d\r\n%b\r\n" % (len(self.END), self.END)
        reply = b""
        while not reply.endswith(end):
            piece = self._socket.recv(1 << 20)
            assert piece, f"closed after {reply!r}"
            reply += piece
        return reply[: -len(end)]


class Exchange(RawClient):
    """Reads exactly one reply, because what is sent after a request may be queued."""

    def ask(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        self._buffer = b""
        return self._value()

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            piece = self._socket.recv(1 << 16)
            assert piece, "closed"
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line + b"\r\n"

    def _value(self) -> bytes:
        line = self._line()
        kind, number = line[:1], line[1:-2]
        if kind == b"$" and int(number) >= 0:
            while len(self._buffer) < int(number) + 2:
                self._buffer += self._socket.recv(1 << 16)
            line, self._buffer = line + self._buffer[: int(number) + 2], self._buffer[int(number) + 2 :]
        elif kind in (b"*", b"%", b"~"):
            line += b"".join(self._value() for _ in range(int(number) * (2 if kind == b"%" else 1)))
        return line
