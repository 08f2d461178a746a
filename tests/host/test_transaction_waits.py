"""Requests that wait for the keys of a transaction: who goes first, what is done once, what is answered."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kraft.host.requests import transaction_waits
from kraft.host.requests.lock_waits import NOT_GIVEN, LockWaits
from kraft.host.requests.transaction_waits import TransactionWaits
from kraft.host.slots import SlotMap
from kraft.kv.commands import AppendValue, Exec, Increment, Lock, Prepare, Put, Resolve, TransactionId
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.node.errors import NoLeader, TooManyWaiters
from tests.server.fake_host import FakeClock

SECONDS = 2.0
A, B = b"a", b"b"


class Leader:
    """The leader of a group; `sent` are the writes that the log has not yet."""

    def __init__(self):
        self.clock = FakeClock()
        self.machine = Machine()
        self.sent, self.done = [], []
        state: Any = SimpleNamespace(machine=self.machine, fenced=False)
        self.raft = raft = cast("Any", SimpleNamespace(state=SimpleNamespace(leads=True)))
        self.route = route = cast("Any", SimpleNamespace(target=""))
        self.to_wait = []
        this: Any = self
        self.slots = SlotMap()
        self.waits = TransactionWaits(0, raft, state, this, this, route, self.slots, self.clock, SECONDS)
        self.locks = LockWaits(state, self.waits, self.clock)

    def write(self, commands, size, done):
        self.sent.append((commands, done))

    def forward_to_wait(self, leader, commands, size, done):
        self.to_wait.append((commands, done))

    def ask(self, *commands):
        self.waits.write(commands, 20, self.done.append)

    def apply(self, *commands):
        return self.machine.apply(self.clock.wall_ms(), commands)

    def turn(self):
        """The log takes what was sent."""
        while self.sent:
            sent, self.sent = self.sent, []
            for commands, done in sent:
                done(self.apply(*commands))
            self.look()

    def look(self):
        self.waits.look()
        self.locks.applied()

    def prepare(self, number=1, *keys):
        id_ = TransactionId(b"s", number, self.clock.wall_ms())
        return Prepare(id_, 1, 1, Exec((), tuple(Put(key, b"t") for key in keys or (A,))))

    def hold(self, *keys):
        """A transaction holds keys. Returns the step that lets them go."""
        step = self.prepare(1, *keys)
        self.apply(step)
        return Resolve(step.id, commit=False)


@pytest.fixture
def leader():
    return Leader()


def both(value):
    return Exec((), (AppendValue(A, value), AppendValue(B, value)))


def test_a_write_goes_through_the_log_when_its_key_is_free_again(leader):
    free = leader.hold()
    leader.ask(Put(A, b"x"))
    leader.look()
    assert leader.sent == []
    leader.apply(free)
    leader.look()
    leader.turn()
    assert leader.done == [["OK"]]


def test_who_comes_later_does_not_overtake_who_waits_for_another_key_as_well(leader):
    free = leader.hold(A)
    leader.ask(both(b"1"))
    leader.ask(AppendValue(B, b"2"))
    leader.look()
    assert leader.sent == [], "b is free, but who wants a and b came first"
    leader.apply(free)
    leader.look()
    leader.turn()
    assert leader.machine.keyspace.get(B) == b"12"


def test_a_prepare_on_its_way_keeps_those_after_it_back(leader):
    free = leader.hold(A)
    leader.ask(leader.prepare(2))
    leader.ask(Put(A, b"x"))
    leader.apply(free)
    leader.look()
    assert [type(commands[0]) for commands, _ in leader.sent] == [Prepare]
    leader.turn()
    assert len(leader.done) == 1


def test_what_was_done_before_a_lock_is_not_done_again(leader):
    leader.ask(Increment(b"n", 1), Put(A, b"x"))
    free = leader.hold(A)
    leader.turn()
    assert leader.done == []
    leader.apply(free)
    leader.look()
    leader.turn()
    assert leader.done == [[1, "OK"]]
    assert leader.machine.keyspace.get(b"n") == b"1"


def test_who_waits_too_long_gets_the_replies_to_what_was_done(leader):
    leader.ask(Increment(b"n", 1), Put(A, b"x"))
    leader.hold(A)
    leader.turn()
    leader.clock.advance(SECONDS)
    leader.look()
    assert leader.done == [[1, CommandFailure.LOCKED]]


def test_a_refusal_after_a_part_was_done_is_one_of_the_rest(leader):
    leader.ask(Increment(b"n", 1), Put(A, b"x"))
    free = leader.hold(A)
    leader.turn()
    leader.apply(free)
    leader.look()
    [(_, done)] = leader.sent
    done(NoLeader(0))
    assert leader.done == [[1, CommandFailure.LOCKED]]


def test_steps_that_meet_no_lock_are_not_refused_at_another_node(leader, monkeypatch):
    """However many are under way; one that does meet a lock then is one too many."""
    monkeypatch.setattr(transaction_waits, "WAITERS_MAX", 2)
    leader.machine.version = Prepare.since
    leader.raft.state.leads, leader.route.target = False, "K2"
    for number in (1, 2, 3):
        leader.ask(leader.prepare(number, b"%d" % number))
    leader.clock.advance(0)
    assert leader.done == []
    assert (len(leader.to_wait), len(leader.sent)) == (2, 1)
    leader.hold(b"3")
    leader.turn()
    leader.clock.advance(0)
    assert [type(outcome) for outcome in leader.done] == [TooManyWaiters]
    for commands, done in leader.to_wait:
        done(leader.apply(*commands))
    leader.ask(leader.prepare(4, b"3"))
    assert len(leader.done) == 3
    assert len(leader.to_wait) == 3, "those that are over count no more"


# -- clients that wait for a KRAFT LOCK whose key a transaction holds


def wait(leader, seconds):
    leader.locks.wait(Lock(A, 10_000), seconds, leader.done.append)


def test_a_client_gets_its_lock_after_the_transaction(leader):
    free = leader.hold()
    wait(leader, 60.0)
    leader.look()
    leader.apply(free)
    leader.look()
    leader.turn()
    [[reply]] = leader.done
    assert reply[0] == 1


def test_a_client_waits_as_long_as_it_said_however_long_a_transaction_does(leader):
    """Waiting for a transaction has a limit of its own, of which this client must not hear."""
    free = leader.hold()
    wait(leader, 60.0)
    for _ in range(30):
        leader.look()
        leader.clock.advance(1.0)
    assert leader.done == []
    leader.apply(free)
    leader.look()
    leader.turn()
    [[reply]] = leader.done
    assert reply[0] == 1


def test_a_client_whose_time_is_over_has_not_got_the_lock(leader):
    leader.hold()
    wait(leader, 5.0)
    for _ in range(10):
        leader.look()
        leader.clock.advance(1.0)
    assert leader.done == [NOT_GIVEN]
    assert leader.locks.count == 0
