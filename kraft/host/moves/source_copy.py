"""What the source of a move has sent to the receiver, and what it has still to send."""

from collections.abc import Iterable, Iterator
from itertools import islice

from kraft.kv.checkpoint import HASH_BYTES, moved_sum, record_hash
from kraft.kv.commands import Row
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind, ledger_key
from kraft.kv.noted_changes import NotedKeys
from kraft.kv.once import token_slots
from kraft.kv.record import Record
from kraft.kv.slot_index import SlotWalk
from kraft.kv.slots import slot_of

WALKED_KEYS = 1000  # that one call looks at: some 0.5 ms
ROW_BYTES = 24  # of a row in an entry, besides key and value

Chunk = tuple[tuple[Row, ...], tuple[Row, ...]]
"""Keys, and tokens of KRAFT ONCE."""


class SourceCopy:
    """A copy of the slots from `first` to `last` in the making, while the source goes on to serve them.

    First come all keys that were there at the beginning, then what has changed since a key was sent. `keys`
    and `sum` are what the receiver has to have when all that `chunk` has given is stored there. It needs the
    index of the keyspace by slots, and remembers the record of each key that was sent: about 100 bytes a key.
    """

    def __init__(self, keyspace: Keyspace, first: int, last: int) -> None:
        index = keyspace.slot_index
        if index is None:
            raise ValueError("the keyspace has no index by slots")
        self.sum = bytes(HASH_BYTES)
        self.keyspace = keyspace
        self._first = first
        self._last = last
        self._noted, self._noted_rows = NotedKeys(), NotedKeys()
        keyspace.note(self._noted)
        keyspace.ledger.note(self._noted_rows)
        self._sent: dict[bytes, Record] = {}
        self._waiting: dict[bytes, int] = {}  # keys that may have to be sent, with their bytes
        self._tokens: dict[bytes, int] = {}  # the same of tokens, as keys of the ledger
        self._bytes = 0  # of both
        self._walk: SlotWalk | None = index.walk(first, last)
        self._rows = list(keyspace.ledger.rows) if keyspace.ledger.counts[LedgerKind.TOKEN] else []

    @property
    def keys(self) -> int:
        """How many keys the receiver has to have."""
        return len(self._sent)

    @property
    def walked(self) -> bool:
        """Whether all keys and tokens were looked at, so that what is left are changes."""
        return self._walk is None and not self._rows

    @property
    def cleared(self) -> bool:
        """Whether all keys of the source were removed at once: the copy is worth nothing any more."""
        return self._noted.cleared

    @property
    def waiting_bytes(self) -> int:
        """About how much is still to be sent, once all was looked at."""
        self._note()
        return self._bytes

    def chunk(self, most: int) -> Chunk:
        """What is to be sent next, of about `most` bytes.

        It is nothing while little waits and more is looked at: each chunk costs the receiver an entry.
        """
        self._note()
        if not self.walked and self._is_short(most):
            self._go_on()
            if not self.walked and self._is_short(most):
                return (), ()
        size, rows = 0, []
        for key in list(islice(self._waiting, WALKED_KEYS)):
            if size >= most:
                break
            self._bytes -= self._waiting.pop(key)
            row = self._changed(key)
            if row is not None:
                rows.append(row)
                size += ROW_BYTES + len(key) + len(row.value or b"")
        return tuple(rows), tuple(self._next_tokens(most - size))

    def end(self) -> None:
        """Follow the changes of the source no more."""
        self.keyspace.note(None)
        self.keyspace.ledger.note(None)
        self._end_walk()
        self._rows = []

    def _is_short(self, most: int) -> bool:
        """Whether what waits is too little for an entry of its own."""
        return self._bytes < most and len(self._waiting) + len(self._tokens) < WALKED_KEYS

    def _go_on(self) -> None:
        """Look at more keys, and at more tokens after all keys."""
        if self._walk is None:
            self._want_tokens(self._rows[-WALKED_KEYS:])
            del self._rows[-WALKED_KEYS:]
            return
        piece = self._walk.piece(WALKED_KEYS)
        if piece is None:
            self._end_walk()
        else:
            self._want(piece)

    def _end_walk(self) -> None:
        if self._walk is not None:
            self._walk.end()
            self._walk = None

    def _note(self) -> None:
        if self._noted.keys:
            self._want(self._noted.take())
        if self._noted_rows.keys:
            self._want_tokens(self._noted_rows.take())

    def _want(self, keys: Iterable[bytes]) -> None:
        first, last, records = self._first, self._last, self.keyspace.records
        for key in [key for key in keys if first <= slot_of(key) <= last]:
            record = records.get(key)
            self._wait(self._waiting, key, 0 if record is None else len(record.value))

    def _want_tokens(self, keys: Iterable[bytes]) -> None:
        """Tokens of these slots, or of all slots."""
        rows = self.keyspace.ledger.rows
        for key in [key for key in keys if key[0] == LedgerKind.TOKEN]:
            row = rows.get(key)
            slots = () if row is None else token_slots(row.value)
            if row is not None and (slots is None or any(self._first <= s <= self._last for s in slots)):
                self._wait(self._tokens, key, len(row.value))

    def _wait(self, waiting: dict[bytes, int], key: bytes, size: int) -> None:
        """The key waits with so many bytes: whatever changes them makes it wait anew."""
        self._bytes += ROW_BYTES + size - waiting.get(key, 0)
        waiting[key] = ROW_BYTES + size

    def _changed(self, key: bytes) -> Row | None:
        """The row to send for a key, None if the receiver has it as it is."""
        old, new = self._sent.get(key), self.keyspace.records.get(key)
        if old is new:
            return None
        self.sum = moved_sum(self.sum, _hash(new), _hash(old))
        if new is None:
            del self._sent[key]
            return Row(key, None)
        self._sent[key] = new
        return Row(key, new.value, new.expires, new.revision)

    def _next_tokens(self, most: int) -> Iterator[Row]:
        """Tokens of about `most` bytes."""
        rows = self.keyspace.ledger.rows
        for key in list(islice(self._tokens, WALKED_KEYS)):
            if most <= 0:
                return
            self._bytes -= self._tokens.pop(key)
            row = rows.get(key)
            if row is not None:
                most -= ROW_BYTES + len(key) + len(row.value)
                yield Row(key[len(_TOKEN) :], row.value, row.expires)


_TOKEN = ledger_key(LedgerKind.TOKEN, b"")


def _hash(record: Record | None) -> int:
    if record is None:
        return 0
    hashed = record_hash(record.key, record.value, record.revision, record.expires)
    return int.from_bytes(hashed, "big")
