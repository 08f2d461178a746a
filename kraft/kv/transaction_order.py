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
transaction and every move whole, if the states they began in were such a state, once what is under way there
is concluded (`kraft.kv.conclusion`). The order in which groups are looked at does not matter: what is there
never goes away again. A group that is created later has no state before that, and what rests on it waits.
"""

from collections.abc import Mapping

from kraft.kv.commands import (
    Activate,
    Close,
    Command,
    Commit,
    CommitOnce,
    Forget,
    Release,
    Resolve,
    TransactionId,
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
        case Commit(id=id_) | CommitOnce(id=id_):
            return knows(machine, id_) or all(
                _has_prepared(machines.get(each), id_) for each in command.participants
            )
        case Resolve(id=id_, commit=True):
            hold = machine.keyspace.transactions.prepared.get(id_.name)
            return hold is None or _has_committed(machines.get(hold.home), id_)
        case Forget(id=id_):
            return not _holds(machines.get(command.participant), id_)
        case Activate(number=number):
            return _state(machine, number) != MoveState.OPEN or any(_frozen(machines, number))
        case Release(number=number):
            return all(
                _state(machines.get(part.peer), number) == MoveState.ACTIVE for part in _own(machine, number)
            )
        case Unfreeze(number=number):
            return all(_cancelled(machines.get(part.peer), part) for part in _own(machine, number))
        case Close(number=number):
            return not any(_frozen(machines, number))
        case _:
            return True


def _holds(machine: Machine | None, id_: TransactionId) -> bool:
    return machine is not None and id_.name in machine.keyspace.transactions.prepared


def _has_prepared(machine: Machine | None, id_: TransactionId) -> bool:
    return machine is not None and (_holds(machine, id_) or knows(machine, id_))


def _has_committed(home: Machine | None, id_: TransactionId) -> bool:
    return home is not None and has_committed(home, id_)


def _state(machine: Machine | None, number: int) -> int | None:
    """How far the move is in a group, None if it is not known there."""
    slots = None if machine is None else machine.keyspace.slots
    move = None if slots is None else slots.moves.get(number)
    return None if move is None else move.state


def frozen_here(machine: Machine) -> list[SlotRange]:
    """The slots of a group that are frozen."""
    slots = machine.keyspace.slots
    found = [] if slots is None or not slots.frozen else slots.within(0, SLOTS - 1)
    return [part for part in found if part.state == SlotState.FROZEN]


def _own(machine: Machine, number: int) -> list[SlotRange]:
    """The slots that are frozen in a group for this move."""
    return [part for part in frozen_here(machine) if part.move == number]


def _frozen(machines: Machines, number: int) -> list[SlotRange]:
    return [part for machine in machines.values() for part in _own(machine, number)]


def _cancelled(receiver: Machine | None, part: SlotRange) -> bool:
    """Whether the move of a frozen part will never be active in the receiver."""
    slots = None if receiver is None else receiver.keyspace.slots
    if slots is None or _state(receiver, part.move) in (MoveState.OPEN, MoveState.ACTIVE):
        return False
    return all(each.epoch >= part.move for each in slots.within(part.first, part.last))
