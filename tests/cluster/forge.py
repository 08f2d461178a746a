"""Changes one value in the state file of a stopped node, consistently: `python forge.py FILE KEY VALUE`.

A program of its own, so that no second SQLite library opens the files of a process that has one. It takes
care of every sum that a start verifies; only the comparison of replicas can find what it did.
"""

import sqlite3
import sys
import zlib

import msgspec

from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.record import row_sum


def forge(path: str, key: bytes, value: bytes) -> None:
    """Replace the value of `key`; `value` has as many bytes."""
    with sqlite3.connect(path) as database:
        found = database.execute(
            "SELECT value, revision, expires, adler, hash FROM record WHERE key = ?", (key,)
        ).fetchone()
        old, revision, expires, adler, hash_ = found
        assert len(old) == len(value)
        new_adler = row_sum(key, value, revision, expires)
        new_hash = record_hash(key, value, revision, expires)
        database.execute(
            "UPDATE record SET value = ?, adler = ?, hash = ? WHERE key = ?",
            (value, new_adler, new_hash, key),
        )
        _settle(database, new_adler - adler, int.from_bytes(new_hash, "big"), int.from_bytes(hash_, "big"))
    database.close()


def _settle(database: sqlite3.Connection, adlers: int, added: int, taken: int) -> None:
    columns = "base_index, base_term, base_stamp, configuration_index, configuration, revision, keys, size"
    columns += ", sum, adlers"
    if database.execute("PRAGMA user_version").fetchone() != (1,):
        columns += ", machine_version"
    row = database.execute(f"SELECT {columns} FROM image").fetchone()
    sums = (moved_sum(row[8], added, taken), row[9] + adlers)
    checksum = zlib.crc32(msgspec.msgpack.encode((*row[:8], *sums, *row[10:])))
    database.execute("UPDATE image SET sum = ?, adlers = ?, checksum = ?", (*sums, checksum))


if __name__ == "__main__":
    forge(sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode())
