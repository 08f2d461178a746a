"""How long a backup of many keys takes, and what writers notice of it.

Three nodes hold the keys, in a checkpoint. A few writers, each with one write in flight, overwrite random
keys of the leader: first without other work, then while an image of all keys is made from a follower. `kraft
backup` fetches one and verifies it, a program of its own on the same machine. With KRAFT BACKUP the follower
writes one itself.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.checkpoint import SETTINGS, medians, write, write_during
from bench.client import order
from bench.processes import Address, run_kraft
from bench.progress import say
from bench.pulse import Pulse
from bench.restart import KEY_BYTES, VALUE_BYTES, fill
from bench.systems import Kraft

OWN = "backup: {directory: images, interval: 0s, keep: 1, ship: false}\n"  # in the folder of each node


def fetched(address: Address, folder: Path) -> None:
    """Fetch an image into a new folder. Raises BenchError if that fails."""
    server = f"{address[0]}:{address[1]}"
    run_kraft("backup", "--to", str(folder), "-s", server, "--json")


def trial(
    system: Kraft, address: Address, task: Callable[[], object], keys: int, seconds: float
) -> dict[str, Any]:
    """Measure one image between two quiet periods of writers."""
    pids = system.pids()
    with Pulse(address, pids) as calm:
        before = write(address, keys, seconds)
    with Pulse(address, pids) as pulse:
        busy, took = write_during(task, address, keys)
    quiet = medians([before, write(address, keys, seconds)])
    say(f"backup {took:.1f} s: p99 {busy['p99_ms']:.2f} ms, quiet {quiet['p99_ms']:.2f} ms")
    beats = {"calm": asdict(calm.beat), "pulse": asdict(pulse.beat)}
    return {"seconds": took, "quiet": quiet, "busy": busy, **beats}


def backups(directory: Path, keys: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Run all measurements on a new cluster."""
    system = Kraft(directory, 3, SETTINGS + OWN)
    result: dict[str, Any] = {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES}
    result |= {"fetched": [], "own": []}
    try:
        system.start()
        views = system.views()
        address, follower = views[system.name], views[f"{system.name} follower"]
        say(f"writing {keys:,} keys")
        fill(address, keys)
        order(address, b"KRAFT", b"SNAPSHOT")
        for number in range(rounds):
            folder = directory / f"fetched{number}"
            for name, task in (
                ("fetched", lambda folder=folder: fetched(follower, folder)),
                ("own", lambda: order(follower, b"KRAFT", b"BACKUP")),
            ):
                result[name].append(trial(system, address, task, keys, seconds))
                time.sleep(1)  # the image that was pinned is let go
    finally:
        system.stop()
    return result
