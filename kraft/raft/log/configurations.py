"""The configurations of one log: that of its base, and one for each configuration entry after it.

The last one is in force, committed or not (RD 4.1). A truncation takes uncommitted ones back: whatever is
derived from the configuration is derived anew after each change of the log (`ReplicaState.reconfigured`).
"""

from bisect import bisect_right
from collections.abc import Iterable

from kraft.raft.membership.configuration import Base, Configuration


class Configurations:
    """`current` is the configuration in force, and `index` that of its entry (0 for none)."""

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
        """The entry at `index`, after all others, carries `configuration`."""
        self._indices.append(index)
        self._values.append(configuration)
        self._choose()

    def truncate(self, index: int) -> None:
        """Forget the configurations of the entries from `index` on; the base comes before them."""
        while len(self._indices) > 1 and self._indices[-1] >= index:
            self._indices.pop()
            self._values.pop()
        self._choose()

    def at(self, index: int) -> tuple[int, Configuration]:
        """(index of its entry, configuration) in force at `index`, which is not before the base."""
        position = max(bisect_right(self._indices, index) - 1, 0)
        return self._indices[position], self._values[position]

    def compact(self, base: Base) -> None:
        """The log begins after `base` now; what follows it stays."""
        keep = bisect_right(self._indices, base.index)
        self._indices[:keep] = [base.configuration_index]
        self._values[:keep] = [base.configuration]
        self._choose()

    def _choose(self) -> None:
        self.index = self._indices[-1]
        self.current = self._values[-1]
