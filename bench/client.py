"""The least that speaks RESP: one command, one connection, the first bytes of the answer."""

import socket

from bench.processes import BenchError

ORDER_SECONDS = 300.0
"""For an administrator's command that has much to do."""


def ask(port: int, *words: bytes, seconds: float = 1.0) -> bytes:
    """Send one command on a connection of its own; return the first piece of its reply, raw.

    `seconds` bounds connecting and waiting each. OSError (a timeout too) when nobody answers.
    """
    parts = [b"*%d\r\n" % len(words)]
    parts.extend(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"".join(parts))
        return connection.recv(65_536)


def stores(port: int, seconds: float = 1.0) -> bool:
    """Whether a SET is acknowledged there; OSError when nobody answers."""
    return ask(port, b"SET", b"key:__probe__", b"x" * 64, seconds=seconds) == b"+OK\r\n"


def order(port: int, *words: bytes) -> bytes:
    """Give an administrator's command, and wait for its end; BenchError when it is refused."""
    answer = ask(port, *words, seconds=ORDER_SECONDS)
    if answer.startswith(b"-"):
        raise BenchError(f"{b' '.join(words).decode()}: {answer.decode(errors='replace').strip()}")
    return answer
