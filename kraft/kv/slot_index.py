"""An index of all keys by their slots, for whoever moves slots away.

Of each slot it has the keys as a tuple, which another one replaces: so the keys of any slots at one moment
cost no more than a pointer for each slot. A slot of a group with a million keys has some 60 of them, and as
many are copied when one of them comes or goes. The index exists only where it is needed
(`Keyspace.slot_index`). It takes about 10 bytes a key.
"""

from collections.abc import Iterable, Sequence

from kraft.kv.garbage import Garbage
from kraft.kv.slots import SLOTS, slot_of

POINTER_BYTES = 8  # of one key
TUPLE_BYTES = 48  # of the keys of one slot


class SlotIndex:
    """`len` is the number of keys."""

    __slots__ = ("_keys", "_slots")

    def __init__(self, _expected: int = 0) -> None:
        self._slots: list[tuple[bytes, ...]] = [()] * SLOTS
        self._keys = 0

    def __len__(self) -> int:
        return self._keys

    @property
    def memory(self) -> int:
        """The bytes that the index takes."""
        return POINTER_BYTES * (self._keys + SLOTS) + TUPLE_BYTES * min(self._keys, SLOTS)

    def add(self, key: bytes) -> None:
        """Add a key, unless it is there."""
        slot = slot_of(key)
        keys = self._slots[slot]
        if key not in keys:
            self._slots[slot] = (*keys, key)
            self._keys += 1

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add many keys, as `add` does."""
        for key in keys:
            self.add(key)

    def remove(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        slot = slot_of(key)
        keys = self._slots[slot]
        if key in keys:
            at = keys.index(key)
            self._slots[slot] = keys[:at] + keys[at + 1 :]
            self._keys -= 1

    def keys(self, first: int, last: int) -> Sequence[tuple[bytes, ...]]:
        """The keys of each slot from `first` to `last`, as they are now."""
        return self._slots[first : last + 1]

    def discard(self, garbage: Garbage) -> None:
        """Leave the keys to `garbage`. The index is not used any more; what `keys` gave is not touched."""
        garbage.add(self._slots, self.memory)
