"""The time without writes after the leader was killed with SIGKILL.

A client tries the remaining nodes one after the other, with a short timeout, and pauses briefly between two
passes. The time runs from just after the kill to the first acknowledged write.
"""

import time
from typing import Any, Protocol

from bench.processes import BenchError, Process, wait_for
from bench.progress import say

TRY_SECONDS = 0.1
PAUSE_SECONDS = 0.005
SETTLE_SECONDS = 3.0
LIMIT_SECONDS = 30.0


class Cluster(Protocol):
    """The operations of a system that a failover needs."""

    name: str
    processes: list[Process]

    def leader(self) -> int | None:
        """Return the position of the leader among `processes`."""
        ...

    def healthy(self) -> bool:
        """Return whether all members serve."""
        ...

    def write(self, numbers: list[int], seconds: float) -> bool:
        """Try a write on each of these members; return whether one acknowledged it."""
        ...


def failover(cluster: Cluster, trials: int, results: list[dict[str, Any]]) -> None:
    """Kill and restart the leader `trials` times; add the seconds without a write to `results`."""
    for number in range(trials):
        results.append(_trial(cluster, number))
        say(f"{cluster.name}: writes again {results[-1]['seconds']:.3f} s after the leader was killed")


def _trial(cluster: Cluster, number: int) -> dict[str, Any]:
    wait_for(cluster.healthy, f"{cluster.name} healthy", cluster.processes)
    time.sleep(SETTLE_SECONDS)  # until the restarted member has caught up and timers have settled
    leader = cluster.leader()
    if leader is None or not cluster.write([leader], 1.0):
        raise BenchError(f"{cluster.name} has no leader that accepts writes")
    live = [other for other in range(len(cluster.processes)) if other != leader]
    cluster.processes[leader].kill()
    start = time.monotonic()
    while not cluster.write(live, TRY_SECONDS):
        if time.monotonic() - start > LIMIT_SECONDS:
            raise BenchError(f"{cluster.name}: no write for {LIMIT_SECONDS:g} s after the leader was killed")
        time.sleep(PAUSE_SECONDS)
    seconds = time.monotonic() - start
    cluster.processes[leader] = cluster.processes[leader].restarted()
    return {"system": cluster.name, "trial": number, "seconds": round(seconds, 3)}
