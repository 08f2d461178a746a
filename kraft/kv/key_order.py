"""An index of all keys in the order of their bytes, for ranges of keys.

It is a sorted list of sorted blocks of about 1,000 keys (`sortedcontainers`), so that a key that comes or
goes moves few others, however many there are. The index exists only where it is needed (`Keyspace.order`). It
takes about 10 bytes a key: a pointer to the object that the keyspace holds anyway.
"""

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedList

from kraft.kv.garbage import Garbage

POINTER_BYTES = 10  # of one key: 8, and the room that the blocks keep free


class KeyOrder:
    """`len` is the number of keys."""

    __slots__ = ("_keys",)

    def __init__(self, _expected: int = 0) -> None:
        self._keys = SortedList()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def memory(self) -> int:
        """The bytes that the index takes."""
        return POINTER_BYTES * len(self._keys)

    def add(self, key: bytes) -> None:
        """Add a key, unless it is there."""
        if key not in self._keys:
            self._keys.add(key)

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add many keys, as `add` does."""
        for key in keys:
            self.add(key)

    def remove(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        self._keys.discard(key)

    def between(
        self, start: bytes, end: bytes | None, after: bytes | None, *, reverse: bool
    ) -> Iterator[bytes]:
        """The keys from `start` on and before `end`, None for no end, in their order or the reverse of it.

        They begin with the one that comes next after `after` in that direction, if it is given. Nothing may
        change while they are iterated over.
        """
        included = True
        if after is not None:
            if reverse:
                end = after if end is None else min(end, after)
            elif after >= start:
                start, included = after, False
        keys: Iterator[bytes] = self._keys.irange(start, end, (included, False), reverse)
        return keys

    def discard(self, garbage: Garbage) -> None:
        """Leave everything to `garbage`. The index is not used any more."""
        garbage.add(self._keys, self.memory)


def prefix_end(prefix: bytes) -> bytes | None:
    """The first string after all that begin with `prefix`, None if there is none."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else None
