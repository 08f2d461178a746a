"""How often a read over groups looks, and at what moment its values stood together."""

import pytest

from kraft.host.requests.round import View
from kraft.host.slots import SlotMap
from kraft.host.transactions.coordinator import Coordinator
from kraft.host.transactions.cut import Cut
from kraft.kv.commands import Delete, Exec, Freeze, Import, Look, Open, Put, Release, Row
from kraft.kv.machine import Machine
from kraft.kv.slots import SLOTS
from tests.host.test_group_transactions import A, B, Groups, both, values
from tests.server.fake_host import FakeClock

PARTS = {0: Exec((), (Look((A,)),)), 1: Exec((), (Look((B,)),))}
SHARE = (0, SLOTS - 1)


class Replicas:
    """Two groups, each with a replica here that may lag, and the newest state; the test answers reads."""

    def __init__(self):
        self.here = {group: Machine() for group in PARTS}
        self.newest = {group: Machine() for group in PARTS}
        self.reads = []
        self.done = []

    def cut(self):
        coordinator = Coordinator(b"K1", self, FakeClock(), 5.0, 2.0)
        Cut(PARTS, 10, self, coordinator, self.done.append, fresh=False).start()

    def apply(self, group, *commands, late=False):
        """Apply commands; a `late` replica here does not apply them yet."""
        for machine in (self.newest[group], *([] if late else [self.here[group]])):
            machine.apply(machine.stamp, commands)

    def applied(self, group, keys):
        machine = self.here.get(group)
        return None if machine is None else View(machine.keyspace, machine.stamp, machine.revision)

    def read(self, group, keys, done, *, fresh=False):
        self.reads.append((group, done))

    def write(self, group, commands, size, done, *, waits=False):
        raise NotImplementedError

    def log_time(self):
        raise NotImplementedError

    def answer(self):
        """Answer the reads that wait with what is committed; returns the groups of these."""
        reads, self.reads = self.reads, []
        for group, done in reads:
            machine = self.newest[group]
            done(View(machine.keyspace, machine.stamp, machine.revision))
        return [group for group, _ in reads]

    def values(self):
        [found] = self.done
        return [records[0][0] if records else None for _, records, _ in found.values()]


@pytest.fixture
def replicas():
    made = Replicas()
    for group, key in ((0, A), (1, B)):
        made.apply(group, Put(key, b"1"))
    return made


def test_what_a_replica_here_has_applied_is_the_first_look(replicas):
    replicas.cut()
    assert replicas.answer() == [0, 1]
    assert replicas.values() == [b"1", b"1"]


def test_a_replica_that_lags_in_other_keys_is_as_good(replicas):
    replicas.apply(0, Put(b"other", b"2"), late=True)
    replicas.cut()
    assert replicas.answer() == [0, 1]
    assert replicas.values() == [b"1", b"1"]


def test_a_key_that_changed_is_looked_at_again(replicas):
    replicas.apply(0, Put(A, b"2"), late=True)
    replicas.cut()
    replicas.answer()
    assert replicas.done == []
    replicas.apply(1, Put(B, b"3"), late=True)
    replicas.answer()
    assert replicas.done == []
    replicas.answer()
    assert replicas.values() == [b"2", b"3"]


def test_a_key_that_came_and_went_has_changed(replicas):
    replicas.apply(0, Delete((A,)))
    replicas.apply(0, Put(A, b"2"), Delete((A,)), late=True)
    replicas.cut()
    replicas.answer()
    assert replicas.done == []
    replicas.answer()
    assert replicas.values() == [None, b"1"]


def test_without_a_replica_here_there_are_two_looks(replicas):
    del replicas.here[1]
    replicas.cut()
    replicas.answer()
    assert replicas.done == []
    replicas.answer()
    assert replicas.values() == [b"1", b"1"]


def test_a_replica_that_lags_shows_nothing_old():
    """The key that a client wrote last is seen, and so is the one that it wrote before that."""
    groups = Groups()
    groups.execute("K1", both())
    assert groups.answered()
    assert groups.run(5, lambda: not groups.open())
    reader = next(p.id for p in groups.processes() if p.id not in (groups.leads(0), groups.leads(1)))
    lagging = groups.host(reader).groups[1].applier
    lagging.replaying = True
    for group, key in ((1, B), (0, A)):
        groups.host(groups.leads(group)).write(group, [Put(key, b"2")], 20, groups.answers.append)
        assert groups.answered(2 if group else 3)
    groups.cut(reader)
    groups.run(0.3)
    lagging.replaying = False
    groups.answers.clear()
    assert groups.answered()
    assert values(groups, reader) == [b"2", b"2"]
    [found] = groups.answers
    assert [reply[1][0][0] for reply in found.values()] == [b"2", b"2"]


def test_keys_of_a_slot_that_has_not_arrived_are_no_look():
    """A key that was removed at the source is missing there and here, at different times."""
    groups = Groups()
    transactions = groups.host("K1").transactions
    machine = groups.host("K1").groups[1].state.machine
    assert transactions.applied(1, [B]) is not None
    assert transactions.applied(1, [A]) is None  # of group 0, which has it since the cluster was formed
    share = SlotMap(2).share(1)
    machine.apply(machine.stamp, [Open(1, 0, 0, share), Import(1, 0, (Row(b"x", b"1", 1, 0),))])
    assert transactions.applied(1, [A]) is None
    assert transactions.applied(1, [B]) is not None
    machine.apply(machine.stamp, [Freeze(2, *share, 0, share)])
    assert transactions.applied(1, [B]) is not None  # it is nobody else's yet
    machine.apply(machine.stamp, [Release(2, *share, 0)])
    assert transactions.applied(1, [B]) is None


def test_a_replica_that_is_known_to_be_wrong_is_no_look():
    groups = Groups()
    host = groups.host("K1")
    assert host.transactions.applied(0, [A]) is not None
    host.groups[0].state.fenced = True
    assert host.transactions.applied(0, [A]) is None
    assert host.transactions.applied(7, [A]) is None
