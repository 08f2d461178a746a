"""How long a scan of many keys takes, and what writers notice of it.

Three nodes hold the keys. A few writers, each with one write in flight, overwrite random keys of the leader:
first without other work, then while another client scans all keys there, from cursor 0 to cursor 0.
"""

import socket
import time
from pathlib import Path
from typing import Any

from bench.checkpoint import medians, write, write_during
from bench.client import command
from bench.processes import Address, BenchError
from bench.progress import say
from bench.pulse import Pulse
from bench.restart import KEY_BYTES, VALUE_BYTES, fill
from bench.systems import Kraft

COUNT = 1_000  # keys for which one call asks


def scan(address: Address) -> int:
    """Return how many keys a whole scan has found. Raises BenchError if a call is refused."""
    found, cursor = 0, b"0"
    with socket.create_connection(address, timeout=60) as connection, connection.makefile("rb") as replies:
        while True:
            connection.sendall(command(b"SCAN", cursor, b"COUNT", b"%d" % COUNT))
            if (head := replies.readline()) != b"*2\r\n":
                raise BenchError(f"SCAN: {head!r}")
            replies.readline()
            cursor = replies.readline().strip()
            keys = int(replies.readline()[1:])
            for _ in range(2 * keys):
                replies.readline()
            found += keys
            if cursor == b"0":
                return found


def trial(system: Kraft, address: Address, keys: int, seconds: float) -> dict[str, Any]:
    """Measure one scan without writers, then scans between two quiet periods of writers."""
    begun = time.monotonic()
    if (found := scan(address)) < keys:
        raise BenchError(f"a scan has found {found:,} of {keys:,} keys")
    alone = round(time.monotonic() - begun, 3)
    pids = system.pids()
    with Pulse(address, pids) as calm:
        before = write(address, keys, seconds)
    with Pulse(address, pids) as pulse:
        busy, took = write_during(lambda: scan(address), address, keys)
    quiet = medians([before, write(address, keys, seconds)])
    say(f"scan {alone:.1f} s, {took:.1f} s beside writers: p99 {busy['p99_ms']}, quiet {quiet['p99_ms']} ms")
    pauses = {"calm_ms": calm.beat.pause_ms, "pause_ms": pulse.beat.pause_ms}
    return {"alone": alone, "seconds": took, "quiet": quiet, "busy": busy, **pauses}


def scans(directory: Path, keys: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Run all measurements on a new cluster."""
    system = Kraft(directory, 3)
    try:
        system.start()
        address = system.views()[system.name]
        fill(address, keys)
        trials = [trial(system, address, keys, seconds) for _ in range(rounds)]
    finally:
        system.stop()
    return {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES, "trials": trials}
