"""What the steps of a move of slots do to the state of one of its two groups.

`kraft.kv.commands.move` says what the steps are, and `kraft.kv.slots` what a group knows of slots. Three
rules keep a slot from having two owners, or none, whatever is lost, repeated and late:

* The receiver owns a slot only by an Activate, and the source has frozen it before. Whether a move is active
  or cancelled is decided once, by an entry of the receiver; the source asks, and never decides by itself.
* The number of a move is above the epoch of each of its slots, or the step is refused. What has ended a move
  in a group raised the epochs there to its number, so no step of it that comes late has an effect.
* Keys under the locks of a transaction do not leave: it ends in the group in which it has prepared.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.commands import (
    Activate,
    Cancel,
    Close,
    Freeze,
    Import,
    Open,
    Release,
    Row,
    Sweep,
    Unfreeze,
)
from kraft.kv.ledger import LedgerKind
from kraft.kv.move_reply import MoveOutcome, MoveReply
from kraft.kv.record import Record
from kraft.kv.replies import Reply
from kraft.kv.slots import Move, MoveState, SlotRange, SlotState, SlotTable, save_move, save_ranges, slot_of
from kraft.kv.state import MachineState


def open_move(state: MachineState, command: Open) -> Reply:
    """Expect keys of slots that another group has."""
    table = _table(state, command.share)
    known = table.moves.get(command.number)
    if known is not None:
        return _known(known)
    parts = table.within(command.first, command.last)
    if any(part.epoch >= command.number for part in parts):
        return _reply(MoveOutcome.CANCELLED)
    expected = any(move.touches(command.first, command.last) for move in table.moves.values())
    if expected or any(part.state != SlotState.GONE for part in parts):
        return _reply(MoveOutcome.REFUSED)
    _put(state, table, Move(command.number, command.first, command.last, MoveState.OPEN))
    return _reply(MoveOutcome.OPEN)


def import_rows(state: MachineState, command: Import) -> Reply:
    """Store keys that are hidden until the move is active."""
    table = state.keyspace.slots
    move = None if table is None else table.moves.get(command.number)
    if table is None or move is None:
        return _reply(MoveOutcome.CANCELLED)
    if move.state == MoveState.OPEN and move.chunk == command.chunk:
        counted = _counted(state, move, command.rows)
        if counted is None:
            return _reply(MoveOutcome.REFUSED)
        keys, total = counted
        move = replace(move, chunk=move.chunk + 1, keys=keys, sum=total)
        _store(state, command.rows, command.tokens)
        _put(state, table, move)
    return _known(move)


def freeze(state: MachineState, command: Freeze) -> Reply:
    """Stop the use of slots, which are about to leave."""
    table = _table(state, command.share)
    parts = table.within(command.first, command.last)
    frozen = _reply(MoveOutcome.FROZEN, revision=state.revision, stamp=state.stamp)
    if all(_is_frozen(part, command.number) and part.peer == command.receiver for part in parts):
        return frozen
    if any(part.state != SlotState.OWN or part.epoch >= command.number for part in parts):
        return _reply(MoveOutcome.REFUSED)
    if state.keyspace.transactions.locks.in_slots(command.first, command.last):
        return _reply(MoveOutcome.LOCKED)
    _change(state, table, command, lambda part: _frozen(part, command))
    return frozen


def activate(state: MachineState, command: Activate) -> Reply:
    """Own the slots of a move: this decides that it takes place."""
    space, table = state.keyspace, state.keyspace.slots
    move = None if table is None else table.moves.get(command.number)
    if table is None or move is None:
        return _reply(MoveOutcome.CANCELLED)
    if move.state != MoveState.OPEN:
        return _known(move)
    if any(part.epoch >= move.number for part in table.within(move.first, move.last)):
        return _reply(MoveOutcome.CANCELLED)
    if space.transactions.locks.whole:  # a FLUSHALL that has prepared here would remove them, too
        return _reply(MoveOutcome.LOCKED)
    if state.stamp < command.stamp:
        return _reply(MoveOutcome.EARLY)
    counted = _counted(state, move, command.rows)  # None equals nothing
    if command.chunk != move.chunk or counted != (command.keys, command.sum):
        return _reply(MoveOutcome.MISMATCH)
    _store(state, command.rows, command.tokens)
    state.revision = max(state.revision, command.revision)
    space.removals.forget(state.revision)  # what the source knew of removed keys is not known here
    _put(state, table, replace(move, state=MoveState.ACTIVE, keys=command.keys, sum=command.sum))
    _change(state, table, move, lambda part: _ended(part, SlotState.OWN, move.number))
    _owned(state)
    return _reply(MoveOutcome.ACTIVE, count=command.keys)


def cancel(state: MachineState, command: Cancel) -> Reply:
    """End a move for good, unless it is active."""
    table = _table(state, command.share)
    move = table.moves.get(command.number)
    if move is not None and move.state == MoveState.ACTIVE:
        return _known(move)
    table.use_up(command.first, command.last, command.number)
    save_ranges(state.keyspace.ledger, table, state.revision)
    if move is not None and move.state == MoveState.OPEN:
        _put(state, table, replace(move, state=MoveState.SWEEP) if move.keys else None, move.number)
    return _reply(MoveOutcome.CANCELLED)


def unfreeze(state: MachineState, command: Unfreeze) -> Reply:
    """Use slots again: the receiver has cancelled their move."""
    table = state.keyspace.slots
    if table is not None:
        number = command.number
        table.use_up(command.first, command.last, number)  # a Freeze that comes later has no effect
        _change(
            state,
            table,
            command,
            lambda part: _ended(part, SlotState.OWN, number) if _is_frozen(part, number) else part,
        )
        _owned(state)
    return _reply(MoveOutcome.OWN)


def release(state: MachineState, command: Release) -> Reply:
    """Let go of slots: the receiver owns them."""
    table = state.keyspace.slots
    parts = [] if table is None else table.within(command.first, command.last)
    if table is None or not all(_is_frozen(part, command.number) for part in parts):
        over = parts and all(part.epoch >= command.number for part in parts)
        return _reply(MoveOutcome.RELEASED if over else MoveOutcome.REFUSED)
    number = command.number
    _change(state, table, command, lambda part: _ended(part, SlotState.GONE, number, part.peer))
    if command.keys:
        left = Move(number, command.first, command.last, MoveState.SWEEP, keys=command.keys)
        _put(state, table, left)
    return _reply(MoveOutcome.RELEASED)


def sweep(state: MachineState, command: Sweep) -> Reply:
    """Remove hidden keys that are left of a move."""
    table = state.keyspace.slots
    move = None if table is None else table.moves.get(command.number)
    if table is None or move is None or move.state != MoveState.SWEEP:
        return _reply(MoveOutcome.SWEPT)
    hidden = [key for key in command.keys if move.first <= slot_of(key) <= move.last]
    left = move.keys - sum([state.keyspace.remove(key) is not None for key in hidden])
    _put(state, table, replace(move, keys=left) if left else None, move.number)
    if not left:
        _owned(state)
    return _reply(MoveOutcome.SWEPT, count=left)


def close(state: MachineState, command: Close) -> Reply:
    """Forget a move that the source has let go of."""
    table = state.keyspace.slots
    move = None if table is None else table.moves.get(command.number)
    if table is not None and move is not None and move.state == MoveState.ACTIVE:
        _put(state, table, None, move.number)
    return _reply(MoveOutcome.CLOSED)


def _table(state: MachineState, share: tuple[int, int]) -> SlotTable:
    """The table of the group, which has one from its first step on."""
    table = state.keyspace.slots
    if table is None:
        table = state.keyspace.slots = SlotTable.initial(*share)
        save_ranges(state.keyspace.ledger, table, state.revision)
    return table


def _counted(state: MachineState, move: Move, rows: Sequence[Row]) -> tuple[int, bytes] | None:
    """The number of keys of a move, and their sum, when these have arrived.

    None if a key comes twice in `rows`, or is of a slot that the move does not take.
    """
    records = state.keyspace.records
    keys, added, taken = move.keys, 0, 0
    if len({row.key for row in rows}) < len(rows):
        return None
    for row in rows:
        if not move.first <= slot_of(row.key) <= move.last:
            return None
        old: Record | None = records.get(row.key)
        if old is not None:
            keys -= 1
            taken += _hash(old.key, old.value, old.revision, old.expires)
        if row.value is not None:
            keys += 1
            added += _hash(row.key, row.value, row.revision, row.expires)
    return keys, moved_sum(move.sum, added, taken)


def _hash(key: bytes, value: bytes, revision: int, expires: int) -> int:
    return int.from_bytes(record_hash(key, value, revision, expires), "big")


def _store(state: MachineState, rows: Sequence[Row], tokens: Sequence[Row]) -> None:
    space = state.keyspace
    for row in rows:
        if row.value is None:
            space.remove(row.key)
        else:
            space.put(row.key, row.value, row.revision, row.expires)
            state.revision = max(state.revision, row.revision)  # a snapshot has no key above its revision
    for token in tokens:
        known = space.ledger.get(LedgerKind.TOKEN, token.key)
        if token.value is not None and (known is None or known.expires < token.expires):
            space.ledger.put(LedgerKind.TOKEN, token.key, token.value, state.revision, token.expires)


def _put(state: MachineState, table: SlotTable, move: Move | None, number: int = 0) -> None:
    """Store a move, or forget the one of that number."""
    if move is None:
        table.drop(number)
    else:
        number = move.number
        table.put(move)
    save_move(state.keyspace.ledger, table, number, state.revision)


def _change(
    state: MachineState, table: SlotTable, slots: Any, changed: Callable[[SlotRange], SlotRange]
) -> None:
    table.change(slots.first, slots.last, changed)
    state.slots_changed = True
    save_ranges(state.keyspace.ledger, table, state.revision)


def _owned(state: MachineState) -> None:
    """Slots are in use from here on: what fell due meanwhile expires now."""
    state.keyspace.due.bring_back()
    state.expire()


def _ended(part: SlotRange, state: int, number: int, peer: int = -1) -> SlotRange:
    """The part after a move of that number; the epoch never goes back."""
    return SlotRange(part.first, part.last, state, max(part.epoch, number), 0, peer)


def _frozen(part: SlotRange, command: Freeze) -> SlotRange:
    return replace(part, state=SlotState.FROZEN, move=command.number, peer=command.receiver)


def _is_frozen(part: SlotRange, number: int) -> bool:
    return part.state == SlotState.FROZEN and part.move == number


def _known(move: Move) -> Reply:
    if move.state == MoveState.OPEN:
        return _reply(MoveOutcome.OPEN, count=move.chunk)
    if move.state == MoveState.ACTIVE:
        return _reply(MoveOutcome.ACTIVE, count=move.keys)
    return _reply(MoveOutcome.CANCELLED)


def _reply(outcome: MoveOutcome, **details: int) -> Reply:
    return MoveReply(outcome=outcome, **details).to_reply()


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    Open: open_move,
    Import: import_rows,
    Freeze: freeze,
    Activate: activate,
    Cancel: cancel,
    Unfreeze: unfreeze,
    Release: release,
    Sweep: sweep,
    Close: close,
}
"""The function of each step."""
