"""Who owns a key: hash slots as in Redis Cluster, and what one group knows of them.

A cluster begins with a static division of the slots, which no state repeats: a group that has never been part
of a move has no `SlotTable`, and checks nothing. From its first move on it has one. The table says of every
slot whether the group owns it, and its *epoch*, the number of the last move that it saw. This, and no map
elsewhere, is the truth: a command for a slot that the group does not own is refused when it is applied.

A frozen slot is about to leave. It is owned by nobody else yet, and whatever wants it waits, as for a lock.
The keys of a slot that a group does not own may be in its keyspace nevertheless: they have come for a move
that is not over, or are left of one. They are hidden: nothing reads them, and none expires.
"""

import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

import msgspec

from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import CommandFailure

SLOTS = 16_384
NUMBER_BYTES = 8


def slot_of(key: bytes) -> int:
    """CRC16 (XMODEM) modulo 16384 of the key, or of its hash tag.

    The hash tag is the part between the first `{` and the next `}`, if it is not empty (Redis Cluster
    specification, "Hash tags").
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class SlotState(IntEnum):
    """What a slot is to a group."""

    GONE = 0  # another group's, or never seen: then the epoch is 0
    OWN = 1
    FROZEN = 2  # its own, but for the time being nobody may use it


class SlotRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Slots from `first` to `last` that are alike.

    `peer` is the group to which they have gone or, if they are frozen, are about to go by this `move`.
    """

    first: int
    last: int
    state: int
    epoch: int = 0
    move: int = 0
    peer: int = -1


class MoveState(IntEnum):
    """How far a move is, in a group that has its keys."""

    OPEN = 1  # at the receiver: its keys arrive, and are hidden
    ACTIVE = 2  # at the receiver: it owns the slots, and the source may not know it yet
    SWEEP = 3  # at the receiver of a cancelled one, or at the source: hidden keys are left


class Move(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A move of the slots from `first` to `last`. `number` names it, and is never given to another one.

    `chunk` is the number of the next `Import`. `keys` counts the keys of the move that are here, and `sum`
    adds up their `record_hash`; of a move that is active, both are as of then.
    """

    number: int
    first: int
    last: int
    state: int
    chunk: int = 0
    keys: int = 0
    sum: bytes = bytes(16)

    def touches(self, first: int, last: int) -> bool:
        """Whether a slot from `first` to `last` is part of it."""
        return self.first <= last and first <= self.last


class SlotTable:
    """The slots of one group: `ranges` cover all of them in ascending order; `moves` are by number.

    `hidden` counts the hidden keys. Treat all as read-only outside this class.
    """

    __slots__ = ("_firsts", "_states", "hidden", "moves", "ranges")

    def __init__(self, ranges: Iterable[SlotRange], moves: Iterable[Move] = ()) -> None:
        self.moves = {move.number: move for move in moves}
        self.hidden = sum([move.keys for move in self.moves.values() if move.state != MoveState.ACTIVE])
        self._set(list(ranges))

    @classmethod
    def initial(cls, first: int, last: int) -> "SlotTable":
        """The table of a group that owns these slots from the beginning."""
        before, after = (
            SlotRange(0, first - 1, SlotState.GONE),
            SlotRange(last + 1, SLOTS - 1, SlotState.GONE),
        )
        ranges = (before, SlotRange(first, last, SlotState.OWN), after)
        return cls([each for each in ranges if each.first <= each.last])

    def within(self, first: int, last: int) -> list[SlotRange]:
        """The parts of `ranges` from `first` to `last`; none if that is before `first`."""
        place = bisect_right(self._firsts, first) - 1
        found: list[SlotRange] = []
        while first <= last and place < len(self.ranges) and self.ranges[place].first <= last:
            each = self.ranges[place]
            found.append(_cut(each, max(first, each.first), min(last, each.last)))
            place += 1
        return found

    def state(self, key: bytes) -> int:
        """The `SlotState` of a key's slot."""
        return self._states[slot_of(key)]

    def owns(self, key: bytes) -> bool:
        """Whether the group owns the key, and it is not frozen."""
        return self._states[slot_of(key)] == SlotState.OWN

    def shows(self, key: bytes) -> bool:
        """Whether the key is no hidden one."""
        return self._states[slot_of(key)] != SlotState.GONE

    def shown(self) -> Callable[[bytes], bool]:
        """As `shows`, for the slots as they are now, whatever becomes of them."""
        states = self._states
        return lambda key: states[slot_of(key)] != SlotState.GONE

    @property
    def count(self) -> int:
        """How many slots the group has, frozen ones among them."""
        return SLOTS - self._states.count(SlotState.GONE)

    @property
    def frozen(self) -> bool:
        """Whether any slot is frozen."""
        return SlotState.FROZEN in self._states

    @property
    def is_moving(self) -> bool:
        """Whether a slot is frozen, or a move is not over here."""
        return bool(self.moves) or self.frozen

    @property
    def leaving(self) -> frozenset[int]:
        """The numbers of the moves for which slots are frozen."""
        if not self.frozen:
            return frozenset()
        return frozenset([part.move for part in self.ranges if part.state == SlotState.FROZEN])

    def refusal(self, names: Iterable[Any], *, whole: bool = False) -> CommandFailure | None:
        """Why a command cannot be done that uses these names; None when it can. Names may be of rows, too.

        `whole` is that it uses all keys at once, for which it waits until none is frozen.
        """
        states = {self._states[slot_of(name)] for name in names if isinstance(name, bytes)}
        if SlotState.GONE in states:
            return CommandFailure.NOT_OWNER
        if SlotState.FROZEN in states or (whole and self.frozen):
            return CommandFailure.LOCKED
        return None

    def change(self, first: int, last: int, changed: Callable[[SlotRange], SlotRange]) -> None:
        """Replace each part of `ranges` from `first` to `last`."""
        parts = [*self.within(0, first - 1), *map(changed, self.within(first, last))]
        parts += self.within(last + 1, SLOTS - 1)
        joined = parts[:1]
        for part in parts[1:]:
            before = joined[-1]
            if _cut(before, part.first, part.last) == part:
                joined[-1] = _cut(before, before.first, part.last)
            else:
                joined.append(part)
        self._set(joined)

    def use_up(self, first: int, last: int, number: int) -> None:
        """No move up to `number` may have these slots any more."""
        self.change(
            first,
            last,
            lambda each: SlotRange(
                each.first, each.last, each.state, max(each.epoch, number), each.move, each.peer
            ),
        )

    def put(self, move: Move) -> None:
        """Store a move in place of what is known of it."""
        self.drop(move.number)
        self.moves[move.number] = move
        if move.state != MoveState.ACTIVE:
            self.hidden += move.keys

    def drop(self, number: int) -> None:
        """Forget a move."""
        move = self.moves.pop(number, None)
        if move is not None and move.state != MoveState.ACTIVE:
            self.hidden -= move.keys

    def _set(self, ranges: list[SlotRange]) -> None:
        self.ranges = ranges
        self._firsts = [each.first for each in ranges]
        self._states = b"".join([bytes([each.state]) * (each.last - each.first + 1) for each in ranges])


def save_ranges(ledger: Ledger, table: SlotTable, revision: int) -> None:
    """Store the ranges as a row of the ledger."""
    ledger.put(LedgerKind.SLOTS, b"", _encode(table.ranges), revision)


def save_move(ledger: Ledger, table: SlotTable, number: int, revision: int) -> None:
    """Store what the table knows of a move, or that it knows nothing of it."""
    move = table.moves.get(number)
    name = number.to_bytes(NUMBER_BYTES, "big")
    if move is None:
        ledger.remove(LedgerKind.MOVE, name)
    else:
        ledger.put(LedgerKind.MOVE, name, _encode(move), revision)


def saved_table(ledger: Ledger) -> SlotTable | None:
    """The table that the rows of the ledger hold, None if there is none."""
    row = ledger.get(LedgerKind.SLOTS, b"")
    if row is None:
        return None
    moves = [each for key, each in ledger.rows.items() if key[0] == LedgerKind.MOVE]
    return SlotTable(_decode_ranges(row.value), [_decode_move(each.value) for each in moves])


def _cut(each: SlotRange, first: int, last: int) -> SlotRange:
    return SlotRange(first, last, each.state, each.epoch, each.move, each.peer)


_encode = msgspec.msgpack.Encoder().encode
_decode_ranges = msgspec.msgpack.Decoder(list[SlotRange]).decode
_decode_move = msgspec.msgpack.Decoder(Move).decode
