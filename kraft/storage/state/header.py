"""SQL of the one row of a state file that says what the file holds, and the running totals behind it."""

from copy import copy
from typing import Any

import apsw

from kraft.kv.checkpoint import Checkpoint, moved_sum
from kraft.raft.membership.configuration import Base, decode
from kraft.storage.rows import seal, select, unseal
from kraft.storage.sqlite import single

_COLUMNS = (
    "base_index, base_term, base_stamp, configuration_index, configuration, revision, keys, size, sum, adlers"
)

_COLUMNS_2 = _COLUMNS + ", machine_version"
_INSERT = "INSERT OR REPLACE INTO image (only, %s, checksum) VALUES (1, %s)"
_SELECT = "SELECT %s, checksum FROM image"

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

    def checkpoint(self, base: Base, revision: int, machine_version: int) -> Checkpoint:
        """The checkpoint that the rows are now."""
        sum_ = moved_sum(self._sum, self._added, self._taken)
        return Checkpoint(base, revision, self.keys, self.size, sum_, machine_version)


def write(connection: apsw.Connection, checkpoint: Checkpoint, adlers: int) -> None:
    """Replace the row, inside a transaction; `adlers` is the sum of the column `adler` of all records."""
    base = checkpoint.base
    fields: tuple[Any, ...] = (
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
    if _schema(connection) == 1:
        connection.execute(_INSERT % (_COLUMNS, ",".join("?" * 11)), seal(fields))
    else:
        fields += (checkpoint.machine_version,)
        connection.execute(_INSERT % (_COLUMNS_2, ",".join("?" * 12)), seal(fields))


def read(connection: apsw.Connection) -> tuple[Checkpoint, int] | None:
    """The checkpoint that the file holds, and the sum of the column `adler`; None before the first one.

    Raises `DamagedRow`.
    """
    columns = _COLUMNS if _schema(connection) == 1 else _COLUMNS_2
    rows = select(connection, _SELECT % columns, "the row that says what the file holds")
    if not rows:
        return None
    fields = unseal(rows[0], "the row that says what the file holds is damaged")
    index, term, stamp, configuration_index, configuration, revision, keys, size, sum_, adlers, *rest = fields
    base = Base(index, term, stamp, configuration_index, decode(configuration))
    return Checkpoint(base, revision, keys, size, sum_, *rest), adlers


def _schema(connection: apsw.Connection) -> int:
    return int(single(connection, "PRAGMA user_version"))
