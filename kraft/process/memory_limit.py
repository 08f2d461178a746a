"""How much memory this process may use: the tightest of machine, control groups and resource limits.

A control group that exceeds `memory.max` (cgroup v2) or `memory.limit_in_bytes` (v1) has a process killed;
above `memory.high` it is slowed down until it hardly runs. All groups from the process's own up to the root
count (Linux: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). Above RLIMIT_AS or RLIMIT_DATA
an allocation fails, which ends the process as well (getrlimit(2)).
"""

import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

RESIDENT, ADDRESSES, DATA = 1, 0, 5  # places in /proc/self/statm of what a limit is compared with
_STATM = Path("/proc/self/statm")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT = 1 << 60  # cgroup v1 writes "none" as the largest multiple of a page in 63 bits


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """`size` in bytes, where it is set, and the place in /proc/self/statm of the memory that it limits."""

    size: int
    source: str
    place: int = RESIDENT


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What /proc/self/statm says, in pages; all 0 on a system without it."""

    pages: tuple[int, ...]

    def of(self, limit: MemoryLimit) -> int:
        """Bytes in use of what `limit` limits."""
        return self.pages[limit.place] * PAGE_BYTES


def memory_use() -> MemoryUse:
    """The memory that the process uses now."""
    try:
        return MemoryUse(tuple(map(int, _STATM.read_bytes().split())))
    except (OSError, ValueError):  # no file to be had now, or another system
        return MemoryUse((0,) * 7)


def memory_limits(root: Path = Path("/")) -> tuple[MemoryLimit, ...]:
    """Every limit in force, the lowest first. `root` is the root of the file system."""
    return tuple(sorted(_all(root), key=lambda limit: limit.size))


def _all(root: Path) -> Iterator[MemoryLimit]:
    yield MemoryLimit(PAGE_BYTES * os.sysconf("SC_PHYS_PAGES"), "memory of the machine")
    for number, name, place in (
        (resource.RLIMIT_AS, "RLIMIT_AS", ADDRESSES),
        (resource.RLIMIT_DATA, "RLIMIT_DATA", DATA),
    ):
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY and soft < sys.maxsize:
            yield MemoryLimit(soft, name, place)
    for hierarchy, controllers, path in control_groups(root):
        if hierarchy == "0" and not controllers:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _of_groups(root / mount, path, ("memory.max", "memory.high"))
        elif "memory" in controllers.split(","):
            yield from _of_groups(root / "sys/fs/cgroup/memory", path, ("memory.limit_in_bytes",))


def control_groups(root: Path) -> Iterator[tuple[str, str, str]]:
    """The lines of /proc/self/cgroup: number of the hierarchy, controllers, path of the group in it."""
    try:
        text = (root / "proc/self/cgroup").read_text()
    except OSError:
        return
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield hierarchy, controllers, path


def _of_groups(mount: Path, path: str, names: tuple[str, ...]) -> Iterator[MemoryLimit]:
    """The limits of a group and of those above it.

    In a container the path may be that of the host, of which only the root of the mount is visible.
    """
    group = PurePosixPath("/", path).relative_to("/")
    for each in (group, *group.parents):
        for name in names:
            try:
                text = (mount / each / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and 0 < int(text) < _NO_LIMIT:
                yield MemoryLimit(int(text), f"{name} of {mount / each}")
