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
CHECK_SECONDS = 0.1  # between two checks, at least: at 100 MB/s of new values, 10 MB
REST_SECONDS = 1.0  # the same, at most: where there is room enough for that time
GROWTH_BYTES = 400 * MIB  # in a second, at most: a few times what clients and snapshots bring
TRIM_SECONDS = 10.0  # between two attempts to give memory back: one may take tens of milliseconds


def room_for_data(limits: Sequence[MemoryLimit], use: MemoryUse, data: int, tail_bytes: int) -> int:
    """The default of `limits.dataset_bytes`. Of the memory in use now, `data` bytes are data already."""
    reserve = tail_bytes + BESIDE_BYTES
    rooms = [(limit.size - max(0, use.of(limit) - data) - reserve) // 2 for limit in limits]
    return max(DATASET_BYTES_MIN, min(rooms))


class MemoryOwner(Protocol):
    """The client port, which refuses writes."""

    def memory_checked(self, full: bool) -> int:
        """Whether the process is so near a limit that it may not take more.

        Returns how many bytes of data it may take before it has to be told again.
        """


class MemoryReports(Protocol):
    """Receives the changes between full and not full."""

    def memory_full(self, used: int, limit: int, source: str) -> None:
        """The process uses `used` bytes of `limit`, which is set at `source`: writes are refused."""

    def memory_has_room(self, used: int, limit: int) -> None:
        """Writes are admitted again."""


class MemoryWatch:
    """Compares the memory of the process with its limits: every second, and more often near one of them."""

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
        pause = CHECK_SECONDS
        try:
            pause = self._pause(self._check())
        finally:
            self._clock.call_later(pause, self.start)

    def _check(self) -> int:
        """Returns how many bytes of data the owner may take, as far as it knows."""
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
        return self._owner.memory_checked(full)

    def _pause(self, room: int) -> float:
        """Seconds until the next check, if the owner has `room` for so many bytes."""
        use = self._use()
        rooms = [FULL_SHARE * limit.size - use.of(limit) for limit in self._limits]
        return min(REST_SECONDS, max(CHECK_SECONDS, min([room, *rooms]) / GROWTH_BYTES))

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
