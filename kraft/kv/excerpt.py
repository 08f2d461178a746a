"""What the reads of a transaction look at: an excerpt of the keyspace, which can travel to another node.

The reply to a `Exec` is a list: the stamp at which it took place, the records that its reads look at,
and one reply for each step. A record is its value, revision and expiry. The reply to a `Look` is the number
of all keys and then, for each of its keys, the place of its record, None if the key is missing. A record that
several reads look at is there once.
"""

from collections.abc import Sequence
from typing import Any

from kraft.kv.commands import Exec, Look
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import Record
from kraft.kv.replies import CommandFailure, Reply

EXCERPT_BYTES = 64 << 20  # of all values: what the client port leaves unread at most


class Excerpt(Keyspace):
    """Some keys of a keyspace that has `total` keys."""

    __slots__ = ("_total",)

    def __init__(self, total: int, records: dict[bytes, Record]) -> None:
        super().__init__()
        self.records = records
        self._total = total

    def __len__(self) -> int:
        return self._total


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


def excerpt(look: Look, places: Sequence[Any], records: Sequence[Any]) -> Excerpt:
    """What `look` looked at, from the reply to it, and the records of the reply to the transaction."""
    total, *places = places
    found = {}
    for key, place in zip(look.keys, places, strict=True):
        if place is not None:
            found[key] = Record(key, *records[place])
    return Excerpt(total, found)
