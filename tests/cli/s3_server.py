"""A real S3 server for tests: moto's, as a process of its own."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.harness import free_ports, wait_until


@contextmanager
def running_s3(folder: Path, options: Sequence[str] = ()) -> Iterator[int]:
    """The port of a server with these options more, for the length of a `with` block."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *options]
    with (
        (folder / "moto.log").open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):

        def listens() -> bool:
            assert process.poll() is None, (folder / "moto.log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return True
            return False

        try:
            wait_until(listens, "the S3 server listens")
            yield port
        finally:
            process.terminate()
