"""Ends all that is under way between groups, in their states, when nobody drives it any more.

A restore needs this: its groups stand at one cut, or as far as their logs could be applied, and begin a new
cluster. There a transaction over several groups has taken effect whole or not at all, and every slot has one
owner, in the map of group 0 as well: no move is planned, open or half over, and no hidden key is left.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from kraft.kv.commands import Cancel, Close, Command, Forget, Release, Resolve, Sweep, Unfreeze
from kraft.kv.errors import BrokenInvariant
from kraft.kv.machine import Machine
from kraft.kv.slot_map import MapRange, MapState, save_map, saved_map, static_ranges
from kraft.kv.slots import SLOTS, MoveState, SlotRange, SlotState, SlotTable, slot_of
from kraft.kv.transaction_order import Machines, frozen_here
from kraft.kv.transactions import has_committed

NOWHERE = (0, -1)  # a share of the slots that is none


def conclude(machines: Machines, founded: int) -> None:
    """Conclude the states of all groups of a cluster that was formed with `founded` groups.

    Raises BrokenInvariant if a slot has no owner then, or several: the states are of no one cut.
    """
    _conclude_transactions(machines)
    for machine in machines.values():
        for part in frozen_here(machine):
            _conclude_move(machine, machines.get(part.peer), part)
    for machine in machines.values():
        _end_moves(machine)
    _conclude_map(machines, founded, _last_number(machines))


def _conclude_transactions(machines: Machines) -> None:
    """Let each take effect whole or not at all, by what its home group has decided."""
    for machine in machines.values():
        for hold in list(machine.keyspace.transactions.prepared.values()):
            home = machines.get(hold.home)
            commit = home is not None and has_committed(home, hold.id)
            machine.apply(machine.stamp, [Resolve(hold.id, commit)])
    for machine in machines.values():
        for decision in list(machine.keyspace.transactions.decisions.values()):
            steps: Sequence[Command] = list(map(partial(Forget, decision.id), decision.waiting))
            machine.apply(machine.stamp, steps)


def _conclude_move(source: Machine, receiver: Machine | None, part: SlotRange) -> None:
    """Slots are frozen: they go to the receiver if the move is active there, else they are in use again."""
    slots = None if receiver is None else receiver.keyspace.slots
    move = None if slots is None else slots.moves.get(part.move)
    if move is not None and move.state == MoveState.ACTIVE:
        source.apply(source.stamp, [Release(part.move, move.first, move.last, move.keys)])
    else:
        if receiver is not None and slots is not None:  # else it has not heard of the move
            receiver.apply(receiver.stamp, [Cancel(part.move, part.first, part.last, NOWHERE)])
        source.apply(source.stamp, [Unfreeze(part.move, part.first, part.last)])


def _end_moves(machine: Machine) -> None:
    """No slot is frozen anywhere: what is open is cancelled, what is active over, and what is hidden goes."""
    table = machine.keyspace.slots
    if table is None:
        return
    for move in list(table.moves.values()):
        if move.state == MoveState.OPEN:
            machine.apply(machine.stamp, [Cancel(move.number, move.first, move.last, NOWHERE)])
        elif move.state == MoveState.ACTIVE:
            machine.apply(machine.stamp, [Close(move.number)])
    if table.moves:
        hidden = [(slot_of(key), key) for key in machine.keyspace.records if not table.shows(key)]
        for move in list(table.moves.values()):
            keys = tuple([key for slot, key in hidden if move.first <= slot <= move.last])
            machine.apply(machine.stamp, [Sweep(move.number, keys)])


def _last_number(machines: Machines) -> int:
    """The highest number that a move has had. Group 0 may not know it yet, and gives no number twice."""
    known = saved_map(machines[0].keyspace.ledger)
    numbers = [part.epoch for table in _tables(machines).values() for part in table.ranges]
    return max(0 if known is None else known.last, *numbers, 0)


def _conclude_map(machines: Machines, founded: int, last: int) -> None:
    """Let the map say who has the slots, and plan no move."""
    ledger, tables = machines[0].keyspace.ledger, _tables(machines)
    known = saved_map(ledger)
    if known is None and not tables:
        return
    ranges = sorted(
        (each for group in machines for each in _owned(group, tables.get(group), _share(group, founded))),
        key=lambda each: each.first,
    )
    expected = 0
    for each in ranges:
        if each.first != expected:
            raise BrokenInvariant(f"slot {min(each.first, expected)} has no owner, or several")
        expected = each.last + 1
    if expected != SLOTS:
        raise BrokenInvariant(f"slot {expected} has no owner")
    if known is None or (known.last, known.ranges, known.moves) != (last, tuple(ranges), ()):
        version = 1 if known is None else known.version + 1
        save_map(ledger, MapState(version, last, tuple(ranges)), machines[0].revision)


def _owned(group: int, table: SlotTable | None, share: tuple[int, int]) -> Iterator[MapRange]:
    """The slots that a group has."""
    if table is None:
        table = SlotTable.initial(*share)
    for part in table.ranges:
        if part.state == SlotState.OWN:
            yield MapRange(part.first, part.last, group, part.epoch)


def _share(group: int, founded: int) -> tuple[int, int]:
    """The slots that a group has had from the beginning."""
    if group >= founded:
        return NOWHERE
    found = static_ranges(founded)[group]
    return found.first, found.last


def _tables(machines: Machines) -> dict[int, SlotTable]:
    """The tables of the groups that have one."""
    return {
        group: machine.keyspace.slots
        for group, machine in machines.items()
        if machine.keyspace.slots is not None
    }
