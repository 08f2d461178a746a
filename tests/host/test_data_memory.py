"""The memory of a node's data, and the word of the leader about its own."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.background import PAUSE_SECONDS, TURN_STEPS, Background
from kraft.host.data_memory import FREED_KEYS, DataMemory
from kraft.kv.commands import Flush
from kraft.kv.machine import Machine
from kraft.peerwire.messages import NodeCondition
from tests.host.fakes import Clock


def awake(groups: Any) -> Any:
    """All groups are ticked."""
    return SimpleNamespace(awake=groups, memory=0)


def test_all_groups_count():
    machines = [Machine(), Machine()]
    groups: Any = {n: SimpleNamespace(state=SimpleNamespace(machine=each)) for n, each in enumerate(machines)}
    memory = DataMemory(groups, awake(groups), Background(Clock()))
    for machine in machines:
        machine.keyspace.put(b"key", b"value", 1)
    assert memory.bytes == 0
    assert memory.measure() == memory.bytes == 2 * machines[0].keyspace.memory > 500


def test_the_leader_is_full_while_it_says_so():
    """Without a leader, or one that speaks an older peer wire, nothing is known to be full."""
    memory = DataMemory({}, awake({}), Background(Clock()))
    seen = []
    for leader in (NodeCondition(memory_full=True), NodeCondition(), NodeCondition(memory_full=True), None):
        memory.tick(leader)
        seen.append(memory.leader_full)
    assert seen == [True, False, True, False]
    assert not memory.full


def test_what_a_flush_left_is_freed_between_other_work():
    """A flush of 200,000 keys: many short turns, and the memory is measured as it becomes free."""
    clock, machine = Clock(), Machine()
    groups: Any = {0: SimpleNamespace(state=SimpleNamespace(machine=machine))}
    memory = DataMemory(groups, awake(groups), Background(clock))
    for number in range(200_000):
        machine.keyspace.put(b"%d" % number, b"value", 1)
    before = memory.measure()
    machine.apply(1, [Flush()])
    memory.tick(None)
    assert memory.bytes >= before
    turns = 0
    while machine.keyspace.garbage:
        clock.advance(PAUSE_SECONDS)
        memory.tick(None)  # does not begin it again
        turns += 1

    assert turns >= 2 * 200_000 / (TURN_STEPS * FREED_KEYS)
    assert memory.measure() == machine.keyspace.memory == 0
    clock.advance(1)


def test_a_step_that_fails_does_not_stop_the_others():
    clock, done = Clock(), []

    def failing() -> Iterator[None]:
        yield
        raise ValueError("broken")

    def working() -> Iterator[None]:
        yield
        yield
        done.append(True)

    background = Background(clock)
    background.add(failing())
    background.add(working())
    with pytest.raises(ValueError, match="broken"):
        clock.advance(PAUSE_SECONDS)
    clock.advance(1)
    assert done == [True]
