"""What a system costs that nobody uses: CPU time and memory, empty and with many keys."""

import time
from collections.abc import Sequence
from typing import Any

from bench.compare import Factory, running
from bench.loads import Load
from bench.measure import cpu_seconds, resident_mb, wait_until_quiet
from bench.progress import say
from bench.restart import VALUE_BYTES
from bench.systems import System

SETTLE_SECONDS = 60.0  # the longest wait for what follows the writing of keys, such as a checkpoint


def rest(system: System, seconds: float) -> dict[str, list[float]]:
    """The cores that each process uses for `seconds`, and its memory at the end."""
    pids = system.pids()
    begun, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    time.sleep(seconds)
    wall = time.monotonic() - begun
    cores = [round((cpu_seconds(pid) - used) / wall, 4) for pid, used in zip(pids, before, strict=True)]
    return {"cores": cores, "mb": [resident_mb(pid) for pid in pids]}


def idle(
    factories: Sequence[Factory],
    keys: int,
    seconds: float,
    quiet_seconds: float,
    samples: list[dict[str, Any]],
) -> None:
    """Add one sample for each system that has process ids to `samples`.

    A system that takes no keyspaces is measured empty only, and so is every system if `keys` is 0.
    """
    load = Load("get", 1, 1, 1, keys, VALUE_BYTES)
    for factory in factories:
        with running(factory) as system:
            if not system.pids():
                say(f"skipped: {system.name}: its processes are not known")
                continue
            wait_until_quiet(quiet_seconds)
            sample: dict[str, Any] = {"system": system.name, "keys": keys, "empty": rest(system, seconds)}
            if keys and system.takes(load):
                system.write_keys(load, next(iter(system.views().values())))
                wait_until_quiet(min(SETTLE_SECONDS, 3 * quiet_seconds))
                sample["full"] = rest(system, seconds)
            samples.append(sample)
            say(f"{system.name}: {sample}")
