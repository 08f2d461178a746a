"""An index of all keys by their slots, for whoever moves slots away.

Of each slot it has the keys as a tuple, which another one replaces. A slot with many keys, as where all keys
have one hash tag, has a `KeyIndex` of its own instead: so a key that comes or goes moves few others, however
many there are. The index exists only where it is needed (`Keyspace.slot_index`). It takes about 10 bytes a
key, and 24 of those in large slots.
"""

from collections.abc import Iterable

from kraft.kv.garbage import Garbage
from kraft.kv.key_index import KeyIndex, Walk
from kraft.kv.slots import SLOTS, slot_of
from kraft.untracked import untracked

SMALL_KEYS = 128  # of a slot without an index of its own: to replace them takes 1 us
POINTER_BYTES = 8  # of one key
TUPLE_BYTES = 48  # of the keys of one slot

Keys = tuple[bytes, ...] | KeyIndex


class SlotIndex:
    """`len` is the number of keys."""

    __slots__ = ("_keys", "_large", "_slots")

    def __init__(self, _expected: int = 0) -> None:
        self._slots: list[Keys] = untracked([()] * SLOTS)
        self._large: dict[int, KeyIndex] = {}  # by slot
        self._keys = 0

    def __len__(self) -> int:
        return self._keys

    @property
    def memory(self) -> int:
        """The bytes that the index takes."""
        large = sum([index.memory for index in self._large.values()])
        return POINTER_BYTES * (self._keys + SLOTS) + TUPLE_BYTES * min(self._keys, SLOTS) + large

    def add(self, key: bytes) -> None:
        """Add a key, unless it is there."""
        slot = slot_of(key)
        keys = self._slots[slot]
        if isinstance(keys, KeyIndex):
            self._keys += keys.add(key)
        elif key not in keys:
            self._keys += 1
            self._slots[slot] = untracked((*keys, key))
            if len(keys) >= SMALL_KEYS:
                self._slots[slot] = self._large[slot] = KeyIndex()
                self._large[slot].fill((*keys, key))

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add many keys, as `add` does."""
        for key in keys:
            self.add(key)

    def remove(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        slot = slot_of(key)
        keys = self._slots[slot]
        if isinstance(keys, KeyIndex):
            self._keys -= keys.remove(key)
        elif key in keys:
            at = keys.index(key)
            self._slots[slot] = untracked(keys[:at] + keys[at + 1 :])
            self._keys -= 1

    def count(self, first: int, last: int) -> int:
        """How many keys are in the slots from `first` to `last`."""
        return sum(map(len, self._slots[first : last + 1]))

    def walk(self, first: int, last: int) -> "SlotWalk":
        """A walk over the keys of the slots from `first` to `last`. It must be ended."""
        return SlotWalk(self._slots[first : last + 1])

    def discard(self, garbage: Garbage) -> None:
        """Leave the keys to `garbage`. The index is not used any more, but by walks that go on."""
        memory = self.memory - sum([index.memory for index in self._large.values()])
        for index in self._large.values():
            index.discard(garbage)
        garbage.add(self._slots, memory, self._keys)


class SlotWalk:
    """A walk over the keys of some slots, piece by piece, while keys come and go.

    It gives the keys that are there all the time; of others, some. All walks of large slots begin at once:
    the index may be dropped meanwhile, and leaves to garbage what no walk needs.
    """

    __slots__ = ("_slots", "_walk")

    def __init__(self, slots: list[Keys]) -> None:
        self._slots = [keys.walk() if isinstance(keys, KeyIndex) else keys for keys in reversed(slots)]
        self._walk: Walk | None = None  # of the large slot that is begun

    def piece(self, count: int) -> list[bytes] | None:
        """The next keys, about `count` of them unless they are the last ones; None after those."""
        found: list[bytes] = []
        while len(found) < count:
            if self._walk is not None:
                piece = self._walk.piece(count - len(found))
                if piece is None:
                    self._end_walk()
                else:
                    found += piece
            elif self._slots:
                keys = self._slots.pop()
                if isinstance(keys, Walk):
                    self._walk = keys
                else:
                    found += keys
            else:
                return found or None
        return found

    def end(self) -> None:
        """Nothing more will be asked."""
        for keys in self._slots:
            if isinstance(keys, Walk):
                keys.end()
        self._slots = []
        self._end_walk()

    def _end_walk(self) -> None:
        if self._walk is not None:
            self._walk.end()
            self._walk = None
