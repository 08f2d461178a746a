"""The time and memory that a node with many keys needs until it serves again.

The node is stopped right after the keys were written, when most of them are in the log after the last
checkpoint, and again when a checkpoint contains all of them. Two yardsticks follow in this process: reading
the rows that the node stored, and reading a plain table with one row per key. They only read rows; neither
starts a process or builds a keyspace.
"""

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import apsw

from bench.client import ask, key, order
from bench.measure import cpu_seconds, resident_mb
from bench.processes import Address, BenchError, local, wait_for
from bench.progress import say
from bench.systems import Kraft

KEY_BYTES, VALUE_BYTES = 16, 100
CHUNK = 2_000
SERVING_SECONDS = 900.0


VALUE = b"v" * VALUE_BYTES


def fill(address: Address, keys: int) -> None:
    """Write all keys, pipelined. Raises BenchError unless every write was acknowledged."""
    with (
        socket.create_connection(address, timeout=60) as connection,
        connection.makefile("rb") as replies,
    ):
        for first in range(0, keys, CHUNK):
            numbers = range(first, min(keys, first + CHUNK))
            command = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
            connection.sendall(b"".join(command % (KEY_BYTES, key(n), VALUE_BYTES, VALUE) for n in numbers))
            expected = b"+OK\r\n" * len(numbers)
            answer = replies.read(len(expected))
            if answer != expected:
                raise BenchError(f"a write was not acknowledged: {answer[-200:]!r}")


def serves(address: Address, keys: int) -> bool:
    """Return whether the last key can be read; it cannot while the log is replayed."""
    return ask(address, b"GET", key(keys - 1), seconds=5.0).startswith(b"$%d\r\n%b" % (VALUE_BYTES, VALUE))


def select_all(path: Path) -> dict[str, Any]:
    """Read every row of every table; return the number of rows and the seconds."""
    rows, start = 0, time.perf_counter()
    with contextlib.closing(apsw.Connection(str(path))) as database:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _ in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name from the schema itself
                rows += 1
    return {"rows": rows, "seconds": time.perf_counter() - start}


def plain_table(path: Path, keys: int) -> None:
    """Store the same keys as one row each."""
    with contextlib.closing(apsw.Connection(str(path))) as database, database:
        database.execute("CREATE TABLE plain (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        database.executemany(
            "INSERT INTO plain VALUES (?, ?)", ((key(number), VALUE) for number in range(keys))
        )


def restart(directory: Path, keys: int) -> dict[str, Any]:
    """Fill one node; restart it after SIGTERM, without and with a checkpoint, then after SIGKILL."""
    system = Kraft(directory, 1)
    result: dict[str, Any] = {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES}
    try:
        system.start()
        address = local(system.ports[0])
        result["idle_mb"] = resident_mb(system.pids()[0])
        say(f"writing {keys:,} keys")
        fill(address, keys)
        result["filled_mb"] = resident_mb(system.pids()[0])
        system.processes[0].stop()
        result["from_log"] = _start_again(system, keys)
        order(address, b"KRAFT", b"SNAPSHOT")
        system.processes[0].stop()
        result["after_stop"] = _start_again(system, keys)
        system.processes[0].kill()
        result["after_kill"] = _start_again(system, keys)
        system.processes[0].stop()
        result["select"] = [
            {"file": path.name, **select_all(path)} for path in sorted(directory.rglob("*.db"))
        ]
        plain = directory / "plain.db"
        plain_table(plain, keys)
        result["plain_select"] = select_all(plain)
    finally:
        system.stop()
    return result


def _start_again(system: Kraft, keys: int) -> dict[str, Any]:
    start = time.monotonic()
    system.processes[0] = process = system.processes[0].restarted()
    wait_for(
        lambda: serves(local(system.ports[0]), keys), "the restarted node", [process], seconds=SERVING_SECONDS
    )
    seconds = round(time.monotonic() - start, 3)
    say(f"serving again after {seconds:.2f} s")
    return {"seconds": seconds, "cpu_seconds": cpu_seconds(process.pid), "mb": resident_mb(process.pid)}
