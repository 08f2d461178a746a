"""The end of a run: whether all replicas agree, and whether every result of a client can be explained."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kraft.kv.versions import MACHINE_VERSION
from tests import serializability
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.executed import executed
from tests.simulation.history import History
from tests.simulation.linearizability import NOTHING_WRITTEN, Model, Operation, linearizable, numbered_key
from tests.simulation.locks import LOCK, NEVER_TAKEN, PROTECTED, demand_order, fenced_list
from tests.simulation.once import COUNTED, NEVER_COUNTED, counted_once
from tests.simulation.process import Process
from tests.simulation.questions import COUNTERS, ELEMENTS
from tests.simulation.scripts import CALLED, NEVER_CALLED, called_counter, took_effect, with_scripts
from tests.simulation.transactions import LISTS, elements
from tests.simulation.violation import demand

MODELS: dict[bytes, tuple[Model, Any]] = {
    LOCK: (fenced_list, NEVER_TAKEN),
    COUNTED: (counted_once, NEVER_COUNTED),
    CALLED: (called_counter, NEVER_CALLED),
}
"""The model of a key and its first state; all other keys have `numbered_key`."""


def settled(cluster: SimulatedCluster) -> bool:
    """Whether all members are up, have one leader in each group and the same log, have applied all of it and
    with it the newest machine version, and no key is left that should have expired. Who has left a group
    has no replica of it.
    """
    configurations = [cluster.checks.committed[group].configuration for group in cluster.groups]
    if any(each.joint or each.joining for each in configurations):
        return False  # a change in progress has to finish first
    if len({each.members for each in configurations}) > 1 and not cluster.scattered:
        return False  # a command that changed some groups only is repeated
    members = cluster.members()
    processes = [p for p in cluster.processes() if p.id in members]
    if any(p.host.slots.groups != len(cluster.groups) for p in processes):
        return False  # groups were created, and a node has not heard of them
    for id_ in cluster.groups:
        holding = {p.id for p in processes if id_ in p.host.groups}
        if holding != {m.id for m in configurations[id_].members} or len(cluster.leaders(id_)) != 1:
            return False
        groups = [p.host.groups[id_] for p in processes if p.id in holding]
        logs = [g.raft.state.log for g in groups]
        ends = {g.state.index for g in groups}.union(
            *((log.last_index, log.durability.durable) for log in logs)
        )
        if len(ends) != 1:
            return False
        if any(g.state.machine.version < MACHINE_VERSION for g in groups):
            return False
        if any(g.state.machine.keyspace.due.live or g.state.fenced for g in groups):
            return False
    return len(processes) == len(members)


def judge(cluster: SimulatedCluster, history: History) -> None:
    """Raise `Violation` when the state of a settled cluster does not explain `history`."""
    cluster.checks.equal_logs()
    cluster.checks.equal_digests()
    for (home, key), operations in sorted(history.operations().items()):
        if not history.flushed(home):
            _account(cluster, home, key, [o for o in operations if took_effect(o)])
    logged = executed(cluster.checks.committed, cluster.homes, apply=history.doubtful)
    for home, fates in sorted(history.fates.items()):
        cluster.checks.effects(logged[home], fates)
        history.settle(home, logged[home])
    where = "home" if cluster.homes.moving else "group"
    for (home, key), operations in sorted(history.operations().items()):
        model, initial = MODELS.get(key, (numbered_key, NOTHING_WRITTEN))
        explained = linearizable(operations, with_scripts(model), initial)
        demand(explained, f"the history of {key!r} in {where} {home} is not linearizable")
    for home in range(cluster.homes.count):
        attempts = history.attempts.get(home, ())
        lists = {key.decode(): elements(_shown(cluster, home, key)) for key in LISTS}
        serializability.check(attempts, lists)
        demand_order(_shown(cluster, home, PROTECTED) or b"", f"{where} {home}")
    for node in cluster.nodes.values():
        demand(not node.failures or node.troubled, f"{node.id} gave up: {node.failures}")


def _shown(cluster: SimulatedCluster, home: int, name: bytes) -> bytes | None:
    """The value of a key at the end, on any node that has it."""
    return _value(cluster, _holders(cluster, home)[0], home, name)


def _holders(cluster: SimulatedCluster, home: int) -> list[Process]:
    """The members that have a replica of the group of a home."""
    members = cluster.members()
    processes = [p for p in cluster.processes() if p.id in members]
    return [p for p in processes if cluster.homes.group(p.host, home) in p.host.groups]


def _value(cluster: SimulatedCluster, process: Process, home: int, name: bytes) -> bytes | None:
    """The value of a key at the end, on one node."""
    group = cluster.homes.group(process.host, home)
    return process.host.groups[group].state.machine.keyspace.get(cluster.homes.key(home, name))


def _account(cluster: SimulatedCluster, home: int, key: bytes, operations: Sequence[Operation]) -> None:
    """Compare counters and sets with the acknowledged writes (lower bound) and all writes (upper bound)."""
    for process in _holders(cluster, home):
        value = _value(cluster, process, home, key) or b""
        where = f"{key!r} of {'home' if cluster.homes.moving else 'group'} {home} on {process.id}"
        if key in COUNTERS:
            _count(int(value or b"0"), operations, where)
        elif key == ELEMENTS:
            _find(Counter(value.split(b"|")[1:]), operations, where)


def _count(number: int, operations: Sequence[Operation], where: str) -> None:
    sure = sum(o.argument for o in operations if o.name == "increment" and not o.unknown)
    perhaps = sum(o.argument for o in operations if o.name == "increment" and o.unknown)
    demand(sure <= number <= sure + perhaps, f"{where} is {number}, not {sure} to {sure + perhaps}")


def _find(elements: Counter[bytes], operations: Sequence[Operation], where: str) -> None:
    added = [o for o in operations if o.name == "append"]
    sure = Counter(o.argument[1:] for o in added if not o.unknown)
    possible = Counter(o.argument[1:] for o in added)
    demand(sure <= elements, f"{where} lacks {sorted(sure - elements)}")
    demand(elements <= possible, f"{where} has {sorted(elements - possible)} too many")
