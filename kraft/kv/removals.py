"""Whether a key that is missing may have existed for a while: what WATCH needs to know of such a key.

A key that exists has a revision. One that is missing has none, whether it was missing all the time or was
created and removed since it was watched; in Redis the second is a change. So the highest revision of a
removed record is kept, not for each key but for each of BUCKETS classes of keys, in fixed memory. A bucket is
shared, so a transaction is sometimes aborted without need: the client repeats it, as after any change.

This is no part of a checkpoint. All replicas forget it at the entries at which checkpoints are taken, and
remember the revision there. So a replica that starts from a checkpoint agrees with those that did not.
"""

from array import array
from zlib import crc32

BUCKETS = 1 << 16  # 512 KiB, taken at the first removal


class Removals:
    """The removed records of one keyspace."""

    __slots__ = ("_forgotten", "_highest")

    def __init__(self) -> None:
        self._forgotten = 0
        self._highest: array[int] | None = None

    def add(self, key: bytes, revision: int) -> None:
        """The record of `key`, which had `revision`, was removed."""
        if self._highest is None:
            self._highest = array("q", bytes(8 * BUCKETS))
        bucket = bucket_of(key)
        if self._highest[bucket] < revision:
            self._highest[bucket] = revision

    def possible(self, key: bytes, revision: int) -> bool:
        """Whether a record of `key` that is newer than `revision` may have been removed."""
        if revision < self._forgotten:
            return True
        return self._highest is not None and self._highest[bucket_of(key)] > revision

    def bound(self, key: bytes) -> int:
        """The lowest revision for which that is not `possible`."""
        highest = 0 if self._highest is None else self._highest[bucket_of(key)]
        return max(self._forgotten, highest)

    def forget(self, revision: int) -> None:
        """From now on any key may have had a record up to `revision`, that of the group, which is removed."""
        self._forgotten = revision


def bucket_of(key: bytes) -> int:
    """The class of a key."""
    return crc32(key) % BUCKETS
