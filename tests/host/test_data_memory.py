"""The memory of a node's data, and the word of the leader about its own."""

from types import SimpleNamespace
from typing import Any

from kraft.host.data_memory import DataMemory
from kraft.kv.machine import Machine
from kraft.peerwire.messages import NodeCondition


def test_all_groups_count():
    machines = [Machine(), Machine()]
    groups: Any = {n: SimpleNamespace(state=SimpleNamespace(machine=each)) for n, each in enumerate(machines)}
    memory = DataMemory(groups)
    for machine in machines:
        machine.keyspace.put(b"key", b"value", 1)
    assert memory.bytes == 0
    assert memory.measure() == memory.bytes == 2 * machines[0].keyspace.memory > 500


def test_the_leader_is_full_while_it_says_so():
    """Without a leader, or one that speaks an older peer wire, nothing is known to be full."""
    memory = DataMemory({})
    seen = []
    for leader in (NodeCondition(memory_full=True), NodeCondition(), NodeCondition(memory_full=True), None):
        memory.tick(leader)
        seen.append(memory.leader_full)
    assert seen == [True, False, True, False]
    assert not memory.full
