"""The cost of a load: CPU and memory of processes from /proc, and the noise on the machine.

The kernel counts CPU time in ticks (often 10 ms), so a load must last seconds for its CPU figure to be
precise.
"""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from bench.processes import BenchError

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
QUIET_SHARE = 0.08
"""The machine is quiet when less than this share of all its cores is busy during a second."""


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which `share` (0 to 1) of at least one sample lies."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _proc(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError as error:
        raise BenchError(f"process {pid} does not run (any more)") from error


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a live process: fields 14 and 15 of proc(5) stat."""
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mb(pid: int) -> float:
    """Resident memory of a live process in MB (10^6 bytes)."""
    pages = int(_proc(pid, "statm").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def available_bytes() -> int:
    """Memory that can be used without swapping: MemAvailable of proc(5) meminfo."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def machine_busy_seconds() -> float:
    """CPU time since boot that all cores together were not idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting_for_disk = fields[3], fields[4]
    return (sum(fields) - idle - waiting_for_disk) / TICKS_PER_SECOND


def wait_until_quiet(limit_seconds: float) -> float:
    """Wait at most `limit_seconds` for a quiet second; return the last busy share (0 to 1)."""
    share, end = 0.0, time.monotonic() + limit_seconds
    while time.monotonic() < end:
        before = machine_busy_seconds()
        time.sleep(1)
        share = (machine_busy_seconds() - before) / (os.cpu_count() or 1)
        if share < QUIET_SHARE:
            break
    return round(share, 3)


def children_seconds() -> float:
    """CPU time of child processes that have ended: these are load clients, because servers still run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Counts CPU time from its creation to `stop()`."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = list(pids)
        self._servers = [cpu_seconds(pid) for pid in self._pids]
        self._client = children_seconds()
        self._machine = machine_busy_seconds()
        self._start = time.monotonic()

    def stop(self, requests: int) -> dict[str, object]:
        """Return the cost of all servers per 1,000 requests, and the cores used by servers, client and
        others. Without process ids the servers' part is not known (None).
        """
        wall = time.monotonic() - self._start
        servers = [cpu_seconds(pid) - before for pid, before in zip(self._pids, self._servers, strict=True)]
        client = children_seconds() - self._client
        others = max(0.0, machine_busy_seconds() - self._machine - sum(servers) - client)
        return {
            "cpu_seconds_per_1000": sum(servers) / max(1, requests) * 1000 if self._pids else None,
            "server_cores": [round(seconds / wall, 3) for seconds in servers],
            "client_cores": round(client / wall, 3),
            "other_cores": round(others / wall, 3) if self._pids else None,
            "wall_seconds": round(wall, 3),
            "rss_mb": [resident_mb(pid) for pid in self._pids],
        }
