"""What clients notice of slots that move, with real hosts: whom they wait for, and what waits for them."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.moves import sweeper
from kraft.host.moves.move_source import PAUSE_SECONDS_MAX
from kraft.kv.commands import Freeze, Import, Increment, Put, Release, Sweep, Unfreeze
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import MoveState, SlotState
from tests.host.test_mover import SLOT, A, Movable

KEYS = 40


@pytest.fixture
def cluster():
    return Movable()


def stepped(cluster, seen):
    """Show `seen` each step of a move with what sends it, which it may do or leave."""
    for process in cluster.processes():
        moves = process.host.moves
        write = moves._requests.write

        def shown(group, commands, size, done, *, write=write):
            seen(commands[0], lambda done: write(group, commands, size, done), done)

        moves._requests = SimpleNamespace(write=shown)


def fill(cluster, count=KEYS, size=10_000):
    """Write keys of the slot that moves, and as many of another one of its group."""
    for number in range(count):
        cluster.write(1, Put(b"{a}%d" % number, b"v" * size), Put(b"{b}%d" % number, b""))


def test_the_receiver_serves_clients_before_the_source_has_let_go(cluster, monkeypatch):
    held = []

    def seen(step, send, done):
        if isinstance(step, Release):
            held.append(lambda: send(done))
        else:
            send(done)

    stepped(cluster, seen)
    cluster.write(1, Put(A, b"1"))
    leader = cluster.leads(1)
    slots = cluster.host(leader).slots
    follow = slots.follow

    def late(group, space):
        table = space.slots
        if table is None or all(move.state != MoveState.ACTIVE for move in table.moves.values()):
            follow(group, space)

    monkeypatch.setattr(slots, "follow", late)
    cluster.move()
    assert cluster.run(5, lambda: bool(held))
    assert cluster.run(1, lambda: all(p.host.slots.group_of(SLOT) == 0 for p in cluster.processes()))
    space = cluster.host(leader).groups[1].state.machine.keyspace
    assert space.slots.state(A) == SlotState.FROZEN
    begun = cluster.world.now
    for node in ("K1", "K2", "K3"):
        assert cluster.write(1, Increment(A, 1), node=node) == [CommandFailure.NOT_OWNER]
    assert cluster.write(0, Increment(A, 1)) == [2]
    assert cluster.world.now - begun < 1
    assert cluster.world.counts["slots frozen"] == 1
    assert cluster.host(leader).moves.frozen_seconds(1) == 0
    held[0]()
    assert cluster.run(10, cluster.over)
    assert cluster.world.counts["slots frozen"] == 1


def test_a_step_for_which_clients_wait_follows_the_batch_before_it_at_once(cluster):
    requests = cluster.host(cluster.leads(1)).groups[1].requests
    term = cluster.host(cluster.leads(1)).groups[1].raft.state.term
    for _ in range(2):
        requests.writes.write([Put(A, b"v")], 10, cluster.answers.append)
        cluster.run(0)
    assert (requests.proposals.in_flight(term), len(requests.proposals.waiting)) == (1, 1)
    requests.writes.write_soon([Unfreeze(1, SLOT, SLOT)], 10, cluster.answers.append)
    cluster.run(0)
    assert (requests.proposals.in_flight(term), len(requests.proposals.waiting)) == (2, 0)
    requests.writes.write([Put(A, b"v")], 10, cluster.answers.append)
    cluster.run(0)
    assert len(requests.proposals.waiting) == 1, "what comes next is not urgent"
    assert cluster.answered(4)


def test_a_step_for_which_clients_wait_overtakes_what_its_node_forwards(cluster):
    leader, order = cluster.leads(1), []
    node = next(p.id for p in cluster.processes() if p.id != leader)
    writes = cluster.host(node).groups[1].requests.writes
    for name in ("first", "second"):
        writes.write([Put(A, b"v")], 10, lambda _, name=name: order.append(name))
        cluster.run(0)
    cluster.host(node).moves._requests.write(1, [Unfreeze(1, SLOT, SLOT)], 10, lambda _: order.append("step"))
    assert cluster.run(5, lambda: len(order) == 3)
    assert order.index("step") < order.index("second")


def test_what_is_copied_and_swept_leaves_half_of_the_time_to_others(cluster, monkeypatch):
    monkeypatch.setattr(sweeper, "SWEPT_KEYS", 10)
    frozen: list[Freeze] = []
    spans: dict[Any, list[tuple[float, float]]] = {Import: [], Sweep: []}

    def seen(step, send, done):
        frozen.extend([step] if isinstance(step, Freeze) else ())
        if type(step) not in spans or (frozen and type(step) is Import):
            send(done)
            return
        begun = cluster.world.now

        def timed(outcome):
            spans[type(step)].append((begun, cluster.world.now))
            done(outcome)

        send(timed)

    stepped(cluster, seen)
    fill(cluster)  # more than may be left when the slot is frozen
    cluster.move()
    assert cluster.run(60, cluster.over)
    for found in spans.values():
        assert len(found) > 3
        for (begun, ended), (following, _) in pairwise(found):
            assert following - ended >= min(ended - begun, PAUSE_SECONDS_MAX) - 1e-9 > 0
