"""An index of all keys in an order that all replicas share, however their dictionaries came to be.

The order is that of the *positions* of keys, numbers of 48 bits from a hash. So a position means the same on
every node and after every restart, and a key keeps its own as long as it exists: whoever goes from position 0
to the end, over whatever time, meets every key that was there all the time, and none twice.

Keys are in buckets of about 16. Linear hashing (Litwin 1980) adds and removes one bucket at a time, so no
change takes long. The address of a bucket is the low bits of the hash, the position is the hash with its bits
reversed: so a bucket holds all keys of one range of positions, and a split cuts that range into halves.

The index exists only where it is needed (`Keyspace.index`). It takes about 20 bytes a key.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b

from kraft.kv.garbage import Garbage
from kraft.untracked import untracked

POSITION_BITS = 48  # so that every client holds a position exactly, also as a double
END = 1 << POSITION_BITS  # after the last position
BUCKET_KEYS = 16  # on average, at most; a fourth of it at least
LEVEL_MAX = 20  # of an index that is prepared for many keys: its list of buckets is made at once
SLOT_BYTES = 24  # of one key: 12 to 18 for its place in a bucket, and part of the bucket


def position_of(key: bytes) -> int:
    """The key's place in the order, from 0 to END - 1."""
    return _reversed(_hash(key))


class KeyIndex:
    """`len` is the number of keys."""

    __slots__ = ("_buckets", "_garbage", "_keys", "_level", "_walks")

    def __init__(self, expected: int = 0) -> None:
        """`expected` is the number of keys that will be added soon."""
        self._level = min(LEVEL_MAX, (expected // BUCKET_KEYS).bit_length())
        self._buckets: list[tuple[bytes, ...]] = untracked([()] * (1 << self._level))
        self._keys = 0
        self._walks: list[Walk] = []
        self._garbage: Garbage | None = None  # where the buckets go when the last walk has ended

    def __len__(self) -> int:
        return self._keys

    @property
    def memory(self) -> int:
        """The bytes that the index takes."""
        return SLOT_BYTES * self._keys

    def add(self, key: bytes) -> bool:
        """Add a key, unless it is there. Returns whether it was added."""
        hash_ = _hash(key)
        place = self._place(hash_)
        bucket = self._buckets[place]
        if key in bucket:
            return False
        self._buckets[place] = untracked((*bucket, key))
        self._keys += 1
        if self._walks:
            self._report(key, hash_, gone=False)
        if self._keys > BUCKET_KEYS * len(self._buckets):
            self._split()
        return True

    def fill(self, keys: Iterable[bytes]) -> None:
        """Add many keys, as `add` does. Without walks, and up to about the number that was expected."""
        buckets, mask, half = self._buckets, (2 << self._level) - 1, 1 << self._level
        count = len(buckets)
        added = 0
        for key in keys:  # a million times: no needless call
            place = int.from_bytes(blake2b(key, digest_size=_HASH_BYTES).digest(), "little") & mask
            if place >= count:
                place -= half
            bucket = buckets[place]
            if key not in bucket:
                buckets[place] = untracked((*bucket, key))
                added += 1
        self._keys += added

    def remove(self, key: bytes) -> bool:
        """Remove a key, if it is there. Returns whether it was."""
        hash_ = _hash(key)
        place = self._place(hash_)
        bucket = self._buckets[place]
        if key not in bucket:
            return False
        at = bucket.index(key)
        self._buckets[place] = untracked(bucket[:at] + bucket[at + 1 :])
        self._keys -= 1
        if self._walks:
            self._report(key, hash_, gone=True)
        if self._keys * 4 < BUCKET_KEYS * len(self._buckets) and len(self._buckets) > 1:
            self._merge()
        return True

    def bucket(self, position: int) -> tuple[tuple[bytes, ...], int]:
        """The keys from a position on up to the end of its bucket, in no order, and where that is.

        There the next bucket begins; the last one ends at END.
        """
        place = self._place(_reversed(position))
        halved = place >= 1 << self._level or place + (1 << self._level) < len(self._buckets)
        span = POSITION_BITS - self._level - halved
        first = position >> span << span
        keys = self._buckets[place]
        if position > first:
            keys = tuple([key for key in keys if position_of(key) >= position])
        return keys, first + (1 << span)

    def random(self, below: Callable[[int], int]) -> bytes | None:
        """Any key, each as likely as the others; `below` gives a random number below its argument.

        None when there are no keys.
        """
        buckets = self._buckets
        while self._keys:
            bucket = buckets[below(len(buckets))]
            place = below(max(4 * BUCKET_KEYS, len(bucket)))  # a bucket with more keys is as much more likely
            if place < len(bucket):
                return bucket[place]
        return None

    def walk(self) -> "Walk":
        """A walk over the keys that there are now. It must be ended."""
        walk = Walk(self)
        self._walks.append(walk)
        return walk

    def ended(self, walk: "Walk") -> None:
        """The walk will not go on."""
        self._walks.remove(walk)
        if self._garbage is not None:
            self.discard(self._garbage)

    def discard(self, garbage: Garbage) -> None:
        """Leave the buckets to `garbage`, as soon as no walk needs them. The index is not used any more."""
        self._garbage = garbage
        if not self._walks:
            garbage.add(self._buckets, self.memory, self._keys)

    def _place(self, hash_: int) -> int:
        place = hash_ & ((2 << self._level) - 1)
        return place if place < len(self._buckets) else place - (1 << self._level)

    def _split(self) -> None:
        """Divide the next bucket by one more bit of the hashes."""
        bit = 1 << self._level
        place = len(self._buckets) - bit
        stay: list[bytes] = []
        move: list[bytes] = []
        for key in self._buckets[place]:
            (move if _hash(key) & bit else stay).append(key)
        self._buckets[place] = untracked(tuple(stay))
        self._buckets.append(untracked(tuple(move)))
        self._level = len(self._buckets).bit_length() - 1

    def _merge(self) -> None:
        """Undo the last split."""
        keys = self._buckets.pop()
        self._level = len(self._buckets).bit_length() - 1
        place = len(self._buckets) - (1 << self._level)
        self._buckets[place] = untracked(self._buckets[place] + keys)

    def _report(self, key: bytes, hash_: int, *, gone: bool) -> None:
        position = _reversed(hash_)
        for walk in self._walks:
            walk.changed(key, position, gone=gone)


class Walk:
    """A walk over all keys of one moment, piece by piece, while keys come and go.

    A key that comes before the walk has reached its place is passed over; one that goes is met at once. The
    first change of a key after the beginning decides: it tells whether the key was there.
    """

    __slots__ = ("_changed", "_gone", "_index", "_position")

    def __init__(self, index: KeyIndex) -> None:
        self._index = index
        self._position = 0
        self._changed: set[bytes] = set()
        self._gone: list[bytes] = []

    def changed(self, key: bytes, position: int, *, gone: bool) -> None:
        """The key at `position` came, or is gone."""
        if position >= self._position and key not in self._changed:
            self._changed.add(key)
            if gone:
                self._gone.append(key)

    def piece(self, count: int) -> list[bytes] | None:
        """The next keys, at least `count` of them unless they are the last ones; None after those."""
        if self._position == END and not self._gone:
            return None
        keys, self._gone = self._gone, []
        while self._position < END and len(keys) < count:
            bucket, self._position = self._index.bucket(self._position)
            keys += [key for key in bucket if key not in self._changed] if self._changed else bucket
        return keys

    def end(self) -> None:
        """Nothing more will be asked."""
        self._index.ended(self)


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=_HASH_BYTES).digest(), "little")


def _reversed(number: int) -> int:
    return int(f"{number:048b}"[::-1], 2)


_HASH_BYTES = POSITION_BITS // 8
