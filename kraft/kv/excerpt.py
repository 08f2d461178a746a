"""Excerpts of a keyspace, which can travel to another node: what the reads of a transaction look at, and what
a node reads of a group that it has no replica of.

The reply to a `Exec` is a list: the stamp at which it took place, the records that its reads look at,
and one reply for each step. A record is its value, revision and expiry. The reply to a `Look` is the number
of all keys and then, for each of its keys, the place of its record, None if the key is missing. A record that
several reads look at is there once.

A read of a group elsewhere is answered with `ExcerptRows`, of which the node of the client makes an
`Excerpt`: its commands find there what they would find in the keyspace.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from kraft.kv.commands import Exec, Look
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import Record
from kraft.kv.removals import Removals
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.slots import SlotRange, SlotTable

EXCERPT_BYTES = 64 << 20  # of all values: what the client port leaves unread at most
PART_BYTES = 1 << 20  # of the values of keys that may be left out

Row = tuple[bytes, bytes, int, int]
"""A key or the key of a row of the ledger, its value, revision and expiry."""


class NotInExcerpt(LookupError):
    """A key was left out of an excerpt: it has to be read again."""


class Excerpt(Keyspace):
    """Some keys of a keyspace that has `total` keys."""

    __slots__ = ("_total",)

    def __init__(self, total: int, records: dict[bytes, Record]) -> None:
        super().__init__()
        self.records = records
        self._total = total

    def __len__(self) -> int:
        return self._total


class ExcerptRows(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a read finds in a keyspace at `now_ms`, at the group's `revision`.

    `total` is the number of all keys, and `size` their memory in bytes. `found` are the keys that exist;
    `missing` has the others, each with the bound of its removals (`Removals.bound`). With `cut` some keys
    that were asked for are in neither. `ledger` has rows, and `slots` the slots of the group: None if they
    were not asked for, or none has ever moved.
    """

    now_ms: int
    revision: int
    total: int
    size: int
    found: list[Row]
    missing: list[tuple[bytes, int]]
    ledger: list[Row] = []
    slots: list[SlotRange] | None = None
    cut: bool = False

    def excerpt(self) -> Excerpt:
        """The keyspace as far as it was read. A key that was left out raises NotInExcerpt."""
        records = {row[0]: Record(*row) for row in self.found}
        bounds = dict(self.missing)
        made = Excerpt(self.total, _CutRecords(records, bounds) if self.cut else records)
        made.bytes = self.size
        made.removals = _KnownRemovals(bounds)
        made.ledger.load(self.ledger)
        made.slots = None if self.slots is None else SlotTable(self.slots)
        return made


class _KnownRemovals(Removals):
    """What is known of keys that are missing, by their bounds."""

    __slots__ = ("_bounds",)

    def __init__(self, bounds: dict[bytes, int]) -> None:
        super().__init__()
        self._bounds = bounds

    def possible(self, key: bytes, revision: int) -> bool:
        bound = self._bounds.get(key)
        return bound is None or revision < bound


class _CutRecords(dict[bytes, Record]):
    """Records of which some were left out: what is neither there nor `missing` raises NotInExcerpt."""

    def __init__(self, records: dict[bytes, Record], missing: dict[bytes, int]) -> None:
        super().__init__(records)
        self._missing = missing

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or self._lacks(key)

    def __missing__(self, key: bytes) -> Record:
        self._lacks(key)
        raise KeyError(key)

    def get(self, key: bytes, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  # it is this method

    def _lacks(self, key: object) -> bool:
        """False for a key that is known to be missing."""
        if key not in self._missing:
            raise NotInExcerpt(key)
        return False


class Excerpts:
    """Collects what the reads of one transaction look at."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._places: dict[int, int] = {}  # by the identity of a record
        self._records: list[Record] = []  # holds them, so that no other object gets their identity
        self._size = 0

    def look(self, look: Look) -> Reply:
        """The reply to `look`: TOO_MUCH if the values would exceed EXCERPT_BYTES."""
        records = self._keyspace.records
        places: list[Reply] = [len(self._keyspace)]
        for key in look.keys:
            record = records.get(key)
            if record is None:
                places.append(None)
                continue
            place = self._places.get(id(record))
            if place is None:
                self._size += len(record.value)
                if self._size > EXCERPT_BYTES:
                    return CommandFailure.TOO_MUCH
                place = self._places[id(record)] = len(self._records)
                self._records.append(record)
            places.append(place)
        return places

    def reply(self, stamp: int, replies: list[Reply]) -> Reply:
        """The reply to the transaction, which took place at `stamp`."""
        return [stamp, [[record.value, record.revision, record.expires] for record in self._records], replies]


def examined(keyspace: Keyspace, now_ms: int, transaction: Exec) -> Reply:
    """The reply to a transaction that only reads, at `now_ms`: it needs no log."""
    if not keyspace.unchanged(transaction.watched):
        return None
    excerpts = Excerpts(keyspace)
    replies = [excerpts.look(step) for step in transaction.steps if type(step) is Look]
    return excerpts.reply(now_ms, replies)


def excerpt_rows(
    keyspace: Keyspace,
    now_ms: int,
    revision: int,
    names: Sequence[bytes | int],
    needed: int,
    wanted: Collection[bytes] = (),
) -> ExcerptRows | None:
    """What a read of `names` finds: keys, and kinds of rows of the ledger; without names the slots.

    Of a kind of which `wanted` has rows, by their keys in the ledger, it finds only these. Names after the
    first `needed` ones are left out once the values have PART_BYTES. None if those of the needed ones exceed
    EXCERPT_BYTES.
    """
    records, removals = keyspace.records, keyspace.removals
    found: list[Row] = []
    missing: list[tuple[bytes, int]] = []
    ledger: list[Row] = []
    size = 0
    cut = False
    for place, name in enumerate(names):
        if place >= needed and size >= PART_BYTES:
            cut = True
            break
        if isinstance(name, int):
            rows = _rows_of(keyspace, name, wanted)
            ledger += rows
            size += sum([len(row[1]) for row in rows])
        elif (record := records.get(name)) is None:
            missing.append((name, removals.bound(name)))
        else:
            found.append((name, record.value, record.revision, record.expires))
            size += len(record.value)
        if size > EXCERPT_BYTES and place < needed:
            return None
    slots = keyspace.slots.ranges if not names and keyspace.slots is not None else None
    return ExcerptRows(
        now_ms, revision, len(keyspace), keyspace.bytes, found, missing, ledger, slots, cut
    )  # fmt: skip


def _rows_of(keyspace: Keyspace, kind: int, wanted: Collection[bytes]) -> list[Row]:
    rows, asked = keyspace.ledger.rows, {key for key in wanted if key[0] == kind}
    found = [rows[key] for key in asked if key in rows] if asked else rows.values()
    return [(row.key, row.value, row.revision, row.expires) for row in found if row.key[0] == kind]


encode_rows = msgspec.msgpack.Encoder().encode
"""The bytes of `ExcerptRows`."""

decode_rows = msgspec.msgpack.Decoder(ExcerptRows).decode
"""Inverse of `encode_rows`. Raises msgspec.MsgspecError."""


def excerpt(look: Look, places: Sequence[Any], records: Sequence[Any]) -> Excerpt:
    """What `look` looked at, from the reply to it, and the records of the reply to the transaction."""
    total, *places = places
    found = {}
    for key, place in zip(look.keys, places, strict=True):
        if place is not None:
            found[key] = Record(key, *records[place])
    return Excerpt(total, found)
