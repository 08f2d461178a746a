"""When keys fall due: a heap of (expiry, key) in which outdated pairs are left until they surface.

The index owns no truth: a pair counts only while the key's record has that very expiry. Outdated pairs are
bounded: when they outnumber the live ones the heap is built anew from those, so the cost of it is spread over
the changes that made them. Results depend on records and stamps only, never on what the heap still holds.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush

GARBAGE_MIN = 64  # so small a heap is not worth rebuilding


class DueTimes:
    """The due times of keys; `expiry_of(key)` tells the one that counts, 0 for none."""

    __slots__ = ("_expiry_of", "_heap", "live")

    def __init__(self, expiry_of: Callable[[bytes], int]) -> None:
        self._expiry_of = expiry_of
        self._heap: list[tuple[int, bytes]] = []
        self.live = 0  # keys that have an expiry

    def __len__(self) -> int:
        """Pairs held, outdated ones included."""
        return len(self._heap)

    def changed(self, key: bytes, old: int, new: int) -> None:
        """The key's record went from expiry `old` to `new` (milliseconds, 0 for none); call it afterwards."""
        self.live += (new > 0) - (old > 0)
        if new > 0 and new != old:
            heappush(self._heap, (new, key))
        if len(self._heap) > 2 * self.live + GARBAGE_MIN:
            self._rebuild()

    def fill(self, pairs: list[tuple[int, bytes]]) -> None:
        """Take (expiry, key) of all records at once, instead of `changed` for each; the list is kept."""
        heapify(pairs)
        self._heap, self.live = pairs, len(pairs)

    def next(self) -> int | None:
        """The earliest due time in milliseconds, None when no key has one."""
        heap = self._heap
        while heap:
            expires, key = heap[0]
            if self._expiry_of(key) == expires:
                return expires
            heappop(heap)
        return None

    def due(self, stamp: int) -> bytes | None:
        """The earliest key due at `stamp` (its expiry is not above it); the caller removes its record."""
        expires = self.next()
        return None if expires is None or expires > stamp else self._heap[0][1]

    def _rebuild(self) -> None:
        # A key that got the same expiry twice has two equal pairs. The set drops one, so that a rebuilding
        # always leaves at most one pair per key and the next one is as many changes away as there are pairs.
        self._heap = [pair for pair in set(self._heap) if self._expiry_of(pair[1]) == pair[0]]
        heapify(self._heap)
