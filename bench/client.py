"""A minimal RESP client: one command per connection and the start of its reply; keys written in bulk."""

import socket
from collections.abc import Iterable
from itertools import islice
from typing import BinaryIO

from bench.processes import Address, BenchError
from bench.progress import now

ORDER_SECONDS = 1800.0
"""Limit for an administrator's command that runs long."""


def command(*words: bytes) -> bytes:
    """Encode one command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def ask(address: Address, *words: bytes, seconds: float = 1.0) -> bytes:
    """Send one command on a new connection; return the first part of its raw reply.

    `seconds` limits connecting and waiting, separately. Raises OSError when there is no answer in time.
    """
    with socket.create_connection(address, timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(command(*words))
        return connection.recv(65_536)


def stores(address: Address, seconds: float = 1.0) -> bool:
    """Return whether a SET is acknowledged. Raises OSError when there is no answer in time."""
    return ask(address, b"SET", b"key:__probe__", b"x" * 64, seconds=seconds) == b"+OK\r\n"


def order(address: Address, *words: bytes) -> bytes:
    """Send an administrator's command and wait for its end. Raises BenchError when it is refused."""
    answer = ask(address, *words, seconds=ORDER_SECONDS)
    if answer.startswith(b"-"):
        raise BenchError(f"{b' '.join(words).decode()}: {answer.decode(errors='replace').strip()}")
    return answer


ONE_KEY = b"key:__rand_int__"
"""The key of loads without a keyspace: redis-benchmark names it so without -r."""

KEYS_PER_COMMAND, COMMANDS_IN_FLIGHT = 50, 40


def key(number: int) -> bytes:
    """The 16-byte name of a key, as redis-benchmark makes it with -r."""
    return b"key:%012d" % number


def write_keyspace(address: Address, keys: int, value_bytes: int) -> None:
    """Write all keys of a keyspace, or `ONE_KEY` if it has none. Raises BenchError if a write is refused."""
    write_together(address, map(key, range(keys)) if keys else [ONE_KEY], value_bytes)


def write_together(address: Address, names: Iterable[bytes], value_bytes: int) -> None:
    """Write these keys with MSET, many at a time. Raises BenchError if a write is refused."""
    value, written, rest = b"x" * value_bytes, 0, iter(names)
    with (
        socket.create_connection(address, timeout=60) as connection,
        connection.makefile("rb") as replies,
    ):
        while some := list(islice(rest, KEYS_PER_COMMAND * COMMANDS_IN_FLIGHT)):
            starts = range(0, len(some), KEYS_PER_COMMAND)
            parts = [some[start : start + KEYS_PER_COMMAND] for start in starts]
            commands = [command(b"MSET", *[w for name in part for w in (name, value)]) for part in parts]
            _write(connection, replies, commands)
            written += len(some)
            now(f"written to {address}: {written:,} keys")


def _write(connection: socket.socket, replies: BinaryIO, commands: list[bytes]) -> None:
    connection.sendall(b"".join(commands))
    for _ in commands:
        if (answer := replies.readline()) != b"+OK\r\n":
            raise BenchError(f"a write was not acknowledged: {answer[-200:]!r}")
