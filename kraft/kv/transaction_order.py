"""What the steps of transactions and moves rest on in other groups, for whoever applies the logs of several.

Nodes need none of this: a step is logged after those that it rests on were applied. A restore reads each log
for itself, up to a time that the clocks of different leaders have stamped, or up to where a log ends. There
a step may be found without what it rests on, and must not be applied:

    Commit at home      each participant has prepared
    Resolve (commit)    home has committed
    Forget at home      the participant has resolved
    Activate            the source has frozen the slots
    Release             the move is active in the receiver
    Unfreeze            the receiver has cancelled the move
    Close               the source has let go of the slots

Logs that are applied side by side, each as far as these rules allow, end in a state that has every
transaction and every move whole, if the states they began in were such a state. The order in which groups
are looked at does not matter: what is there never goes away again.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from kraft.kv.commands import (
    Activate,
    Cancel,
    Close,
    Command,
    Commit,
    Forget,
    Release,
    Resolve,
    Unfreeze,
)
from kraft.kv.machine import Machine
from kraft.kv.slots import SLOTS, MoveState, SlotRange, SlotState
from kraft.kv.transactions import has_committed, knows

Machines = Mapping[int, Machine]  # by group


def may_apply(command: Command, group: int, machines: Machines) -> bool:
    """Whether what `command`, the next one in the log of `group`, rests on is applied in `machines`."""
    machine = machines[group]
    match command:
        case Commit(id=id_):
            return knows(machine, id_) or all(
                id_.name in machines[each].keyspace.transactions.prepared or knows(machines[each], id_)
                for each in command.participants
            )
        case Resolve(id=id_, commit=True):
            hold = machine.keyspace.transactions.prepared.get(id_.name)
            return hold is None or has_committed(machines[hold.home], id_)
        case Forget(id=id_):
            return id_.name not in machines[command.participant].keyspace.transactions.prepared
        case Activate(number=number):
            return _state(machine, number) != MoveState.OPEN or any(_frozen(machines, number))
        case Release(number=number):
            return all(
                _state(machines[part.peer], number) == MoveState.ACTIVE for part in _own(machine, number)
            )
        case Unfreeze(number=number):
            return all(_cancelled(machines[part.peer], part) for part in _own(machine, number))
        case Close(number=number):
            return not any(_frozen(machines, number))
        case _:
            return True


def conclude(machines: Machines) -> None:
    """Let every transaction take effect whole or not at all, by what its home group has decided.

    Slots that are frozen go to the receiver if their move is active there, and are in use again otherwise.
    Nobody drives these transactions and moves any more. No locks, no decisions and no frozen slots stay.
    """
    for machine in machines.values():
        for hold in list(machine.keyspace.transactions.prepared.values()):
            commit = has_committed(machines[hold.home], hold.id)
            machine.apply(machine.stamp, [Resolve(hold.id, commit)])
    for machine in machines.values():
        for decision in list(machine.keyspace.transactions.decisions.values()):
            steps: Sequence[Command] = list(map(partial(Forget, decision.id), decision.waiting))
            machine.apply(machine.stamp, steps)
    for machine in machines.values():
        for part in _frozen_here(machine):
            _conclude_move(machine, machines[part.peer], part)


def _conclude_move(source: Machine, receiver: Machine, part: SlotRange) -> None:
    slots = receiver.keyspace.slots
    move = None if slots is None else slots.moves.get(part.move)
    if move is not None and move.state == MoveState.ACTIVE:
        source.apply(source.stamp, [Release(part.move, move.first, move.last, move.keys)])
        receiver.apply(receiver.stamp, [Close(part.move)])
        return
    if slots is not None:  # else it has not heard of the move, and knows no slots in which to forbid it
        receiver.apply(receiver.stamp, [Cancel(part.move, part.first, part.last, (0, -1))])
    source.apply(source.stamp, [Unfreeze(part.move, part.first, part.last)])


def _state(machine: Machine, number: int) -> int | None:
    """How far the move is in a group, None if it is not known there."""
    slots = machine.keyspace.slots
    move = None if slots is None else slots.moves.get(number)
    return None if move is None else move.state


def _frozen_here(machine: Machine) -> list[SlotRange]:
    slots = machine.keyspace.slots
    found = [] if slots is None or not slots.frozen else slots.within(0, SLOTS - 1)
    return [part for part in found if part.state == SlotState.FROZEN]


def _own(machine: Machine, number: int) -> list[SlotRange]:
    """The slots that are frozen in a group for this move."""
    return [part for part in _frozen_here(machine) if part.move == number]


def _frozen(machines: Machines, number: int) -> list[SlotRange]:
    return [part for machine in machines.values() for part in _own(machine, number)]


def _cancelled(receiver: Machine, part: SlotRange) -> bool:
    """Whether the move of a frozen part will never be active in the receiver."""
    slots = receiver.keyspace.slots
    if slots is None or _state(receiver, part.move) in (MoveState.OPEN, MoveState.ACTIVE):
        return False
    return all(each.epoch >= part.move for each in slots.within(part.first, part.last))
