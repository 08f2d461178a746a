"""What a node owes to clients that wait for a lock, in small clusters; where it fails, the checks find it."""

from typing import Any, cast

import pytest

from kraft.host.requests.lock_waits import LockWaits
from kraft.kv.commands import Lock, Unlock
from tests.host.trio import Trio
from tests.simulation.executed import executed
from tests.simulation.linearizability import INFINITY, Operation, linearizable
from tests.simulation.lock_waits import Wait, Waits
from tests.simulation.locks import ASKED, FREE, LOCK, NEVER_TAKEN, RELEASE, TAKE, fenced_list
from tests.simulation.logged import Asked, Logged
from tests.simulation.violation import Violation


class Line(Trio):
    """Clients that wait at the nodes of a small cluster."""

    def __init__(self):
        super().__init__()
        self.waits, self.got = Waits(), {}
        self.run(2.0)  # the versions in force are raised
        self.vigil.start()

    def come(self, id_, name, ttl_ms=10_000, seconds=30.0):
        wait = Wait(self.process(id_), 0, LOCK, b"(1.%d)" % name, ttl_ms, self.world.now)
        self.waits.began(self.world, wait, seconds, lambda outcome: self.got.update({name: outcome}))
        return wait

    def given(self, *names, within=10.0):
        return self.run(within, lambda: set(self.tokens()) >= set(names))

    def tokens(self):
        return {name: got[0][1] for name, got in self.got.items() if isinstance(got, list) and got[0][0]}

    def free(self, name):
        self.ask(self.leader, Unlock(LOCK, self.tokens()[name]))
        assert self.answered()
        self.answers.clear()


@pytest.fixture
def line():
    return Line()


def test_clients_of_a_node_get_it_in_their_order(line):
    for name in range(4):
        line.come(line.followers[0], name)
    for name in range(4):
        assert line.given(name)
        assert set(line.tokens()) == set(range(name + 1))
        line.free(name)


def test_a_change_of_the_leader_does_not_matter(line):
    """Its holder's command was answered by the old leader; those who wait are on another node."""
    follower, first = line.followers[0], line.leader
    for name in range(3):
        line.come(follower, name)
    assert line.given(0)
    line.nodes[first].crash()
    assert line.run(10, lambda: line.leaders() not in ([], [first]))
    line.free(0)
    assert line.given(1)
    line.free(1)
    assert line.given(2)


def test_the_next_one_gets_it_when_the_first_has_left(line):
    one, gone = line.come(line.leader, 1), line.come(line.leader, 2)
    line.come(line.leader, 3)
    assert line.given(1)
    line.waits.left(gone)
    line.free(1)
    assert line.given(3)
    assert (one.given, gone.given) == (True, False)


def test_one_that_leaves_while_its_node_asks_does_not_keep_it(line):
    gone = line.come(line.followers[0], 1, ttl_ms=600_000)
    line.waits.left(gone)
    line.come(line.followers[1], 2)
    assert line.given(2)


def test_one_that_has_left_and_is_given_the_lock_is_found(line, monkeypatch):
    monkeypatch.setattr(LockWaits, "_leave", lambda *_: None)
    gone = line.come(line.leader, 1)
    line.waits.left(gone)
    with pytest.raises(Violation, match="has left"):
        line.run(5.0)


def test_one_that_comes_later_and_is_first_is_found(line):
    line.come(line.leader, 1)
    assert line.given(1)
    line.come(line.leader, 2)
    line.come(line.leader, 3)
    line.group(line.leader).requests.lock_waits.queues[LOCK].waiters.rotate()
    line.free(1)
    with pytest.raises(Violation, match="who came first"):
        line.run(5.0)


def test_one_that_nobody_answers_is_found(line, monkeypatch):
    monkeypatch.setattr(LockWaits, "_late", lambda *_: None)
    line.come(line.leader, 1, ttl_ms=600_000)
    line.come(line.leader, 2, seconds=1.0)
    with pytest.raises(Violation, match="no answer"):
        line.run(30.0)


def test_one_whose_node_stood_still_may_be_answered_later(line):
    """The first one's command fails when the world goes on; the next one's takes as long as any other."""
    alone = line.leader
    line.isolate(alone)
    line.come(alone, 1, seconds=60.0)
    line.come(alone, 2, seconds=60.0)
    line.world.leap(3600.0)
    line.run(4.0)
    assert set(line.got) == {1}
    line.run(15.0)
    assert set(line.got) == {1, 2}


def test_one_that_a_slow_node_keeps_waiting_may_be_answered_later(line):
    """Its timers are late, also those that it made before it was fast again."""
    node = line.nodes[line.followers[0]]
    node.crash()
    node.wipe()
    node.stand_by()
    node.start()
    line.run(1.0)
    node.process.clock.slow = 20.0
    wait = line.come(node.id, 1, seconds=0.2)
    line.run(1.0)
    node.process.clock.slow = 1.0
    line.run(30.0)
    assert not wait.answered
    assert line.run(20.0, lambda: 1 in line.got)


def test_a_queue_that_waits_for_nothing_is_found(line, monkeypatch):
    line.come(line.leader, 1)
    line.come(line.leader, 2)
    assert line.given(1)
    monkeypatch.setattr(LockWaits, "_look", lambda *_: None)
    line.ask(line.leader, Unlock(LOCK, line.tokens()[1]))
    with pytest.raises(Violation, match="nothing will end that"):
        line.run(5.0)


def test_a_failure_is_for_one_client(line):
    """Two clients wait at a node that is cut off: the first one has asked, and is told that this failed."""
    holder, alone = line.leader, line.followers[0]
    line.come(holder, 0)
    assert line.given(0)
    line.free(0)
    line.isolate(alone)
    line.come(alone, 1)
    line.come(alone, 2, seconds=60.0)
    assert line.run(20, lambda: 1 in line.got)
    assert isinstance(line.got[1], Exception)
    line.network.heal()
    assert line.given(2, within=20.0)
    assert set(line.tokens()) == {0, 2}


# -- what the log says of them


def logged(index, owner=b"", token=0):
    return Logged(b"", (0, index), 10 * index, Asked(owner, token))


def test_the_log_shows_what_became_of_a_request():
    waits, nowhere = Waits(), cast(Any, None)
    given = Wait(nowhere, 0, LOCK, b"(1.1)", 100, 1.0, answered=2.0, given=True, reply=[1, 7, 120, 20])
    vain = Wait(nowhere, 0, LOCK, b"(1.2)", 100, 1.0, answered=2.0, in_vain=True)
    gone = Wait(nowhere, 0, LOCK, b"(1.3)", 100, 1.0, left=True)
    waits.requests = [given, vain, gone]
    entries = [
        logged(1, b"(1.1)"), logged(2, b"(1.1)"), logged(3, b"(1.2)"), logged(4, b"(1.3)"),
        logged(5, token=9),
    ]  # fmt: skip
    found = waits.operations(entries)
    assert [o.name for o in found] == [ASKED, TAKE, ASKED, TAKE, RELEASE]
    assert (found[1].result, found[1].returned) == ([1, 7, 120, 20], 2.0)
    assert found[3].unknown


def ask(number, name, argument, result=None, stamp=0):
    returned = INFINITY if result is None else number + 0.5
    return Operation(name, argument, number, returned, result, number=number, stamp=stamp)


TAKEN = ask(1, TAKE, (100, b"a"), [1, 7, 100, 0])
UNKNOWN = ask(1, TAKE, (100, b"(1.1)"))


@pytest.mark.parametrize(
    ("operations", "correct"),
    [
        ([TAKEN, ask(2, ASKED, None), ask(3, FREE, (7, 0), 1)], True),
        ([ask(1, ASKED, None), ask(2, FREE, (7, 0), 0)], False),
        ([UNKNOWN, ask(2, RELEASE, 7), ask(3, TAKE, (50, b"b"), [1, 9, 60, 10], 10)], True),
        ([UNKNOWN, ask(2, TAKE, (50, b"b"), [1, 9, 60, 10], 10)], False),
        ([TAKEN, ask(2, RELEASE, 5), ask(3, TAKE, (50, b"b"), [1, 9, 60, 10], 10)], False),
    ],
    ids=["in vain", "asked a free lock in vain", "freed", "kept", "freed by another"],
)  # fmt: skip
def test_what_is_explained(operations, correct):
    assert linearizable(operations, fenced_list, NEVER_TAKEN) is correct


def test_a_waiter_is_no_write_with_a_mark():
    """Its commands may be there many times."""
    trio = Line()
    trio.ask(trio.leader, Lock(LOCK, 60_000, b"holder"))
    assert trio.answered()
    trio.come(trio.leader, 1, seconds=0.5)
    trio.run(2.0)
    logged_ = executed(trio.checks.committed, trio.homes)[0]
    assert [entry.asked for entry in logged_] == [Asked(b"(1.1)")]
