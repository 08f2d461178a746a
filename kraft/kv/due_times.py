"""When keys fall due: in blocks of about a hundred keys, each of which covers a range of times.

The index owns no truth: whoever changes a record reports the expiry that it had and the one that it has. So
nothing outdated is left in it, no change looks at more than a block or two, and the order in which keys fall
due depends on nothing but their times and names. (A heap that keeps outdated pairs is cheaper to change, but
with a million keys the removal of those took over a second at once.)

Keys that must not expire for the time being are held apart, in two ways: see `park` and `set_aside`.
"""

from bisect import bisect_right
from collections.abc import Sequence

from kraft.kv.garbage import Garbage
from kraft.untracked import untracked

BLOCK_KEYS = 128  # a block that has so many is divided, if they are not all due at one time
SMALL_KEYS = BLOCK_KEYS // 4  # a block with fewer joins another, if both have few enough
JOINED_KEYS = BLOCK_KEYS * 3 // 4
NEVER = 1 << 63


class DueTimes:
    """The due times of keys. `live` counts keys with an expiry."""

    __slots__ = ("_aside", "_blocks", "_first", "_lows", "_parked", "live")

    def __init__(self) -> None:
        # Block i has the keys that are due at lows[i] or later, and before lows[i + 1]. None is empty, except
        # for a single one.
        self._lows: list[int] = untracked([0])
        self._blocks: list[dict[bytes, int]] = untracked([untracked({})])
        self._first: int | None = NEVER  # the earliest time in the blocks, None if that is to be found out
        self._parked: dict[bytes, int] = {}
        self._aside: dict[bytes, int] = {}
        self.live = 0

    def changed(self, key: bytes, old: int, new: int) -> None:
        """The key's expiry changed from `old` to `new` (milliseconds, 0 for none)."""
        if old:
            self.live -= 1
            self._remove(key, old)
        if new:
            self.live += 1
            self._add(key, new)

    def load(self, keys: Sequence[bytes], times: Sequence[int]) -> None:
        """Take all keys that have an expiry, and these, into the empty index."""
        lows = sorted(set(times[:: BLOCK_KEYS // 2]))  # a sample, so that about half as many are in a block
        if lows:
            lows[0] = 0
            self._lows = untracked(lows)
            blocks = self._blocks = untracked([untracked({}) for _ in lows])
            for key, expires in zip(keys, times, strict=True):
                blocks[bisect_right(lows, expires) - 1][key] = expires
            self._first = None
            self.live = len(keys)

    def discard(self, garbage: Garbage) -> None:
        """Leave all keys to `garbage`, which counts them with the records. The index is not used any more."""
        garbage.add(self._blocks, 0, self.live)

    def next(self) -> int | None:
        """The earliest due time in milliseconds, None when no key has one."""
        first = min([self._earliest(), *self._parked.values()]) if self._parked else self._earliest()
        return None if first == NEVER else first

    def due(self, stamp: int) -> list[bytes]:
        """The earliest keys that are due at `stamp`, in the order of their times and names; [] for none.

        There may be more of them. The caller removes the record of each, or calls `park` or `set_aside`.
        """
        if self._earliest() > stamp:
            return []
        found = sorted([(expires, key) for key, expires in self._blocks[0].items() if expires <= stamp])
        return [key for _, key in found]

    def due_by(self, stamp: int) -> set[bytes]:
        """All keys that are due at `stamp`."""
        blocks = self._blocks[: bisect_right(self._lows, stamp)]
        return {key for block in blocks for key, expires in block.items() if expires <= stamp}

    def park(self, key: bytes, expires: int) -> None:
        """The key must not expire yet: leave it out up to `unpark`. It still counts for `next`."""
        self._remove(key, expires)
        self._parked[key] = expires

    def unpark(self) -> None:
        """Parked keys may expire, or be parked anew."""
        self._bring_back(self._parked)

    def set_aside(self, key: bytes, expires: int) -> None:
        """The key is not for this group to expire: it is not due until `bring_back`."""
        self._remove(key, expires)
        self._aside[key] = expires

    def bring_back(self) -> None:
        """Keys that were set aside may be this group's now."""
        self._bring_back(self._aside)

    def _bring_back(self, held: dict[bytes, int]) -> None:
        for key, expires in held.items():
            self._add(key, expires)
        held.clear()

    def _earliest(self) -> int:
        first = self._first
        if first is None:
            first = self._first = min(self._blocks[0].values(), default=NEVER)
        return first

    def _add(self, key: bytes, expires: int) -> None:
        at = bisect_right(self._lows, expires) - 1
        block = self._blocks[at]
        block[key] = expires
        if self._first is not None and expires < self._first:
            self._first = expires
        size = len(block)
        if size >= BLOCK_KEYS and not size & (size - 1):  # as it doubles: all its keys may be due at one time
            self._split(at)

    def _remove(self, key: bytes, expires: int) -> None:
        at = bisect_right(self._lows, expires) - 1
        block = self._blocks[at]
        if block.pop(key, None) is None:
            if self._parked.pop(key, None) is None:
                self._aside.pop(key, None)
            return
        if expires == self._first:
            self._first = None
        if len(block) < SMALL_KEYS:
            self._join(at - 1)
            self._join(at)

    def _split(self, at: int) -> None:
        """Divide a block in the middle of its times, if it has several."""
        block = self._blocks[at]
        times = sorted(block.values())
        middle = times[len(times) // 2]
        if middle == times[0]:
            middle += 1
        if middle <= times[-1]:
            later = untracked({key: expires for key, expires in block.items() if expires >= middle})
            self._blocks[at] = untracked({key: each for key, each in block.items() if each < middle})
            self._blocks.insert(at + 1, later)
            self._lows.insert(at + 1, middle)

    def _join(self, at: int) -> None:
        """Make one block of two neighbours, if they exist and have few keys."""
        if 0 <= at < len(self._blocks) - 1:
            block, later = self._blocks[at], self._blocks[at + 1]
            if block and later and len(block) + len(later) > JOINED_KEYS:
                return
            if block:
                block.update(later)
            else:
                self._blocks[at] = later
            del self._blocks[at + 1], self._lows[at + 1]
