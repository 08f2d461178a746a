"""Transactions that are computed from what they read, where many want the same keys: everybody has a turn."""

from functools import partial

import pytest

from kraft.host.transactions.attempt import CommitAttempt
from kraft.kv.commands import Exec, Put, Resolve, Watched
from kraft.node.errors import Locked
from tests.host.test_groups import Grouped

KEYS = {0: b"a", 1: b"b"}  # one of each group
CLIENTS = 12
ROUNDS = 4


class Increment:
    """A `Computation` that adds one to a key in each group."""

    size = 20

    def __init__(self):
        self.keys = {group: [key] for group, key in KEYS.items()}
        self.computed = 0
        self._read = {}

    def found(self, group, view):
        key = KEYS[group]
        watched = Watched(key, view.keyspace.revision(key), view.revision)
        self._read[group] = int(view.keyspace.get(key) or 0), watched

    def parts(self):
        self.computed += 1
        return {
            group: Exec((), (Put(KEYS[group], b"%d" % (value + 1)),), (watched,))
            for group, (value, watched) in self._read.items()
        }


class Contended(Grouped):
    """Two groups on three nodes, and clients of all nodes that increment the same keys."""

    def __init__(self):
        super().__init__(groups=2, spares=0)
        self.outcomes = []
        self.computations = []
        self.waits = []

    def begin(self, node, rounds=1):
        computation, begun = Increment(), self.world.now
        self.computations.append(computation)
        done = partial(self._ended, node, rounds, begun)
        self.host(node).transactions.compute(computation, 20, done)

    def _ended(self, node, rounds, begun, outcome):
        self.outcomes.append(outcome)
        self.waits.append(self.world.now - begun)
        if rounds > 1:
            self.begin(node, rounds - 1)

    def values(self):
        spaces = {g: self.host(self.leaders(g)[0]).groups[g].state.machine.keyspace for g in KEYS}
        return [int(spaces[group].get(key) or 0) for group, key in KEYS.items()]

    def settled(self):
        groups = [group for p in self.processes() for group in p.host.groups.values()]
        return not any(group.state.machine.keyspace.transactions.prepared for group in groups)


@pytest.fixture
def cluster():
    return Contended()


def test_everybody_has_a_turn_and_nobody_computes_for_ever(cluster):
    for number in range(CLIENTS):
        cluster.begin(f"K{number % 3 + 1}", ROUNDS)
    assert cluster.run(60, lambda: len(cluster.outcomes) == CLIENTS * ROUNDS)
    assert all(isinstance(outcome, dict) for outcome in cluster.outcomes)
    assert max(computation.computed for computation in cluster.computations) <= 2
    assert max(cluster.waits) < 1.5
    assert cluster.run(5, cluster.settled)
    assert cluster.values() == [CLIENTS * ROUNDS] * 2


def test_one_client_takes_no_locks_first(cluster):
    cluster.begin("K1", 5)
    assert cluster.run(10, lambda: len(cluster.outcomes) == 5)
    assert [computation.computed for computation in cluster.computations] == [1] * 5
    assert cluster.host("K1").transactions.coordinator.attempts == 5


def test_locks_that_were_lost_meanwhile_are_found_out(cluster, monkeypatch):
    """Recovery aborts the locks of a slow coordinator, and another client changes the key."""
    lost: list[int] = []
    write = CommitAttempt._write

    def slow(attempt, group, step, done, *, waits):
        if attempt._lock is not None and not lost:
            lost.append(group)
            for each in attempt._lock.groups:
                attempt._requests.write(each, [Resolve(attempt._lock.id, False)], 20, lambda _: None)
                attempt._requests.write(each, [Put(KEYS[each], b"100")], 20, lambda _: None)
            cluster.world.call_later(1, partial(write, attempt, group, step, done, waits=waits))
        else:
            write(attempt, group, step, done, waits=waits)

    monkeypatch.setattr(CommitAttempt, "_write", slow)
    cluster.begin("K1")
    cluster.begin("K2")
    assert cluster.run(20, lambda: len(cluster.outcomes) == 2)
    assert lost
    done = [outcome for outcome in cluster.outcomes if isinstance(outcome, dict)]
    assert all(isinstance(outcome, dict | Locked) for outcome in cluster.outcomes)
    assert cluster.run(5, cluster.settled)
    assert cluster.values() in ([100 + n] * 2 for n in range(len(done) + 1)), "no change is lost"


def test_a_coordinator_that_dies_with_its_locks_keeps_nobody_out(cluster):
    for _ in range(3):
        cluster.begin("K3")
        cluster.begin("K2")
    assert cluster.run(5, lambda: not cluster.settled())
    cluster.nodes["K3"].crash()
    cluster.begin("K1", 3)
    assert cluster.run(20, lambda: len(cluster.outcomes) >= 6)
    assert cluster.run(5, cluster.settled)
