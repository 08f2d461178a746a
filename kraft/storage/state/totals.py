"""Running totals over the rows of a state file: a checkpoint costs what changed, not what is there."""

from copy import copy

from kraft.kv.checkpoint import Checkpoint, moved_sum
from kraft.raft.membership.configuration import Base

NO_SUM = bytes(16)


class Totals:
    """Over all rows while some of them change: their number, bytes, hashes and Adler-32 (`adlers`)."""

    __slots__ = ("_added", "_sum", "_taken", "adlers", "keys", "size")

    def __init__(self, checkpoint: Checkpoint | None, adlers: int) -> None:
        """The totals of what a file holds; `adlers` is the sum of its column `adler`."""
        self.keys = 0 if checkpoint is None else checkpoint.keys
        self.size = 0 if checkpoint is None else checkpoint.size
        self._sum = NO_SUM if checkpoint is None else checkpoint.sum
        self.adlers = adlers
        self._added = 0
        self._taken = 0

    def copy(self) -> "Totals":
        """These totals as they are now."""
        return copy(self)

    def add(self, size: int, hash_: bytes, adler: int) -> None:
        """Count one row more, with `size` bytes of key and value."""
        self.keys += 1
        self.size += size
        self.adlers += adler
        self._added += int.from_bytes(hash_, "big")

    def take(self, keys: int, size: int, hashes: str, adlers: int) -> None:
        """Count `keys` rows less; `hashes` are theirs in hexadecimal digits, concatenated."""
        self.keys -= keys
        self.size -= size
        self.adlers -= adlers
        self._taken += sum([int(hashes[at : at + 32], 16) for at in range(0, len(hashes), 32)])

    def checkpoint(self, base: Base, revision: int, machine_version: int) -> Checkpoint:
        """The checkpoint at `base` that the rows are now."""
        sum_ = moved_sum(self._sum, self._added, self._taken)
        return Checkpoint(base, revision, self.keys, self.size, sum_, machine_version)
