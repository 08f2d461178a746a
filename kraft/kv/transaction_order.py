"""What the steps of transactions rest on in other groups, for whoever applies the logs of several groups.

Nodes need none of this: a step is logged after those that it rests on were applied. A restore reads each log
for itself, up to a time that the clocks of different leaders have stamped, or up to where a log ends. There
a step may be found without what it rests on, and must not be applied:

    Commit at home      each participant has prepared
    Resolve (commit)    home has committed
    Forget at home      the participant has resolved

Logs that are applied side by side, each as far as these rules allow, end in a state that has every
transaction whole, if the states they began in were such a state. The order in which groups are looked at
does not matter: what is there never goes away again.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from kraft.kv.commands import Command, Commit, Forget, Resolve
from kraft.kv.machine import Machine
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
        case _:
            return True


def conclude(machines: Machines) -> None:
    """Let every transaction take effect whole or not at all, by what its home group has decided.

    Nobody drives these transactions any more. No locks and no decisions stay.
    """
    for machine in machines.values():
        for hold in list(machine.keyspace.transactions.prepared.values()):
            commit = has_committed(machines[hold.home], hold.id)
            machine.apply(machine.stamp, [Resolve(hold.id, commit)])
    for machine in machines.values():
        for decision in list(machine.keyspace.transactions.decisions.values()):
            steps: Sequence[Command] = list(map(partial(Forget, decision.id), decision.waiting))
            machine.apply(machine.stamp, steps)
