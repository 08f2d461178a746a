"""Transactions over the groups of real hosts: waiting for locks, recovery, and reads at one moment."""

import pytest

from kraft.kv.commands import Exec, Increment, Look, Prepare, Put, TransactionId
from kraft.kv.replies import CommandFailure
from kraft.node.errors import Locked
from tests.host.trio import Trio

A, B = b"b", b"a"  # keys of the groups 0 and 1
PATIENCE = 1.0


class Groups(Trio):
    """Three nodes with two groups; transactions are in force."""

    def __init__(self):
        super().__init__(groups=2)
        assert self.run(20, lambda: all(p.host.leader(1) for p in self.processes()) and self.in_force())

    def in_force(self):
        groups = [group for p in self.processes() for group in p.host.groups.values()]
        return all(group.state.machine.version >= Prepare.since for group in groups)

    def execute(self, id_, parts, answers=None):
        answers = self.answers if answers is None else answers
        self.host(id_).transactions.execute(parts, 20, answers.append)

    def cut(self, id_):
        parts = {0: Exec((), (Look((A,)),)), 1: Exec((), (Look((B,)),))}
        self.host(id_).transactions.cut(parts, 20, self.answers.append, fresh=False)

    def leads(self, group):
        [id_] = [p.id for p in self.processes() if p.host.groups[group].raft.state.leads]
        return id_

    def open(self):
        groups = [group for p in self.processes() for group in p.host.groups.values()]
        indexes = [group.state.machine.keyspace.transactions for group in groups]
        return [index for index in indexes if index.prepared or index.decisions]

    def lose_home(self):
        """Group 1 has no leader any more, and gets none."""
        for process in self.processes():
            process.host.groups[1].drain(True)
        self.host(self.leads(1)).groups[1].raft.suspend()

    def holder(self, session=b"dead", key=A):
        """A transaction prepared in group 0, of a coordinator that is gone."""
        id_ = TransactionId(session, 1, self.host("K1").transactions.log_time())
        step = Prepare(id_, 1, 1, Exec((), (Put(key, b"locked"),)))
        done: list[object] = []
        self.host(self.leads(0)).transactions.write(0, [step], 20, done.append)
        assert self.run(5, lambda: bool(done))


def both(number=1):
    return {0: Exec((), (Increment(A, number),)), 1: Exec((), (Increment(B, number),))}


@pytest.fixture
def groups():
    return Groups()


def values(groups, id_):
    answers: list[dict[int, list[object]]] = []
    parts = {0: Exec((), (Look((A,)),)), 1: Exec((), (Look((B,)),))}
    groups.host(id_).transactions.cut(parts, 20, answers.append, fresh=False)
    assert groups.run(10, lambda: bool(answers))
    [found] = answers
    return [shown(found[group]) for group in (0, 1)]


def shown(reply):
    """The value that the reply of a group shows, None if the key is missing."""
    _, records, _ = reply
    return records[0][0] if records else None


@pytest.mark.parametrize("name", ["K1", "K2", "K3"])
def test_every_node_coordinates(groups, name):
    groups.execute(name, both())
    assert groups.answered()
    [outcome] = groups.answers
    assert {group: reply[2] for group, reply in outcome.items()} == {0: [1], 1: [1]}
    assert groups.run(5, lambda: not groups.open())
    assert values(groups, name) == [b"1", b"1"]


def test_transactions_on_the_same_keys_take_their_turns(groups):
    for _ in range(5):
        for name in ("K1", "K2", "K3"):
            groups.execute(name, both())
    assert groups.answered(15)
    assert sorted(outcome[0][2][0] for outcome in groups.answers) == list(range(1, 16))
    assert sorted(outcome[1][2][0] for outcome in groups.answers) == list(range(1, 16))
    assert groups.run(5, lambda: not groups.open())


def test_writes_and_reads_of_a_locked_key_wait(groups):
    groups.holder()
    looked: list[object] = []
    groups.host("K2").write(0, [Put(A, b"later")], 20, groups.answers.append)
    groups.host("K3").read_keys(0, lambda: [A], lambda view: looked.append(view.keyspace.get(A)))
    other: list[object] = []
    groups.host("K1").write(0, [Put(b"other", b"1")], 20, other.append)
    assert groups.run(0.5, lambda: bool(other))
    assert other == [["OK"]]
    assert groups.answers == []
    assert looked == []
    assert groups.answered(within=PATIENCE + 3)
    assert groups.run(5, lambda: bool(looked))
    assert groups.answers == [["OK"]]
    assert looked[0] in (None, b"later")


def test_what_a_dead_coordinator_left_is_aborted_after_the_patience(groups):
    groups.holder()
    assert groups.open()
    assert groups.run(PATIENCE + 1, lambda: not groups.open())
    groups.look("K1", A)
    assert groups.answered()
    assert groups.answers == [None]


def test_a_home_without_a_majority_keeps_the_locks_and_requests_are_refused(groups):
    groups.holder()
    groups.lose_home()
    groups.host(groups.leads(0)).write(0, [Put(A, b"x")], 20, groups.answers.append)
    assert groups.answered(within=10)
    assert groups.answers == [[CommandFailure.LOCKED]]
    assert groups.open()


def test_a_read_that_waits_too_long_is_refused(groups):
    groups.holder()
    groups.lose_home()
    groups.host(groups.leads(0)).read_keys(0, lambda: [A], groups.answers.append)
    assert groups.answered(within=10)
    assert isinstance(groups.answers[0], Locked)


def test_no_cut_shows_half_of_a_transaction(groups):
    """Reads of all nodes while transactions of all nodes change both keys."""
    done: list[object] = []
    for _ in range(10):
        for name in ("K1", "K2", "K3"):
            groups.execute(name, both(), done)
            groups.cut(name)
    assert groups.answered(30, within=60)
    assert groups.run(30, lambda: len(done) == 30)
    seen = [[shown(cut[group]) for group in (0, 1)] for cut in groups.answers]
    assert all(a == b for a, b in seen), seen


def test_the_status_tells_what_is_not_over(groups):
    groups.holder()
    [found] = groups.host(groups.leads(0)).transactions.unfinished()
    assert (found.id, found.group, found.state, found.home, found.keys) == ("dead:1", 0, "prepared", 1, (A,))
    status = groups.host(groups.leads(0)).status()
    assert [(view.transactions, view.transaction_locks) for view in status.groups] == [(1, 1), (0, 0)]


def test_a_read_of_all_keys_waits_for_the_transactions_that_it_finds(groups):
    groups.holder()
    groups.host("K2").read_keys(0, list, groups.answers.append)
    groups.run(0.3)
    groups.holder(b"later", B)
    assert groups.answers == []
    assert groups.run(PATIENCE + 1, lambda: bool(groups.answers))
    assert groups.open(), "it did not wait for the later one"


class Dying:
    """The way to the groups of a coordinator that dies after so many steps."""

    def __init__(self, requests, steps):
        self.requests = requests
        self.steps = steps

    def write(self, *arguments, **options):
        if self.steps:
            self.steps -= 1
            self.requests.write(*arguments, **options)

    def log_time(self):
        return self.requests.log_time()


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("name", ["K1", "K2", "K3"])
def test_a_coordinator_dies_between_any_two_steps(groups, name, steps):
    """Prepare, Commit, Resolve, Forget: all of the transaction is there, or nothing, and no lock stays."""
    coordinator = groups.host(name).transactions.coordinator
    coordinator._requests = Dying(coordinator._requests, steps)
    groups.execute(name, both())
    groups.run(0.5)
    assert groups.run(PATIENCE + 1.5, lambda: not groups.open())
    done = b"1" if steps >= 2 else None
    other = next(node for node in groups.nodes if node != name)
    assert values(groups, other) == [done, done]
    assert len(groups.answers) == (steps >= 2)


@pytest.mark.parametrize("steps", range(1, 5))
def test_the_leader_of_home_dies_between_any_two_steps(groups, steps):
    home = groups.leads(1)
    name = next(node for node in groups.nodes if node != home)
    coordinator = groups.host(name).transactions.coordinator
    dying = coordinator._requests = Dying(coordinator._requests, steps)
    groups.execute(name, both())
    assert groups.run(5, lambda: not dying.steps)
    groups.nodes[home].crash()
    groups.run(0.2)
    groups.nodes[home].start()
    assert groups.run(20, lambda: not groups.open() and len(groups.processes()) == 3)
    first, second = values(groups, name)
    assert first == second
