"""When keys fall due: the times in blocks of about a hundred, and at each time the keys that are due then.

The index owns no truth: whoever changes a record reports the expiry that it had and the one that it has. So
nothing outdated is left in it, no change looks at more than a block or two, however many keys are due at one
time, and what is due depends on nothing but times and names. (A heap that keeps outdated pairs is cheaper to
change, but with a million keys the removal of those took over a second at once.)

Keys that must not expire for the time being are held apart, in two ways: see `park` and `set_aside`.
"""

from bisect import bisect_right
from collections.abc import Sequence

from kraft.kv.garbage import Garbage
from kraft.untracked import untracked

BLOCK_TIMES = 128  # a block that has so many is divided
SMALL_TIMES = BLOCK_TIMES // 4  # a block with fewer joins another, if both have few enough
JOINED_TIMES = BLOCK_TIMES * 3 // 4
CROWD_KEYS = 1000  # of one time: so many are freed in several steps
NEVER = 1 << 63

Block = dict[int, bytes | dict[bytes, None]]
"""The key that is due at each time, or the keys if there were several."""


class DueTimes:
    """The due times of keys. `live` counts keys with an expiry."""

    __slots__ = ("_aside", "_blocks", "_crowds", "_first", "_lows", "_parked", "live")

    def __init__(self) -> None:
        # Block i has the times from lows[i] on, and before lows[i + 1]. A single one may be empty, no other.
        self._lows: list[int] = untracked([0])
        self._blocks: list[Block] = untracked([untracked({})])
        self._crowds: set[int] = set()  # the times at which many keys are or were due
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
        lows = sorted(set(times[:: BLOCK_TIMES // 2]))  # a sample, so that about half as many are in a block
        if lows:
            lows[0] = 0
            self._lows = untracked(lows)
            blocks = self._blocks = untracked([untracked({}) for _ in lows])
            for key, expires in zip(keys, times, strict=True):
                block = blocks[bisect_right(lows, expires) - 1]
                if expires in block:
                    self._join_others(block, key, expires)
                else:
                    block[expires] = key
            self._first = None
            self.live = len(keys)
            at = 0
            while at < len(blocks):
                if len(blocks[at]) < BLOCK_TIMES:
                    at += 1
                else:
                    self._split(at)

    def discard(self, garbage: Garbage) -> None:
        """Leave all keys to `garbage`, which counts them with the records. The index is not used any more."""
        for expires in self._crowds:
            keys = self._blocks[bisect_right(self._lows, expires) - 1].pop(expires, None)
            if isinstance(keys, dict):
                garbage.add(keys, 0)
        garbage.add(self._blocks, 0, self.live)

    def next(self) -> int | None:
        """The earliest due time in milliseconds, None when no key has one."""
        first = min([self._earliest(), *self._parked.values()]) if self._parked else self._earliest()
        return None if first == NEVER else first

    def due(self, stamp: int) -> list[bytes]:
        """The keys of the earliest time that has come at `stamp`, in no order; [] for none.

        There may be more. The caller removes the record of each, or calls `park` or `set_aside`.
        """
        first = self._earliest()
        if first > stamp:
            return []
        keys = self._blocks[0][first]
        return [keys] if isinstance(keys, bytes) else list(keys)

    def due_by(self, stamp: int) -> set[bytes]:
        """All keys that are due at `stamp`."""
        found: set[bytes] = set()
        if self._earliest() <= stamp:
            for block in self._blocks[: bisect_right(self._lows, stamp)]:
                for expires, keys in block.items():
                    if expires <= stamp:
                        found.update((keys,) if isinstance(keys, bytes) else keys)
        return found

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
            first = self._first = min(self._blocks[0], default=NEVER)
        return first

    def _add(self, key: bytes, expires: int) -> None:
        at = bisect_right(self._lows, expires) - 1
        block = self._blocks[at]
        if expires in block:
            self._join_others(block, key, expires)
            return
        block[expires] = key
        if self._first is not None and expires < self._first:
            self._first = expires
        if len(block) >= BLOCK_TIMES:
            self._split(at)

    def _remove(self, key: bytes, expires: int) -> None:
        at = bisect_right(self._lows, expires) - 1
        block = self._blocks[at]
        keys = block.get(expires)
        if isinstance(keys, dict) and key in keys:
            del keys[key]
            if keys:
                return
        elif keys != key:
            if self._parked.pop(key, None) is None:
                self._aside.pop(key, None)
            return
        del block[expires]
        if expires == self._first:
            self._first = None
        if len(block) < SMALL_TIMES:
            self._join(at - 1)
            self._join(at)

    def _join_others(self, block: Block, key: bytes, expires: int) -> None:
        """Add a key to the block's others of that time."""
        keys = block[expires]
        if isinstance(keys, bytes):
            block[expires] = keys = untracked({keys: None})
            untracked(block)  # a value that the collector could visit makes it visit this dictionary, too
        keys[key] = None
        if len(keys) == CROWD_KEYS:
            self._crowds.add(expires)

    def _split(self, at: int) -> None:
        """Divide a block in the middle of its times."""
        block = self._blocks[at]
        times = sorted(block)
        middle = times[len(times) // 2]
        self._blocks[at] = untracked({each: keys for each, keys in block.items() if each < middle})
        self._blocks.insert(at + 1, untracked({each: block[each] for each in times if each >= middle}))
        self._lows.insert(at + 1, middle)

    def _join(self, at: int) -> None:
        """Make one block of two neighbours, if they exist and have few times."""
        if 0 <= at < len(self._blocks) - 1:
            block, later = self._blocks[at], self._blocks[at + 1]
            if block and later and len(block) + len(later) > JOINED_TIMES:
                return
            if block:
                block.update(later)
                untracked(block)
            else:
                self._blocks[at] = later
            del self._blocks[at + 1], self._lows[at + 1]
