"""Keeps the data of a node within its memory: refuses writes before the kernel ends the process.

Two bounds. The first, `dataset_bytes`, is fixed at the start, unless `limits.dataset_bytes` sets it: half of
what the tightest limit leaves beside the program itself and a reserve. Half, because a second copy may exist
for a while: the old values of a checkpoint that is being written, or the data that a snapshot replaces. The
second is what the process really uses, whatever for. Near a limit, memory that is free in the process goes
back to the system; if that is not enough, writes that need memory are refused until use has fallen.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Protocol

from kraft.node.ports import Clock
from kraft.process.memory_limit import MemoryLimit, MemoryUse

MIB = 1 << 20
BESIDE_BYTES = 32 * MIB  # queues, connections and the caches of SQLite, in addition to the log's tail
DATASET_BYTES_MIN = 8 * MIB  # of a limit that leaves nothing; then what is really used decides
FULL_SHARE, ROOM_SHARE = 0.875, 0.84375  # of a limit: no write that needs memory, and writes again
CHECK_SECONDS = 0.1  # at 100 MB/s of new values, 10 MB
TRIM_SECONDS = 10.0  # between two attempts to give memory back: one may take tens of milliseconds


def room_for_data(limits: Sequence[MemoryLimit], use: MemoryUse, data: int, tail_bytes: int) -> int:
    """The default of `limits.dataset_bytes`. Of the memory in use now, `data` bytes are data already."""
    reserve = tail_bytes + BESIDE_BYTES
    rooms = [(limit.size - max(0, use.of(limit) - data) - reserve) // 2 for limit in limits]
    return max(DATASET_BYTES_MIN, min(rooms))


class MemoryOwner(Protocol):
    """The client port, which refuses writes."""

    def memory_checked(self, full: bool) -> None:
        """Whether the process is so near a limit that it may not take more."""


class MemoryReports(Protocol):
    """Receives the changes between full and not full."""

    def memory_full(self, used: int, limit: int, source: str) -> None:
        """The process uses `used` bytes of `limit`, which is set at `source`: writes are refused."""

    def memory_has_room(self, used: int, limit: int) -> None:
        """Writes are admitted again."""


class MemoryWatch:
    """Compares the memory of the process with its limits, several times a second."""

    def __init__(
        self,
        limits: Sequence[MemoryLimit],
        use: Callable[[], MemoryUse],
        clock: Clock,
        owner: MemoryOwner,
        reports: MemoryReports,
        trim: Callable[[], object] | None = None,
    ) -> None:
        """`trim` gives free memory of the process back to the system."""
        self._limits = limits
        self._use = use
        self._clock = clock
        self._owner = owner
        self._reports = reports
        self._trim = trim if trim is not None else _allocator_trim()
        self._trim_again_at = 0.0
        self._full = False

    def start(self) -> None:
        """Check now, and from time to time as long as the process lives."""
        self._clock.call_later(CHECK_SECONDS, self.start)
        tightest, used = self._tightest()
        if used > FULL_SHARE * tightest.size and self._clock.seconds() >= self._trim_again_at:
            self._trim_again_at = self._clock.seconds() + TRIM_SECONDS
            self._trim()
            tightest, used = self._tightest()
        full = used > (ROOM_SHARE if self._full else FULL_SHARE) * tightest.size
        if full and not self._full:
            self._reports.memory_full(used, tightest.size, tightest.source)
        elif self._full and not full:
            self._reports.memory_has_room(used, tightest.size)
        self._full = full
        self._owner.memory_checked(full)

    def _tightest(self) -> tuple[MemoryLimit, int]:
        """The limit that is nearest, and the bytes in use of it."""
        use = self._use()
        nearest = max(self._limits, key=lambda limit: use.of(limit) / limit.size)
        return nearest, use.of(nearest)


def _allocator_trim() -> Callable[[], object]:
    """glibc's malloc_trim(3); nothing where it is missing."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda: None
    return lambda: trim(0)
