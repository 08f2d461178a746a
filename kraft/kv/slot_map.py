"""The map of slots, in the ledger of group 0: who has which slots, and which moves are planned.

One row holds all of it. Numbers of moves count upwards and are never given again, whatever becomes of a move.
A planned move keeps its `id`, and gets another `number` for each attempt: a receiver that has cancelled a
number never takes it again.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from kraft.kv.commands import EndMove, PlanMove, PlanMoves, RenewMove, StopMove
from kraft.kv.created_groups import created_count
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.slots import SLOTS
from kraft.kv.state import MachineState

MOVES_MAX = 256  # planned at once: 10 KiB of the row. Its ranges take 15 bytes each, 240 KiB at most


class MapRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Slots from `first` to `last`, which the group has by the move `epoch`, or from the beginning: 0."""

    first: int
    last: int
    group: int
    epoch: int = 0


class PlannedMove(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A move that is not over. `id` is its first number; `number` is that of the present attempt.

    `stopping`: an administrator wants it cancelled. `since` is when it was planned (Unix ms, log time).
    """

    id: int
    number: int
    first: int
    last: int
    source: int
    receiver: int
    stopping: bool = False
    since: int = 0


class MapState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The map. `version` goes up by one with every change of owners, `last` is the last number given.

    `ranges` cover all slots in ascending order; `moves` are in the order of their planning.
    """

    version: int
    last: int
    ranges: tuple[MapRange, ...]
    moves: tuple[PlannedMove, ...] = ()


class MapOutcome(IntEnum):
    """What came of a command on the map."""

    PLANNED = 1
    ENDED = 2
    UNKNOWN = 3
    OWNED = 4
    OVERLAPS = 5
    FULL = 6
    CHANGED = 7


class MapReply(msgspec.Struct, frozen=True, gc=False):
    """The reply to a command on the map: `number` is that of a move, or of a group for OWNED."""

    outcome: MapOutcome
    number: int = 0

    def to_reply(self) -> Reply:
        """The reply as a value that travels between nodes."""
        return [int(self.outcome), self.number]


def map_reply(reply: Any) -> MapReply:
    """Inverse of `MapReply.to_reply`. Raises ValueError if it is no reply to a command on the map."""
    try:
        outcome, number = reply
        return MapReply(MapOutcome(outcome), number)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{reply!r} is no reply to a command on the map of slots") from error


def static_ranges(groups: int) -> tuple[MapRange, ...]:
    """The slots divided evenly among `groups`, group 0 first, as when a cluster is formed."""
    bounds = [-(-group * SLOTS // groups) for group in range(groups + 1)]
    return tuple([MapRange(bounds[group], bounds[group + 1] - 1, group) for group in range(groups)])


def saved_map(ledger: Ledger) -> MapState | None:
    """The map in the ledger of group 0, None before the first move."""
    row = ledger.get(LedgerKind.MAP, b"")
    return None if row is None else _decode(row.value)


def save_map(ledger: Ledger, changed: MapState, revision: int) -> None:
    """Store the map in the ledger of group 0."""
    ledger.put(LedgerKind.MAP, b"", _encode(changed), revision)


def owners(ranges: Sequence[MapRange], first: int, last: int) -> list[int]:
    """The groups that have slots from `first` to `last`, in the order of the slots."""
    found = [each.group for each in ranges if each.first <= last and first <= each.last]
    return list(dict.fromkeys(found))


def _plan(state: MachineState, command: PlanMove) -> Reply:
    if not 0 < command.groups <= SLOTS:
        return MapReply(MapOutcome.UNKNOWN).to_reply()
    known = _known(state, command.groups)
    return _planned(state, known, [(command.first, command.last, command.receiver)], command.groups)


def _plan_all(state: MachineState, command: PlanMoves) -> Reply:
    if not 0 < command.groups <= SLOTS:
        return MapReply(MapOutcome.UNKNOWN).to_reply()
    known = _known(state, command.groups)
    if (known.version, known.last) != (command.version, command.last):
        return MapReply(MapOutcome.CHANGED).to_reply()
    return _planned(state, known, command.moves, command.groups)


def _known(state: MachineState, groups: int) -> MapState:
    return saved_map(state.keyspace.ledger) or MapState(0, 0, static_ranges(groups))


def _planned(
    state: MachineState, known: MapState, moves: Sequence[tuple[int, int, int]], groups: int
) -> Reply:
    """Plan moves, all or none."""
    before = known.last
    groups += created_count(state.keyspace.ledger)
    for first, last, receiver in moves:
        if not (0 <= first <= last < SLOTS and 0 <= receiver < groups):
            return MapReply(MapOutcome.UNKNOWN).to_reply()
        for move in known.moves:
            if move.first <= last and first <= move.last:
                return MapReply(MapOutcome.OVERLAPS, move.id).to_reply()
        found = owners(known.ranges, first, last)
        if len(found) > 1 or found[0] == receiver:
            return MapReply(MapOutcome.OWNED, found[-1]).to_reply()
        if len(known.moves) >= MOVES_MAX:
            return MapReply(MapOutcome.FULL).to_reply()
        number = known.last + 1
        planned = PlannedMove(number, number, first, last, found[0], receiver, since=state.stamp)
        known = replace(known, last=number, moves=(*known.moves, planned))
    _save(state, known)
    return MapReply(MapOutcome.PLANNED, before + 1).to_reply()


def _renew(state: MachineState, command: RenewMove) -> Reply:
    known = saved_map(state.keyspace.ledger)
    move = _found(known, lambda each: each.number == command.number)
    if known is None or move is None:
        return MapReply(MapOutcome.UNKNOWN).to_reply()
    number = known.last + 1
    _save(state, replace(known, last=number, moves=_with(known, replace(move, number=number))))
    return MapReply(MapOutcome.PLANNED, number).to_reply()


def _stop(state: MachineState, command: StopMove) -> Reply:
    known = saved_map(state.keyspace.ledger)
    move = _found(known, lambda each: each.id == command.id)
    if known is None or move is None:
        return MapReply(MapOutcome.UNKNOWN).to_reply()
    if not move.stopping:
        _save(state, replace(known, moves=_with(known, replace(move, stopping=True))))
    return MapReply(MapOutcome.PLANNED, move.id).to_reply()


def _end(state: MachineState, command: EndMove) -> Reply:
    known = saved_map(state.keyspace.ledger)
    move = _found(known, lambda each: each.number == command.number)
    if known is None or move is None:
        return MapReply(MapOutcome.UNKNOWN).to_reply()
    changed = replace(known, moves=tuple([each for each in known.moves if each.id != move.id]))
    if command.moved:
        ranges = _given(known.ranges, MapRange(move.first, move.last, move.receiver, move.number))
        changed = replace(changed, version=known.version + 1, ranges=ranges)
    _save(state, changed)
    return MapReply(MapOutcome.ENDED, move.id).to_reply()


def _found(known: MapState | None, wanted: Callable[[PlannedMove], bool]) -> PlannedMove | None:
    return next(filter(wanted, () if known is None else known.moves), None)


def _with(known: MapState, changed: PlannedMove) -> tuple[PlannedMove, ...]:
    return tuple([changed if each.id == changed.id else each for each in known.moves])


def _given(ranges: Sequence[MapRange], given: MapRange) -> tuple[MapRange, ...]:
    """The ranges after one was given to a group."""
    before = [replace(e, last=min(e.last, given.first - 1)) for e in ranges if e.first < given.first]
    after = [replace(e, first=max(e.first, given.last + 1)) for e in ranges if e.last > given.last]
    return (*before, given, *after)


def _save(state: MachineState, changed: MapState) -> None:
    state.slots_changed = True
    save_map(state.keyspace.ledger, changed, state.revision)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(MapState).decode


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    PlanMove: _plan,
    PlanMoves: _plan_all,
    RenewMove: _renew,
    StopMove: _stop,
    EndMove: _end,
}
"""The function of each command on the map."""
