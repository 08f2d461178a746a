"""The configurations of one log: that of its base, and one for each configuration entry behind it.

The last one is in force, committed or not (RD 4.1). A truncation takes uncommitted ones back, so nothing may
remember a configuration except by asking here.
"""

from bisect import bisect_right
from collections.abc import Iterable

from kraft.raft.membership.configuration import Base, Configuration


class Configurations:
    """`current` is in force, carried by the entry at `index` (0 for none)."""

    __slots__ = ("_indices", "_values", "current", "index")

    def __init__(self, base: Base, entries: Iterable[tuple[int, Configuration]]) -> None:
        self._indices = [base.configuration_index]
        self._values = [base.configuration]
        for index, configuration in entries:
            if index > base.index:
                self._indices.append(index)
                self._values.append(configuration)
        self._choose()

    def append(self, index: int, configuration: Configuration) -> None:
        """The entry at `index`, behind all others, carries `configuration`."""
        self._indices.append(index)
        self._values.append(configuration)
        self._choose()

    def truncate(self, index: int) -> None:
        """The log loses `index`, which lies behind its base, and everything above it."""
        while len(self._indices) > 1 and self._indices[-1] >= index:
            self._indices.pop()
            self._values.pop()
        self._choose()

    def at(self, index: int) -> tuple[int, Configuration]:
        """The configuration in force at `index`, at or behind the base, and the index of its entry."""
        position = max(bisect_right(self._indices, index) - 1, 0)
        return self._indices[position], self._values[position]

    def compact(self, base: Base) -> None:
        """The log begins behind `base` now; what lies behind it stays."""
        keep = bisect_right(self._indices, base.index)
        self._indices[:keep] = [base.configuration_index]
        self._values[:keep] = [base.configuration]
        self._choose()

    def _choose(self) -> None:
        self.index = self._indices[-1]
        self.current = self._values[-1]
