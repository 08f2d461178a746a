"""When keys fall due: a heap of (expiry, key) in which outdated pairs stay until they surface.

The index owns no truth: a pair counts only while the key's record has that very expiry. Outdated pairs are
bounded: when they outnumber the live ones the heap is rebuilt from those, so its cost is spread over the
changes that made them. Results depend on records and stamps only, never on what the heap still holds.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Protocol

GARBAGE_MIN = 64  # a heap this small is not worth rebuilding


class Expiring(Protocol):
    """What the index reads of a record."""

    @property
    def expires(self) -> int:
        """Unix milliseconds, 0 for never."""


class DueTimes:
    """The due times of the keys in `records`, which the owner keeps. `live` counts keys with an expiry."""

    __slots__ = ("_aside", "_heap", "_parked", "_records", "live")

    def __init__(self, records: Mapping[bytes, Expiring]) -> None:
        self._records = records
        self._heap: list[tuple[int, bytes]] = []
        self._parked: list[tuple[int, bytes]] = []
        self._aside: list[tuple[int, bytes]] = []
        self.live = 0

    def __len__(self) -> int:
        """Pairs held, outdated ones included."""
        return len(self._heap)

    def changed(self, key: bytes, old: int, new: int) -> None:
        """The key's expiry changed from `old` to `new` (milliseconds, 0 for none). Call it afterwards."""
        self.live += (new > 0) - (old > 0)
        if new > 0 and new != old:
            heappush(self._heap, (new, key))
        if len(self._heap) > 2 * self.live + GARBAGE_MIN:
            self._rebuild()

    def due_by(self, stamp: int) -> set[bytes]:
        """All keys that are due at `stamp`. Changes nothing, and looks at few others."""
        heap, places, found = self._heap, [0], set()
        while places:
            place = places.pop()
            if place < len(heap) and heap[place][0] <= stamp:
                expires, key = heap[place]
                record = self._records.get(key)
                if record is not None and record.expires == expires:
                    found.add(key)
                places += (2 * place + 1, 2 * place + 2)
        return found

    def follow(self, records: Mapping[bytes, Expiring]) -> None:
        """The records are in this mapping from now on."""
        self._records = records

    def fill(self, pairs: list[tuple[int, bytes]]) -> None:
        """Take the (expiry, key) pairs of all records at once, instead of `changed` for each.

        The list is kept, not copied.
        """
        heapify(pairs)
        self._heap, self.live = pairs, len(pairs)

    def discarded(self) -> list[tuple[int, bytes]]:
        """The pairs of an index that is not used any more, for the caller to free."""
        return self._heap

    def next(self) -> int | None:
        """The earliest due time in milliseconds, None when no key has one."""
        first = self._first()
        if self._parked:
            times = [expires for expires, key in self._parked if self._expiry_of(key) == expires]
            return min(times if first is None else [first, *times], default=None)
        return first

    def due(self, stamp: int) -> bytes | None:
        """The earliest key that is due at `stamp`, None when there is none. The caller removes its record, or
        parks it.
        """
        expires = self._first()
        return None if expires is None or expires > stamp else self._heap[0][1]

    def park(self) -> None:
        """The key that `due` returned must not expire yet: leave it out up to `unpark`."""
        self._parked.append(heappop(self._heap))

    def unpark(self) -> None:
        """Parked keys may expire, or be parked anew."""
        for pair in self._parked:
            heappush(self._heap, pair)
        self._parked = []

    def set_aside(self) -> None:
        """The key that `due` returned is not for this group to expire: it is not due until `bring_back`."""
        self._aside.append(heappop(self._heap))

    def bring_back(self) -> None:
        """Keys that were set aside may be this group's now."""
        for pair in self._aside:
            heappush(self._heap, pair)
        self._aside = []

    def _first(self) -> int | None:
        heap = self._heap
        while heap:
            expires, key = heap[0]
            if self._expiry_of(key) == expires:
                return expires
            heappop(heap)
        return None

    def _expiry_of(self, key: bytes) -> int:
        record = self._records.get(key)
        return 0 if record is None else record.expires

    def _rebuild(self) -> None:
        # A key that was given the same expiry twice has two equal pairs. The set drops one, so a rebuild
        # leaves at most one pair per key, and the next one is as many changes away as there are pairs.
        self._heap = [pair for pair in set(self._heap) if self._expiry_of(pair[1]) == pair[0]]
        heapify(self._heap)
