"""What clients notice while slots move: half of all slots, with their keys, from each group to the next one.

Three nodes with three groups hold the keys. Clients of redis-py set random keys and read ten at a time, first
without other work, then while the slots move: once through every node in forward mode, once as clients of a
cluster in redirect mode (`bench.move_clients`). Every reply is checked.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.client import ask, order
from bench.processes import ROOT, BenchError, environment, local, wait_for
from bench.progress import now, say
from bench.restart import KEY_BYTES, VALUE_BYTES, fill
from bench.systems import Kraft

GROUPS = 3
SLOTS = 16_384
WRITERS, READERS = 50, 5
MOVED_SECONDS = 900.0
HISTOGRAM = "kraft_move_freeze_seconds_bucket"


class Groups(Kraft):
    """Three nodes with three groups."""

    def __init__(self, directory: Path, *, redirect: bool) -> None:
        super().__init__(directory, 3)
        self.redirect = redirect
        self.https: list[int] = []

    def _node(self, name: str, text: str) -> None:
        text = text.replace("cluster: {members", f"cluster: {{groups: {GROUPS}, members")
        if self.redirect:
            text = text.replace("client: {listen", "client: {routing: redirect, listen")
        self.https.append(int(text.rpartition('advertise: "127.0.0.1:')[2].partition('"')[0]))
        super()._node(name, text)

    def healthy(self) -> bool:
        """Whether every group has a leader that every node knows."""
        return all(self._knows_leaders(port) for port in self.ports)

    def _knows_leaders(self, port: int) -> bool:
        try:
            shown = ask(local(port), b"CLUSTER", b"INFO")
        except OSError:
            return False
        return b"cluster_state:ok" in shown and b"cluster_size:3" in shown

    def plan(self, first: int, last: int, group: int) -> None:
        """Let slots move to a group. Raises BenchError if that is refused."""
        words = (b"KRAFT", b"MOVE", b"SLOTS", b"%d" % first, b"%d" % last, b"TO", b"%d" % group)
        reply = order(local(self.ports[0]), *words)
        if reply[:1] != b":":
            raise BenchError(f"KRAFT MOVE: {reply!r}")

    def still(self) -> bool:
        """Whether no move is left."""
        return ask(local(self.ports[0]), b"KRAFT", b"MOVES", seconds=10.0) == b"*0\r\n"

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
def clients(system: Groups, name: str, keys: int, redirect: bool) -> Iterator[dict[str, Any]]:
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
    system = Groups(directory / mode, redirect=redirect)
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


def _fill(system: Groups, keys: int) -> None:
    """Write all keys through a node that forwards; in redirect mode each key at its leader."""
    if not system.redirect:
        fill(local(system.ports[0]), keys)
        return
    from redis.cluster import ClusterNode, RedisCluster

    from bench.client import key

    with RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in system.ports]) as client:
        value = b"v" * VALUE_BYTES
        for first in range(0, keys, 2_000):
            with client.pipeline() as pipeline:
                for number in range(first, min(keys, first + 2_000)):
                    pipeline.set(key(number), value)
                pipeline.execute()


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
