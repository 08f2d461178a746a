"""The pass over the whole log at a start: it verifies every row and keeps what `raft.ports.Restored` needs.

It is one SELECT in key order, one row at a time. What stays in memory is bounded: the runs of terms, the
configurations, and the last entries: older ones are dropped as soon as they are known to be committed.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from kraft.raft.membership.configuration import Configuration, decode
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored
from kraft.storage.log.entries import GROUP_SHIFT, BrokenChain, EntryRow, Head, verified
from kraft.storage.log.replicas import ReplicaRow

ENTRY_OVERHEAD_BYTES = 200  # in memory, of a row in the tail: a tuple, seven objects, a slot in the deque


class GroupScan:
    """One group's log, as far as it was read; it begins after the base of `replica`."""

    def __init__(self, group: int, replica: ReplicaRow, tail_bytes: int) -> None:
        self._base = replica.base
        self._origin = group << GROUP_SHIFT  # the position of index 0
        self._position = self._origin + replica.base.index
        self._checksum = replica.chain
        self._tail_bytes = tail_bytes
        self._term = 0
        self._stamp = replica.base.stamp
        self._committed = replica.base.index
        self._terms: list[tuple[int, int]] = []
        self._configurations: list[tuple[int, Configuration]] = []
        self._tail: deque[EntryRow] = deque()
        self._tail_size = 0

    def add(self, row: EntryRow) -> None:
        """Take the next row. Raises `BrokenChain`."""
        self._checksum = verified(row, self._position + 1, self._checksum)
        self._position, term, self._stamp, kind, committed, _, data = row
        if term != self._term:
            self._term = term
            self._terms.append((self._last_index, term))
        if kind == EntryKind.CONFIGURATION:
            self._configurations.append((self._last_index, self._configuration(data)))
        self._committed = max(self._committed, committed)
        self._keep(row)

    def _keep(self, row: EntryRow) -> None:
        self._tail.append(row)
        self._tail_size += len(row[6]) + ENTRY_OVERHEAD_BYTES
        committed = self._origin + self._committed
        while self._tail_size > self._tail_bytes and self._tail[0][0] <= committed and len(self._tail) > 1:
            self._tail_size -= len(self._tail.popleft()[6]) + ENTRY_OVERHEAD_BYTES

    def _configuration(self, data: bytes) -> Configuration:
        try:
            return decode(data)
        except msgspec.DecodeError as error:
            raise BrokenChain(f"configuration {self._last_index} is unreadable ({error})") from None

    @property
    def _last_index(self) -> int:
        return self._position - self._origin

    @property
    def head(self) -> Head:
        """The head of the log: the next entry continues it."""
        return Head(self._last_index, self._term or self._base.term, self._checksum)

    def restored(self, hard_state: HardState) -> Restored:
        """The group as the core takes it. Raises `BrokenChain` when committed rows are missing."""
        if self._committed > self._last_index:
            raise BrokenChain(f"the log ends at {self._last_index}, but {self._committed} was committed")
        tail = tuple(Entry(row[0] - self._origin, row[1], row[2], row[3], row[6]) for row in self._tail)
        return Restored(
            hard_state=hard_state,
            last_index=self._last_index,
            commit=self._committed,
            terms=tuple(self._terms),
            tail=tail,
            configurations=tuple(self._configurations),
            last_stamp=self._stamp,
            base=self._base,
        )


def scan(
    rows: Iterable[EntryRow], replica: Callable[[int], ReplicaRow], tail_bytes: int
) -> dict[int, GroupScan]:
    """Verify all rows; the scan of each group that has any. Raises `BrokenChain`."""
    groups: dict[int, GroupScan] = {}
    number, add = -1, None
    for row in rows:
        if row[0] >> GROUP_SHIFT != number or add is None:
            number = row[0] >> GROUP_SHIFT
            groups[number] = GroupScan(number, replica(number), tail_bytes)
            add = groups[number].add
        add(row)
    return groups
