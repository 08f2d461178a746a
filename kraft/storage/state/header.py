"""SQL of the one row of a state file that says what the file holds: its table is `image`."""

from typing import Any

import apsw

from kraft.kv.checkpoint import Checkpoint
from kraft.raft.membership.configuration import Base, decode
from kraft.storage.rows import seal, select, unseal
from kraft.storage.sqlite import single

_COLUMNS = (
    "base_index, base_term, base_stamp, configuration_index, configuration, revision, keys, size, sum, adlers"
)

_COLUMNS_2 = _COLUMNS + ", machine_version"
_INSERT = "INSERT OR REPLACE INTO image (only, %s, checksum) VALUES (1, %s)"
_SELECT = "SELECT %s, checksum FROM image"


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
