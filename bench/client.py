"""A minimal RESP client: one command per connection, and the first bytes of the reply."""

import socket

from bench.processes import BenchError

ORDER_SECONDS = 300.0
"""Limit for an administrator's command that runs long."""


def ask(port: int, *words: bytes, seconds: float = 1.0) -> bytes:
    """Send one command on a new connection; return the first part of its raw reply.

    `seconds` limits connecting and waiting, separately. Raises OSError when there is no answer in time.
    """
    parts = [b"*%d\r\n" % len(words)]
    parts.extend(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"".join(parts))
        return connection.recv(65_536)


def stores(port: int, seconds: float = 1.0) -> bool:
    """Return whether a SET is acknowledged. Raises OSError when there is no answer in time."""
    return ask(port, b"SET", b"key:__probe__", b"x" * 64, seconds=seconds) == b"+OK\r\n"


def order(port: int, *words: bytes) -> bytes:
    """Send an administrator's command and wait for its end. Raises BenchError when it is refused."""
    answer = ask(port, *words, seconds=ORDER_SECONDS)
    if answer.startswith(b"-"):
        raise BenchError(f"{b' '.join(words).decode()}: {answer.decode(errors='replace').strip()}")
    return answer
