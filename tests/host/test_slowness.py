"""When a node counts as slow, and what its group does then, on hosts of the simulator."""

from typing import Any, cast

import pytest

from kraft.host.slowness import HOLD_TIMEOUTS, LEAVE_TIMEOUTS, WRITE_TIMEOUTS, Slowness
from kraft.kv.commands import Put
from tests.host.trio import Trio

TIMEOUT = 0.5
TICK = 0.025
HANGS = 12.0


class Persistence:
    """One write at a time."""

    def __init__(self):
        self.under_way: object = None
        self.full = False


class Node:
    """Its slowness, and the events that it reports."""

    def __init__(self):
        self.now = 100.0
        self.persistence = Persistence()
        self.events: list[str] = []
        self.slowness = Slowness(cast(Any, self.persistence), cast(Any, self), TIMEOUT)

    def event(self, name: str, **fields: object) -> None:
        self.events.append(f"{name} {fields['cause']}")

    def ticks(self, count: int, seconds: float = TICK) -> None:
        for _ in range(count):
            self.now += seconds
            self.slowness.tick(self.now)


@pytest.fixture
def node():
    return Node()


def test_a_write_that_the_disk_does_not_finish_is_seen_while_it_is_under_way(node):
    node.persistence.under_way = object()
    node.ticks(40)
    assert not node.slowness.slow
    node.ticks(1)
    assert node.slowness.disk
    assert node.slowness.write_seconds == pytest.approx(WRITE_TIMEOUTS * TIMEOUT)
    assert node.events == ["node_slow disk"]


def test_ticks_that_were_left_out_on_purpose_are_no_sign_of_slowness(node):
    node.ticks(1)
    for _ in range(40):
        node.slowness.skip(TIMEOUT)
        node.ticks(1, TIMEOUT + TICK)
    assert not node.slowness.loop
    for _ in range(40):
        node.slowness.skip(TIMEOUT)
        node.ticks(1, 2 * TIMEOUT)
    assert node.slowness.loop


def test_a_slow_node_keeps_leadership_for_an_election_timeout(node):
    """By then the others have said whether they are slow too."""
    node.persistence.under_way = object()
    node.ticks(41)
    assert (node.slowness.slow, node.slowness.leaves) == (True, False)
    node.ticks(round(LEAVE_TIMEOUTS * TIMEOUT / TICK) - 2)
    assert not node.slowness.leaves
    node.ticks(1)
    assert node.slowness.leaves
    node.persistence.under_way = None
    node.ticks(round(HOLD_TIMEOUTS * TIMEOUT / TICK) + 1)
    assert not node.slowness.leaves


def test_many_short_writes_are_not_one_long_one(node):
    for _ in range(10):
        node.persistence.under_way = object()
        node.ticks(39)
    assert not node.slowness.slow
    node.persistence.under_way = None
    node.ticks(1)
    assert node.slowness.write_seconds == 0.0


def test_a_node_that_was_slow_counts_as_slow_for_a_while(node):
    node.persistence.under_way = object()
    node.ticks(41)
    node.persistence.under_way = None
    node.ticks(round(HOLD_TIMEOUTS * TIMEOUT / TICK) - 1)
    assert node.slowness.disk
    node.ticks(2)
    assert not node.slowness.slow
    assert node.events == ["node_slow disk", "node_recovered disk"]


def test_a_write_that_waits_for_space_is_not_slow(node):
    """A full disk has an event and a status of its own."""
    node.persistence.under_way = object()
    node.persistence.full = True
    node.ticks(100)
    assert not node.slowness.slow


def test_an_event_loop_that_is_blocked_again_and_again_is_slow(node):
    """Between two blocks it may well run a few ticks on time."""
    node.ticks(1)
    for _ in range(8):
        node.ticks(1, 0.3)
        node.ticks(2)
    assert not node.slowness.slow
    node.ticks(1, 0.3)
    assert (node.slowness.loop, node.slowness.disk) == (True, False)
    assert node.events == ["node_slow event_loop"]


@pytest.mark.parametrize(("count", "seconds", "between"), [(4, 60.0, 8), (100, 0.2, 0), (100, 0.3, 15)])
def test_a_few_pauses_or_a_busy_loop_are_not_slow(node, count, seconds, between):
    """Also blocks of 300 ms with as much time between them."""
    for _ in range(count):
        node.ticks(1, seconds)
        node.ticks(between)
        assert not node.slowness.slow


# -- a group


def slow_disks(trio, *ids, factor=2000.0):
    """From now on each log write of these nodes takes up to six seconds."""
    for id_ in ids:
        trio.process(id_).disk.slow = factor


def write(trio, id_, within=8.0):
    trio.answers.clear()
    trio.ask(id_, Put(b"k", b"v"))
    return trio.answered(within=within) and trio.answers == [["OK"]]


def test_a_leader_with_a_slow_disk_hands_leadership_over_and_stays_away():
    trio = Trio()
    slow, fast = trio.leader, trio.followers
    trio.process(slow).disk.slow = 1e9  # it hangs
    trio.ask(slow, Put(b"k", b"v"))
    assert trio.run(4.0, lambda: trio.leaders() not in ([], [slow]))
    assert trio.leader in fast
    assert trio.host(slow).status().disk_slow
    assert trio.host(slow).status().log_write_seconds > 1.0
    assert write(trio, fast[0], within=2.0)
    trio.nodes[trio.leader].crash()
    trio.run(3.0)
    assert slow not in trio.leaders()  # though no other node can be elected now: its vote hangs as well


def test_leadership_does_not_swing_while_a_disk_is_slow():
    trio = Trio()
    slow = trio.leader
    slow_disks(trio, slow)
    trio.ask(slow, Put(b"k", b"v"))
    assert trio.run(8.0, lambda: trio.leaders() not in ([], [slow]))
    before = trio.world.counts["leader elected"]
    for _ in range(20):
        assert write(trio, trio.leader)
        trio.run(1.0)
    assert trio.world.counts["leader elected"] == before


def test_a_follower_with_a_slow_disk_is_not_the_successor():
    trio = Trio()
    slow, fast = trio.followers
    slow_disks(trio, slow)
    for _ in range(3):
        assert write(trio, trio.leader)
        trio.run(1.5)
    assert trio.host(slow).status().disk_slow
    trio.host(trio.leader).transfers.begin(trio.group(trio.leader), "", trio.answers.append)
    assert trio.run(4.0, lambda: trio.leaders() == [fast])


def test_where_all_disks_are_slow_nobody_moves():
    trio = Trio()
    leader = trio.leader
    slow_disks(trio, *trio.nodes)
    before = trio.world.counts["leader elected"]
    for _ in range(3):
        write(trio, leader)
    assert all(trio.host(id_).status().disk_slow for id_ in trio.nodes)
    assert trio.leaders() == [leader]
    assert trio.world.counts["leader elected"] == before


def test_disks_that_hang_together_move_nobody():
    """The leader begins each write first, and is the first to be slow."""
    trio = Trio()
    leader = trio.leader
    for id_ in trio.nodes:
        trio.process(id_).disk.hangs = True
    trio.ask(leader, Put(b"k", b"v"))
    assert not trio.run(5.0, lambda: trio.group(leader).raft.state.transferring)
    assert all(trio.host(id_).status().disk_slow for id_ in trio.nodes)
    for id_ in trio.nodes:
        trio.process(id_).disk.hangs = False
    assert trio.answered(within=1.0)
    assert trio.leaders() == [leader]


def test_where_all_disks_are_slow_a_leader_is_elected_in_the_end():
    """A write takes up to twelve election timeouts."""
    trio = Trio()
    first = trio.leader
    slow_disks(trio, *trio.nodes)
    write(trio, first)
    trio.nodes[first].crash()
    assert trio.run(60.0, lambda: trio.leaders() not in ([], [first]) and trio.committed())
    state = trio.group(trio.leader).raft.state
    trio.ask(trio.leader, Put(b"k", b"v"))
    assert trio.run(20.0, lambda: state.commit == state.log.last_index > state.noop_index)


def test_a_slow_leader_stays_where_the_others_cannot_elect_without_it():
    """Of two voters both are needed: an election would wait for the slow disk, and each write does anyway."""
    pair = Trio(nodes=2)
    leader = pair.leader
    slow_disks(pair, leader)
    for _ in range(3):
        write(pair, leader)
    assert pair.host(leader).status().disk_slow
    assert pair.leaders() == [leader]


def test_a_leader_that_can_do_without_a_slow_follower_stays():
    trio = Trio()
    leader = trio.leader
    slow_disks(trio, trio.followers[0])
    for _ in range(5):
        assert write(trio, leader, within=0.5)
        trio.run(1.0)
    assert trio.leaders() == [leader]


def test_slow_checkpoints_alone_move_nobody():
    """State files are written by a thread of their own: the log does not wait for them."""
    trio = Trio()
    leader = trio.leader
    trio.process(leader).disk.slow_state = 1e6
    for _ in range(60):
        assert write(trio, leader, within=0.5)
        trio.run(0.1)
    assert trio.group(leader).checkpoints.busy
    assert trio.leaders() == [leader]
    assert not trio.host(leader).status().disk_slow


def test_a_leader_with_a_starved_event_loop_hands_leadership_over():
    trio = Trio()
    starved = trio.leader
    trio.process(starved).clock.slow = 12.0  # each tick comes after 300 ms
    assert trio.run(10.0, lambda: trio.leaders() not in ([], [starved]))
    assert trio.run(10.0, lambda: trio.host(starved).status().loop_slow)
    trio.run(5.0)
    assert starved not in trio.leaders()


def test_a_slow_node_leads_where_nobody_else_can():
    """It campaigns after the others, but it does campaign."""
    trio = Trio()
    slow, other = trio.followers
    trio.group(slow).raft.mark_slow(True)
    trio.host(slow)._context.slowness._disk.observe(True, trio.process(slow).clock.seconds())
    trio.nodes[trio.leader].crash()
    trio.group(other).drain(True)
    assert trio.run(10.0, lambda: trio.leaders() == [slow])
