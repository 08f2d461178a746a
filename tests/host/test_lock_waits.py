"""Clients that wait for a lock: who asks, when, and what becomes of one that leaves.

`leader` is the state machine that the writes reach, `here` the replica of this node, which may be late.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from kraft.host.requests.lock_waits import NOT_GIVEN, WAITERS_MAX, LockWaits
from kraft.kv.commands import Delete, Extend, Lock, Put, Unlock
from kraft.kv.machine import Machine
from kraft.node.errors import NoLeader, Stopping, TooManyWaiters

STAMP = 1_700_000_000_000
FOREVER = 1000.0


class Node:
    """A replica with its clients; `asked` are the writes that wait for `turn`."""

    def __init__(self):
        self.soon, self.asked, self.entries, self.logged = [], [], [], 0
        clock: Any = Clock()
        clock.call_later, clock.call_soon = clock.callLater, self.call_soon
        self.clock: Any = clock
        self.leader, self.here = Machine(), Machine()
        state: Any = SimpleNamespace(machine=self.here, fenced=False)
        writes: Any = self
        self.waits = LockWaits(state, writes, self.clock)
        self.got = {}

    def call_soon(self, call):
        self.soon.append(call)

    def write(self, commands, size, done):
        assert size > 0
        self.asked.append((commands, done))

    def client(self, name, key=b"l", seconds=FOREVER, ttl=10_000):
        return self.waits.wait(Lock(key, ttl), seconds, lambda outcome: self.got.update({name: outcome}))

    def commit(self, *commands):
        stamp = STAMP + round(self.clock.seconds() * 1000)
        self.entries.append((stamp, commands))
        self.logged += 1
        return self.leader.apply(stamp, commands)

    def turn(self, applied=True):
        """The leader answers what was asked; this replica applies everything, unless it is late."""
        while self.asked:
            asked, self.asked = self.asked, []
            for commands, done in asked:
                done(self.commit(*commands))
            if applied:
                self.apply()

    def apply(self):
        for stamp, commands in self.entries:
            self.here.apply(stamp, commands)
        self.entries = []
        self.waits.applied()

    def tokens(self):
        return {name: outcome[0][1] if outcome[0][0] else None for name, outcome in self.got.items()}


@pytest.fixture
def node():
    return Node()


def test_a_free_lock_is_given_at_once(node):
    node.client("a")
    node.turn()
    assert node.tokens() == {"a": 1}
    assert not node.waits.queues
    assert not node.clock.getDelayedCalls()


def test_clients_get_it_in_the_order_of_their_arrival(node):
    for name in "abc":
        node.client(name)
    node.turn()
    assert node.tokens() == {"a": 1}
    for token, expected in ((1, {"a": 1, "b": 3}), (3, {"a": 1, "b": 3, "c": 5})):
        node.commit(Unlock(b"l", token))
        node.apply()
        node.turn()
        assert node.tokens() == expected


def test_those_who_wait_are_counted(node):
    for name in "abc":
        node.client(name)
    node.turn()
    assert node.waits.count == 2
    node.commit(Unlock(b"l", 1))
    node.apply()
    node.turn()
    assert node.waits.count == 1


def test_waiting_costs_the_log_nothing(node):
    for name in "abcd":
        node.client(name)
    node.turn()
    logged = node.logged
    for _ in range(100):
        node.commit(Put(b"other", b"x"))
        node.apply()
        node.clock.advance(0.01)
    assert node.logged == logged + 100
    assert not node.asked


def test_the_first_one_asks_when_the_lock_expires_without_any_other_entry(node):
    node.client("a", ttl=500)
    node.client("b")
    node.turn()
    node.clock.advance(0.499)
    assert not node.asked
    node.clock.advance(0.002)
    node.turn()
    assert node.tokens() == {"a": 1, "b": 2}


def test_an_extended_lock_is_asked_for_at_its_new_end(node):
    node.client("a", ttl=500)
    node.client("b")
    node.turn()
    node.commit(Extend(b"l", 1, 2000))
    node.apply()
    node.clock.advance(1.9)
    assert not node.asked
    node.clock.advance(0.2)
    node.turn()
    assert node.tokens()["b"] == 2


def test_slow_log_time_is_asked_a_few_times_only(node):
    node.commit(Lock(b"l", 100))
    node.client("a")
    node.turn()
    logged = node.logged
    real = node.clock.seconds
    node.clock.seconds = lambda: real() / 2  # log time at half speed
    for _ in range(300):
        node.clock.advance(0.001)
        node.turn()
    assert node.tokens() == {"a": 2}
    assert node.logged - logged <= 10


def test_a_late_replica_does_not_ask_before_it_has_applied_the_lock(node):
    node.commit(Lock(b"l", 10_000))
    node.client("a")
    node.turn(applied=False)
    node.waits.applied()
    assert not node.asked, "the key is missing here only because the replica is late"
    node.apply()
    assert not node.asked
    node.commit(Delete((b"l",)))
    node.apply()
    node.turn()
    assert node.tokens() == {"a": 3}


def test_a_lock_that_was_freed_before_the_answer_came_is_asked_for_again(node):
    node.commit(Lock(b"l", 10_000))
    node.apply()
    node.client("a")
    (commands, done), node.asked = node.asked[0], []
    replies = node.commit(*commands)
    node.commit(Unlock(b"l", 1))
    node.apply()
    done(replies)
    node.turn()
    assert node.tokens() == {"a": 3}


def test_a_client_whose_time_is_over_gets_nothing_and_gives_up_its_place(node):
    node.commit(Lock(b"l", 60_000))
    node.client("a", seconds=1.0)
    node.client("b")
    node.turn()
    node.clock.advance(1.0)
    assert node.got == {"a": NOT_GIVEN}
    node.commit(Unlock(b"l", 1))
    node.apply()
    node.turn()
    assert node.tokens() == {"a": None, "b": 3}


def test_a_client_whose_time_ends_while_it_asks_gets_the_outcome(node):
    node.client("a", seconds=1.0)
    node.clock.advance(1.0)
    assert node.got == {}
    node.turn()
    assert node.tokens() == {"a": 1}


def test_a_client_that_leaves_gives_up_its_place(node):
    node.commit(Lock(b"l", 60_000))
    leave = node.client("a")
    node.client("b")
    node.turn()
    leave()
    leave()
    node.commit(Unlock(b"l", 1))
    node.apply()
    node.turn()
    assert node.tokens() == {"a": None, "b": 3}


def test_a_lock_that_comes_after_its_client_left_is_freed(node):
    leave = node.client("a")
    leave()
    node.turn()
    assert node.tokens() == {"a": None}
    assert b"l" not in node.leader.keyspace
    assert not node.waits.queues
    assert not node.clock.getDelayedCalls()


def test_the_next_one_gets_the_lock_that_came_after_its_client_left(node):
    leave = node.client("a")
    node.client("b")
    leave()
    node.turn()
    assert node.tokens() == {"a": None, "b": 3}


def test_a_failure_is_the_answer_and_the_next_one_asks(node):
    node.client("a")
    node.client("b")
    _, done = node.asked.pop()
    done(NoLeader(0))
    assert isinstance(node.got.pop("a"), NoLeader)
    node.turn()
    assert node.tokens() == {"b": 1}


def test_there_is_a_bound(node):
    node.commit(Lock(b"l", 60_000))
    for number in range(WAITERS_MAX):
        node.client(number)
    node.client("too many")
    node.soon.pop()()
    assert isinstance(node.got.pop("too many"), TooManyWaiters)
    assert node.got == {}


def test_a_node_that_stops_lets_nobody_wait(node):
    node.commit(Lock(b"l", 60_000))
    node.client("waits")
    node.turn()
    node.client("asks", key=b"m")
    node.commit(Lock(b"n", 60_000))
    node.client("asks in vain", key=b"n")
    node.waits.refuse()
    node.client("late")
    node.soon.pop()()

    assert isinstance(node.got.pop("waits"), Stopping)
    assert isinstance(node.got.pop("late"), Stopping)
    node.turn()
    assert isinstance(node.got.pop("asks in vain"), Stopping)
    assert node.tokens() == {"asks": 3}
    assert not node.waits.queues
    assert not node.clock.getDelayedCalls()
