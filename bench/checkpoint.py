"""Latency and pauses of writers during checkpoints and snapshots of a large data set, and the cost of these.

Three nodes hold the keys. A few writers, each with one write in flight, overwrite random keys: first without
other work, then while all nodes write a checkpoint of every key, then of a tenth of the keys, and finally
while a fourth node receives a snapshot. Before each checkpoint exactly the keys that it must write are
changed. A `Pulse` beside the writers, and while keys are changed, shows the longest pause.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.client import ORDER_SECONDS, ask, order
from bench.loads import Load, run
from bench.measure import resident_mb
from bench.processes import Address, BenchError, local, wait_for
from bench.progress import say
from bench.pulse import Pulse
from bench.restart import KEY_BYTES, VALUE_BYTES, fill
from bench.systems import Kraft

WRITERS = 4
SETTINGS = f"""\
snapshot: {{checkpoint_entries: 1000000000, checkpoint_bytes: {1 << 40}, checkpoint_interval: 0s}}
"""
"""No automatic checkpoints: the run requests each one."""

Figures = dict[str, float]  # rate, p50_ms and p99_ms of some seconds of writing


def write(address: Address, keys: int, seconds: float) -> Figures:
    """Overwrite random keys for about `seconds`."""
    load = Load("set", WRITERS, 1, 500, keys)
    pilot = run(load, address, load.pilot)
    seen = run(load, address, max(500, int(pilot.rate * seconds)))
    return {"rate": seen.rate, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms}


def write_during(task: Callable[[], object], address: Address, keys: int) -> tuple[Figures, float]:
    """Write, about a second at a time, until `task` ends; return the median figures and its seconds."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            task()
        except BaseException as error:  # raised by the measuring thread
            failed.append(error)

    begun = time.monotonic()
    thread = threading.Thread(target=work)
    thread.start()
    figures: list[Figures] = []
    while thread.is_alive() or not figures:
        figures.append(write(address, keys, 1.0))
    thread.join()
    if failed:
        raise failed[0]
    return medians(figures), round(time.monotonic() - begun, 2)


def medians(figures: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return {name: round(statistics.median(each[name] for each in figures), 3) for name in figures[0]}


def trial(system: Kraft, address: Address, keys: int, seconds: float, dirty: int) -> dict[str, Any]:
    """Measure one checkpoint of `dirty` changed keys, between two quiet periods."""
    say(f"writing {dirty:,} keys")
    pids = system.pids()
    with Pulse(address, pids) as filling:
        fill(address, dirty)
    with Pulse(address, pids) as calm:
        before = write(address, keys, seconds)
    with Pulse(address, pids) as pulse:
        busy, took = write_during(lambda: order(address, b"KRAFT", b"SNAPSHOT"), address, keys)
    quiet = medians([before, write(address, keys, seconds)])
    beats = {"filling": asdict(filling.beat), "calm": asdict(calm.beat), "pulse": asdict(pulse.beat)}
    say(f"checkpoint {took:.1f} s: p99 {busy['p99_ms']:.2f} ms, quiet {quiet['p99_ms']:.2f} ms; {beats}")
    return {"seconds": took, "quiet": quiet, "busy": busy, **beats}


def snapshot(system: Kraft, keys: int) -> dict[str, Any]:
    """Add a fourth node, which receives a snapshot while writers write; measure memory on both sides."""
    leader = system.leader()
    if leader is None:
        raise BenchError("there is no leader")
    address, pid = local(system.ports[leader]), system.pids()[leader]
    order(address, b"KRAFT", b"COMPACT", b"KEEP", b"0")
    before = most = resident_mb(pid)
    name, peer_port = system.standby()
    order(address, b"KRAFT", b"ADD", name.encode(), b"127.0.0.1", str(peer_port).encode())

    def votes() -> bool:
        nonlocal most
        most = max(most, resident_mb(pid))
        members = ask(address, b"KRAFT", b"MEMBERS", seconds=5.0)
        return members.count(b"voter") == len(system.processes)

    busy, took = write_during(
        lambda: wait_for(votes, "the new node's vote", system.processes, seconds=ORDER_SECONDS), address, keys
    )
    return {
        "seconds": took,
        "leader_mb_before": before,
        "leader_mb_most": most,
        "new_mb": resident_mb(system.pids()[-1]),
        "busy": busy,
    }


def checkpoint(directory: Path, keys: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Run all measurements on a new cluster."""
    system = Kraft(directory, 3, SETTINGS)
    result: dict[str, Any] = {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES}
    result |= {"whole": [], "part": []}
    try:
        system.start()
        address = system.views()[system.name]
        for _ in range(rounds):
            result["whole"].append(trial(system, address, keys, seconds, keys))
            result["part"].append(trial(system, address, keys, seconds, keys // 10))
        result["snapshot"] = snapshot(system, keys)
    finally:
        system.stop()
    return result
