"""Transactions that are computed from what they read, where many want the same keys: everybody has a turn."""

from functools import partial

import pytest

from kraft.host.transactions import key_lock
from kraft.host.transactions.attempt import CommitAttempt
from kraft.kv import excerpt
from kraft.kv.commands import Delete, Exec, Put, Resolve, Watched
from kraft.node.errors import Locked, TooMuch
from tests.host.test_groups import Grouped

KEYS = {1: b"a", 2: b"b"}  # one of each group
OTHER = b"x"  # of group 0
CLIENTS = 12
ROUNDS = 4


class Increment:
    """A `Computation` that adds one to a key in each group."""

    size = 20
    final = True
    rows = ()

    def __init__(self, others=None):
        """`others` are parts of further groups, which need no computation."""
        self.keys = {group: [key] for group, key in KEYS.items()}
        self.computed = 0
        self._others = others or {}
        self._read = {}

    def found(self, group, view):
        key = KEYS[group]
        watched = Watched(key, view.keyspace.revision(key), view.revision)
        self._read[group] = int(view.keyspace.get(key) or 0), watched

    def parts(self):
        self.computed += 1
        return self._others | {
            group: Exec((), (Put(KEYS[group], b"%d" % (value + 1)),), (watched,))
            for group, (value, watched) in self._read.items()
        }


class Contended(Grouped):
    """Three groups on three nodes, and clients of all nodes that increment the same keys."""

    def __init__(self):
        super().__init__(groups=3, spares=0)
        self.outcomes = []
        self.computations = []
        self.waits = []

    def begin(self, node, rounds=1, others=None):
        computation = Increment(others)
        self.computations.append(computation)
        again = partial(self.begin, node, rounds - 1, others)
        done = partial(self._ended, self.world.now, again if rounds > 1 else None)
        self.host(node).transactions.compute(computation, 20, done)

    def begin_plain(self, node, rounds):
        """A transaction that need not be computed wants the key of a group, and one below it."""
        parts = {0: Exec((), (Delete((OTHER,)),)), 1: Exec((), (Put(KEYS[1], b"7"),))}
        again = partial(self.begin_plain, node, rounds - 1)
        done = partial(self._ended, self.world.now, again if rounds > 1 else None)
        self.host(node).transactions.execute(parts, 20, done)

    def _ended(self, begun, again, outcome):
        self.outcomes.append(outcome)
        self.waits.append(self.world.now - begun)
        if again is not None:
            again()

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


@pytest.mark.parametrize("other", [Exec((), (Delete((OTHER,)),)), Exec((Watched(OTHER, 0, 0),), ())])
def test_keys_that_need_no_computation_are_locked_first_as_well(cluster, other):
    """Else a lower group is locked later, by somebody who holds locks of higher ones: a deadlock."""
    for node in ("K1", "K2"):
        cluster.begin(node, ROUNDS * 2, {0: other})
    for node in ("K3", "K2"):
        cluster.begin_plain(node, ROUNDS * 2)
    assert cluster.run(20, lambda: len(cluster.outcomes) == ROUNDS * 8)
    assert all(isinstance(outcome, dict) for outcome in cluster.outcomes)
    assert max(cluster.waits) < 1.0
    assert cluster.run(5, cluster.settled)


def mistaken(*_):
    raise KeyError("planted")


@pytest.mark.parametrize("planted", [False, True])
def test_keys_that_hold_too_much_cost_their_client_alone(cluster, monkeypatch, planted):
    """Or a mistake of ours in what they hold: the locks go, and all others are answered."""
    if planted:
        monkeypatch.setattr(key_lock, "excerpt", mistaken)
    else:
        monkeypatch.setattr(excerpt, "EXCERPT_BYTES", 0)
    leader = cluster.leaders(1)[0]
    plain: list[object] = []
    cluster.begin("K1")
    assert cluster.run(5, lambda: bool(cluster.outcomes)), "there is a value now"
    for node in ("K1", "K2", "K3", leader):
        cluster.begin(node)
    for number in range(40):
        cluster.host(leader).write(1, [Put(b"%d" % number, b"")], 20, plain.append)
        cluster.run(0.002)
    assert cluster.run(20, lambda: len(cluster.outcomes) == 5 and len(plain) == 40)
    failed = [outcome for outcome in cluster.outcomes if not isinstance(outcome, dict)]
    assert failed
    assert {type(outcome) for outcome in failed} == {KeyError if planted else TooMuch}
    assert all(isinstance(outcome, list) for outcome in plain)
    assert [process.host.transactions.coordinator.open for process in cluster.processes()] == [0] * 3
    assert cluster.run(5, cluster.settled)


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
