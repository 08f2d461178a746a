"""What writers feel while checkpoints and snapshots run on a large data set, and what those cost.

Three nodes hold the keys. A few writers, each with one write under way, overwrite keys at random, by turns in
quiet and while a checkpoint of every key, then of a part of them, is being written on all nodes; then while a
fourth node is fed by a snapshot. Which keys are due is arranged before, so that only the part that is to be
looked at differs between neighbours.
"""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.client import ORDER_SECONDS, ask, order
from bench.compare import say
from bench.loads import Load, run
from bench.measure import resident_mb
from bench.processes import BenchError, wait_for
from bench.restart import KEY_BYTES, VALUE_BYTES, fill
from bench.systems import Kraft

WRITERS = 4
SETTINGS = f"""\
snapshot: {{checkpoint_entries: 1000000000, checkpoint_bytes: {1 << 40}, checkpoint_interval: 0s}}
"""
"""No checkpoint by itself: the run says when."""

Spell = dict[str, float]  # rate, p50_ms and p99_ms of some seconds of writing


def spell(port: int, keys: int, seconds: float) -> Spell:
    """Overwrite random keys for about so long."""
    load = Load("set", WRITERS, 1, 500, keys)
    pilot = run(load, port, load.pilot)
    seen = run(load, port, max(500, int(pilot.rate * seconds)))
    return {"rate": seen.rate, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms}


def beside(what: Callable[[], object], port: int, keys: int) -> tuple[Spell, float]:
    """Let writers write, a second or so at a time, while `what` goes on: their median, and its seconds."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            what()
        except BaseException as error:  # told by the thread that measures
            failed.append(error)

    begun = time.monotonic()
    thread = threading.Thread(target=work)
    thread.start()
    spells: list[Spell] = []
    while thread.is_alive() or not spells:
        spells.append(spell(port, keys, 1.0))
    thread.join()
    if failed:
        raise failed[0]
    return typical(spells), round(time.monotonic() - begun, 2)


def typical(spells: list[Spell]) -> Spell:
    """The median of each figure."""
    return {name: round(statistics.median(each[name] for each in spells), 3) for name in spells[0]}


def trial(port: int, keys: int, seconds: float, dirty: int) -> dict[str, Any]:
    """One checkpoint after `dirty` keys were changed, between two quiet spells."""
    say(f"writing {dirty:,} keys")
    fill(port, dirty)
    before = spell(port, keys, seconds)
    busy, took = beside(lambda: order(port, b"KRAFT", b"SNAPSHOT"), port, keys)
    quiet = typical([before, spell(port, keys, seconds)])
    say(f"checkpoint {took:.1f} s: p99 {busy['p99_ms']:.2f} ms, in quiet {quiet['p99_ms']:.2f} ms")
    return {"seconds": took, "quiet": quiet, "busy": busy}


def snapshot(system: Kraft, keys: int) -> dict[str, Any]:
    """A fourth node joins and is fed by a snapshot while writers write: memory on both sides."""
    leader = system.leader()
    if leader is None:
        raise BenchError("there is no leader")
    port, pid = system.ports[leader], system.pids()[leader]
    order(port, b"KRAFT", b"COMPACT", b"KEEP", b"0")
    before = most = resident_mb(pid)
    name, address = system.standby()
    order(port, b"KRAFT", b"ADD", name.encode(), b"127.0.0.1", str(address).encode())

    def votes() -> bool:
        nonlocal most
        most = max(most, resident_mb(pid))
        members = ask(port, b"KRAFT", b"MEMBERS", seconds=5.0)
        return members.count(b"voter") == len(system.processes)

    busy, took = beside(
        lambda: wait_for(votes, "the new node's vote", system.processes, seconds=ORDER_SECONDS), port, keys
    )
    return {
        "seconds": took,
        "leader_mb_before": before,
        "leader_mb_most": most,
        "new_mb": resident_mb(system.pids()[-1]),
        "busy": busy,
    }


def checkpoint(directory: Path, keys: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All of it, on a cluster of its own."""
    system = Kraft(directory, 3, SETTINGS)
    result: dict[str, Any] = {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES}
    result |= {"whole": [], "part": []}
    try:
        system.start()
        port = system.views()[system.name]
        for _ in range(rounds):
            result["whole"].append(trial(port, keys, seconds, keys))
            result["part"].append(trial(port, keys, seconds, keys // 10))
        result["snapshot"] = snapshot(system, keys)
    finally:
        system.stop()
    return result
