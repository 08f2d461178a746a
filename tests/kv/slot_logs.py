"""The logs of groups between which a slot moved, for tests that cut them anywhere."""

from typing import Any

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.machine import Machine
from kraft.kv.move_reply import move_reply
from kraft.kv.slots import SLOTS, slot_of
from kraft.raft.membership.configuration import Configuration, Member
from tests.kv.group_states import NOW

KEYS = tuple(b"{k}%d" % number for number in range(5))
SLOT = slot_of(KEYS[0])
FOUNDED = 2
SOURCE = SLOT * FOUNDED // SLOTS
OTHER = 1 - SOURCE
FIRST_CONFIGURATION = Configuration.of_voters((Member("K1", 32 * "a", "h:1"),)).encode()
SHARES = ((0, 8191), (8192, 16383), (0, -1))


class Logs:
    """The logs of some groups, and their states. A step goes into one of them."""

    def __init__(self, groups: int) -> None:
        self.logs: list[list[Any]] = [[] for _ in range(groups)]
        self.machines = [Machine() for _ in range(groups)]

    def do(self, group: int, command: Any) -> Any:
        self.logs[group].append(command)
        return self.machines[group].apply(NOW, [command])[0]


def rows_of(machine: Machine) -> tuple[kv.Row, ...]:
    found = machine.keyspace.records.values()
    return tuple([kv.Row(r.key, r.value, r.expires, r.revision) for r in found if slot_of(r.key) == SLOT])


def moved(logs: Logs, number: int, source: int, receiver: int) -> None:
    """A whole move of the slot, in the order in which its entries are logged."""
    logs.do(0, kv.PlanMove(SLOT, SLOT, receiver, FOUNDED))
    logs.do(receiver, kv.Open(number, SLOT, SLOT, SHARES[receiver]))
    rows = rows_of(logs.machines[source])
    logs.do(receiver, kv.Import(number, 0, rows[:3]))
    logs.do(source, kv.Put(KEYS[0], b"last"))
    rows = rows_of(logs.machines[source])
    frozen = move_reply(logs.do(source, kv.Freeze(number, SLOT, SLOT, receiver, SHARES[source])))
    hashes = [record_hash(row.key, row.value or b"", row.revision, row.expires) for row in rows]
    total = moved_sum(bytes(16), sum([int.from_bytes(each, "big") for each in hashes]), 0)
    late = tuple([row for row in rows if row.key == KEYS[0]]) + rows[3:]
    late = tuple(dict.fromkeys(late))
    activate = kv.Activate(number, 1, late, (), frozen.revision, frozen.stamp, len(rows), total)
    logs.do(receiver, activate)
    logs.do(source, kv.Release(number, SLOT, SLOT, len(rows)))
    logs.do(receiver, kv.Put(KEYS[1], b"newer"))
    logs.do(source, kv.Sweep(number, tuple([row.key for row in rows][:2])))
    logs.do(source, kv.Sweep(number, tuple([row.key for row in rows][2:])))
    logs.do(receiver, kv.Close(number))
    logs.do(0, kv.EndMove(number, True))


def logs_of_a_move(receiver: int) -> Logs:
    """Of two groups and one that was created: the slot has some keys, and moves once."""
    made = Logs(3)
    made.do(0, kv.AddGroups(FOUNDED, 1, FIRST_CONFIGURATION))
    for key in KEYS:
        made.do(SOURCE, kv.Put(key, b"v" + key))
    moved(made, 1, SOURCE, receiver)
    return made
