"""A copy of the state machine at one index: what goes into it, and how two copies are compared.

A checkpoint is kept up to date by changes alone, so its cost depends on what was written, not on the size of
the data. So does that of its sum, which adds one hash per key: the old hash of a changed key is subtracted.
"""

from hashlib import blake2b

import msgspec

from kraft.kv.record import Record
from kraft.raft.membership.configuration import Base

HASH_BYTES = 16
_MASK = (1 << (8 * HASH_BYTES)) - 1


class Capture(msgspec.Struct, frozen=True, gc=False):
    """What a checkpoint at `base` has to write: the keys changed since the last one, None for removed ones.

    `ledger` is the same of the rows of the ledger. Both belong to the writer, which keeps the keys and drops
    each record once it is written. `revision`
    is the machine's at `base`, `machine_version` the version in force there. `cleared` means that all keys
    were removed since the last checkpoint: first all keys go, then the changes come.
    """

    base: Base
    revision: int
    changes: dict[bytes, Record | None]
    machine_version: int = 1
    cleared: bool = False
    ledger: dict[bytes, Record | None] = {}


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """A complete copy at `base`: the number of `keys`, bytes (`size`) of keys and values, and their `sum`.

    The rows of the ledger count like keys.
    Two sums (HASH_BYTES long) are equal exactly if the contents are, including expiries and revisions.
    `machine_version` is the version in force at `base`.
    """

    base: Base
    revision: int
    keys: int
    size: int
    sum: bytes
    machine_version: int = 1


def record_hash(key: bytes, value: bytes, revision: int, expires: int, *, ledger: bool = False) -> bytes:
    """The hash of one key, or of one row of the ledger, HASH_BYTES long."""
    head = (b"ledger %d %d %d " if ledger else b"%d %d %d ") % (len(key), revision, expires)
    return blake2b(b"".join((head, key, value)), digest_size=HASH_BYTES).digest()


def moved_sum(sum_: bytes, added: int, taken: int) -> bytes:
    """`sum_` plus the hashes that total `added`, minus those that total `taken` (big-endian numbers)."""
    return ((int.from_bytes(sum_, "big") + added - taken) & _MASK).to_bytes(HASH_BYTES, "big")
