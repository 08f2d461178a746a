"""A redis-server for tests that compare with it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.harness import free_ports, wait_until
from tests.cluster.wire import Client


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
