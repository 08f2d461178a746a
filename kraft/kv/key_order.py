"""An index of all keys in the order of their bytes, for ranges of keys.

The keys are in sorted lists of up to 1,024 of them, so that a key that comes or goes moves few others,
however many there are. The index exists only where it is needed (`Keyspace.order`). It takes about 10 bytes a
key: a pointer to the object that the keyspace holds anyway.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from kraft.kv.garbage import Garbage
from kraft.untracked import untracked

BLOCK_KEYS = 1024  # at most; a full block is divided, and one with less than a fourth of that joins another
POINTER_BYTES = 10  # of one key: 8, and the room that the blocks keep free


class KeyOrder:
    """`len` is the number of keys."""

    __slots__ = ("_blocks", "_keys", "_lows")

    def __init__(self, _expected: int = 0) -> None:
        self._blocks: list[list[bytes]] = [untracked([])]  # none is empty, except for a single one
        self._lows = [b""]  # where each block begins: no key in it is lower
        self._keys = 0

    def __len__(self) -> int:
        return self._keys

    @property
    def memory(self) -> int:
        """The bytes that the index takes."""
        return POINTER_BYTES * self._keys

    def add(self, key: bytes) -> None:
        """Add a key, unless it is there."""
        at = bisect_right(self._lows, key) - 1
        block = self._blocks[at]
        place = bisect_left(block, key)
        if place == len(block) or block[place] != key:
            block.insert(place, key)
            self._keys += 1
            if len(block) > BLOCK_KEYS:
                self._split(at)

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add many keys, as `add` does."""
        for key in keys:
            self.add(key)

    def remove(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        at = bisect_right(self._lows, key) - 1
        block = self._blocks[at]
        place = bisect_left(block, key)
        if place < len(block) and block[place] == key:
            del block[place]
            self._keys -= 1
            if len(block) * 4 < BLOCK_KEYS and len(self._blocks) > 1:
                self._join(max(at - 1, 0))

    def between(
        self, start: bytes, end: bytes | None, after: bytes | None, *, reverse: bool
    ) -> Iterator[bytes]:
        """The keys from `start` on and before `end`, None for no end, in their order or the reverse of it.

        They begin with the one that comes next after `after` in that direction, if it is given. Nothing may
        change while they are iterated over.
        """
        if after is not None:
            if reverse:
                end = after if end is None else min(end, after)
            elif after >= start:
                start = after + b"\x00"  # the first string after it
        first = bisect_right(self._lows, start) - 1
        last = len(self._lows) - 1 if end is None else bisect_right(self._lows, end) - 1
        for at in range(last, first - 1, -1) if reverse else range(first, last + 1):
            block = self._blocks[at]
            low = bisect_left(block, start) if at == first else 0
            high = bisect_left(block, end) if at == last and end is not None else len(block)
            yield from reversed(block[low:high]) if reverse else block[low:high]

    def discard(self, garbage: Garbage) -> None:
        """Leave everything to `garbage`. The index is not used any more."""
        garbage.add(self._blocks, self.memory, self._keys)

    def _split(self, at: int) -> None:
        """Divide a block into halves."""
        block = self._blocks[at]
        middle = len(block) // 2
        self._blocks.insert(at + 1, untracked(block[middle:]))
        self._lows.insert(at + 1, block[middle])
        del block[middle:]

    def _join(self, at: int) -> None:
        """Make one block of two neighbours, and divide it if it is too large."""
        self._blocks[at] += self._blocks.pop(at + 1)
        del self._lows[at + 1]
        if len(self._blocks[at]) > BLOCK_KEYS:
            self._split(at)


def prefix_end(prefix: bytes) -> bytes | None:
    """The first string after all that begin with `prefix`, None if there is none."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else None
