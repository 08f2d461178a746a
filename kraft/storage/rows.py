"""Rows that carry a checksum of their own: CRC-32 of their other columns, as msgpack, in the last column.

SQLite does not checksum the pages of its main file, so the small rows that decide what a node is and holds
are verified when they are read. (Log entries have a chained checksum instead, a state file's keys a sum.)
"""

import zlib
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

_encode = msgspec.msgpack.Encoder().encode


class DamagedRow(Exception):
    """A row is missing, fails its checksum, or has a column of the wrong type. The argument says which."""


def seal(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """`fields` and their checksum: the row to be written."""
    return (*fields, zlib.crc32(_encode(fields)))


def unseal(row: Sequence[Any], damage: str) -> Sequence[Any]:
    """The fields of a row as it was read. Raises `DamagedRow` with the text `damage`."""
    fields = row[:-1]
    if zlib.crc32(_encode(fields)) != row[-1]:
        raise DamagedRow(damage)
    return fields


def select(connection: apsw.Connection, query: str, name: str) -> list[Any]:
    """All rows of a query, not yet verified. Raises `DamagedRow` when SQLite cannot make values of them."""
    try:
        return list(connection.execute(query))
    except (TypeError, ValueError) as error:  # text that is not UTF-8 is a ValueError
        raise DamagedRow(f"{name} is damaged ({error})") from error
