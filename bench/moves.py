"""What clients notice while slots move: half of all slots, with their keys, from each group to the next one.

Three nodes with three groups hold the keys. Clients of redis-py set random keys and read ten at a time, first
without other work, then while the slots move: once through every node in forward mode, once as clients of a
cluster in redirect mode (`bench.move_clients`). Every reply is checked.
"""

import json
import subprocess
import sys
import time
from binascii import crc_hqx
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.client import key, write_together
from bench.grouped import SLOTS, Grouped
from bench.processes import ROOT, BenchError, environment, wait_for
from bench.progress import now, say
from bench.restart import KEY_BYTES, VALUE_BYTES

GROUPS = 3
WRITERS, READERS = 50, 5
MOVED_SECONDS = 900.0
HISTOGRAM = "kraft_move_freeze_seconds_bucket"


class Moving(Grouped):
    """Three nodes with three groups, and the metrics of their moves."""

    def __init__(self, directory: Path, *, redirect: bool) -> None:
        super().__init__(directory, GROUPS, redirect=redirect)
        self.https: list[int] = []

    def secured(self, name: str, text: str) -> str:
        """Remember the HTTP port."""
        self.https.append(int(text.rpartition('advertise: "127.0.0.1:')[2].partition('"')[0]))
        return super().secured(name, text)

    def freezes(self) -> dict[float, int]:
        """How many times slots were frozen for at most so many seconds, by that bound, in all nodes."""
        counts: dict[float, int] = {}
        for port in self.https:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                lines = page.read().decode().splitlines()
            for text in lines:
                if text.startswith(HISTOGRAM):
                    bound = float(text.partition('le="')[2].partition('"')[0])
                    counts[bound] = counts.get(bound, 0) + int(float(text.rpartition(" ")[2]))
        return counts


@contextmanager
def clients(system: Moving, name: str, keys: int, redirect: bool) -> Iterator[dict[str, Any]]:
    """Clients work in the block; afterwards the dictionary has what they have seen."""
    plan = {
        "ports": system.ports, "redirect": redirect, "keys": keys, "value_bytes": VALUE_BYTES,
        "writers": WRITERS, "readers": READERS, "name": name,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.move_clients", json.dumps(plan)]
    pipe = subprocess.PIPE
    seen: dict[str, Any] = {}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield seen
            out, errors = process.communicate("", timeout=60)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BenchError(f"the clients failed: {errors[-2000:]}")
    seen |= json.loads(out)


def parts(batches: int) -> Iterator[tuple[int, int, int]]:
    """The ranges that move: the first half of each group's slots, in so many batches, to the next group."""
    for group in range(GROUPS):
        first, end = -(-group * SLOTS // GROUPS), -(-(group + 1) * SLOTS // GROUPS)
        bounds = [first + (end - first) * batch // (2 * batches) for batch in range(batches + 1)]
        for low, high in pairwise(bounds):
            yield low, high - 1, (group + 1) % GROUPS


def bound_of(counts: dict[float, int], share: float) -> float:
    """The bound below which this share of the freezes was, in milliseconds."""
    total = max(counts.values(), default=0)
    return min((bound * 1e3 for bound, count in counts.items() if count >= share * total), default=0.0)


def trial(directory: Path, keys: int, seconds: float, batches: int, *, redirect: bool) -> dict[str, Any]:
    """Measure one mode on a new cluster."""
    mode = "redirect" if redirect else "forward"
    system = Moving(directory / mode, redirect=redirect)
    try:
        system.start()
        say(f"{mode}: writing {keys:,} keys")
        _fill(system, keys)
        with clients(system, "quiet", keys, redirect) as quiet:
            time.sleep(seconds)
        with clients(system, "busy", keys, redirect) as busy:
            time.sleep(min(1.0, seconds))
            begun = time.monotonic()
            for first, last, group in parts(batches):
                system.plan(first, last, group)
            now(f"{mode}: moving half of the slots")
            wait_for(system.still, "the end of all moves", system.processes, seconds=MOVED_SECONDS)
            took = time.monotonic() - begun
        counts = system.freezes()
    finally:
        system.stop()
    figures = {
        "mode": mode, "seconds": round(took, 2), "quiet": quiet, "busy": busy,
        "freezes": max(counts.values(), default=0), "freeze_p99_ms": bound_of(counts, 0.99),
        "freeze_max_ms": bound_of(counts, 1.0),
    }  # fmt: skip
    say(f"{mode}: {took:.1f} s, failed {busy['failed']}, wrong {busy['wrong']}, {figures}")
    return figures


def _fill(system: Moving, keys: int) -> None:
    """Write all keys, each group's through its leader, as a node that forwards them has twice the work."""
    groups: list[list[bytes]] = [[] for _ in range(GROUPS)]
    for number in range(keys):
        name = key(number)
        groups[crc_hqx(name, 0) % SLOTS * GROUPS // SLOTS].append(name)
    for names in groups:
        write_together(system.leader_of(names[0]), names, VALUE_BYTES)


def moves(directory: Path, keys: int, seconds: float, batches: int) -> dict[str, Any]:
    """Run all measurements."""
    trials = [trial(directory, keys, seconds, batches, redirect=redirect) for redirect in (False, True)]
    failures = [
        f"{each['mode']}: failed {each[when]['failed']}, wrong replies {each[when]['wrong']}"
        for each in trials
        for when in ("quiet", "busy")
        if each[when]["failed"] or each[when]["wrong"]
    ]
    sizes = {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES, "moves": GROUPS * batches}
    return {**sizes, "failures": failures, "trials": trials}
