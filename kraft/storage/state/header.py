"""SQL of the one row of a state file that says what the file holds, and the running totals behind it."""

import zlib
from copy import copy

import apsw
import msgspec

from kraft.kv.checkpoint import Checkpoint, moved_sum
from kraft.raft.membership.configuration import Base, decode
from kraft.storage.log.identity import DamagedRow, typed

_INSERT = "INSERT OR REPLACE INTO image VALUES (1,?,?,?,?,?,?,?,?,?,?,?)"
_SELECT = (
    "SELECT base_index, base_term, base_stamp, configuration_index, configuration, revision, keys, size, sum,"
    " adlers, checksum FROM image"
)
_encode = msgspec.msgpack.Encoder().encode

NO_SUM = bytes(16)


class Totals:
    """Of all rows while some of them change: how many, their bytes, their hashes, their Adler-32."""

    __slots__ = ("_added", "_sum", "_taken", "adlers", "keys", "size")

    def __init__(self, checkpoint: Checkpoint | None, adlers: int) -> None:
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
        """One row more, with `size` bytes of key and value."""
        self.keys += 1
        self.size += size
        self.adlers += adler
        self._added += int.from_bytes(hash_, "big")

    def take(self, keys: int, size: int, hashes: str, adlers: int) -> None:
        """So many rows less; `hashes` are theirs in hexadecimal digits, one behind the other."""
        self.keys -= keys
        self.size -= size
        self.adlers -= adlers
        self._taken += sum([int(hashes[at : at + 32], 16) for at in range(0, len(hashes), 32)])

    def checkpoint(self, base: Base, revision: int) -> Checkpoint:
        """What the rows are now."""
        return Checkpoint(
            base, revision, self.keys, self.size, moved_sum(self._sum, self._added, self._taken)
        )


def write(cursor: apsw.Cursor, checkpoint: Checkpoint, adlers: int) -> None:
    """Replace the row."""
    base = checkpoint.base
    fields = (
        base.index,
        base.term,
        base.stamp,
        base.configuration_index,
        base.configuration.encode(),
        checkpoint.revision,
        checkpoint.keys,
        checkpoint.size,
        checkpoint.sum,
        adlers,
    )
    cursor.execute(_INSERT, (*fields, zlib.crc32(_encode(fields))))


def read(connection: apsw.Connection) -> tuple[Checkpoint, int] | None:
    """What the file holds and the sum of its `adler`; None before its first checkpoint.

    Raises `DamagedRow`.
    """
    with typed("the row that says what the file holds"):
        row = connection.execute(_SELECT).fetchone()
    if row is None:
        return None
    *fields, checksum = row
    if zlib.crc32(_encode(fields)) != checksum:
        raise DamagedRow("the row that says what the file holds is damaged")
    index, term, stamp, configuration_index, configuration, revision, keys, size, sum_, adlers = fields
    base = Base(index, term, stamp, configuration_index, decode(configuration))
    return Checkpoint(base, revision, keys, size, sum_), adlers
