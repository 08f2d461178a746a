"""One transaction at a time; waiting writes share the next one; a full disk answers no caller."""

from typing import Any, cast

from kraft.host.persistence import RETRY_SECONDS, Persistence
from kraft.raft.ready import Persist
from tests.host.fakes import Clock


class Disk:
    def __init__(self):
        self.commits = []

    def commit(self, transaction, done):
        self.commits.append((transaction, done))

    def fetch(self, group, first, last, max_bytes, done):
        raise AssertionError("persistence never reads")

    def finish(self, durable=True):
        self.commits[-1][1](durable)


class Group:
    id = 4

    def __init__(self):
        self.done = []

    def persisted(self, sequence, after):
        self.done.append((sequence, tuple(after)))


def write(sequence):
    return Persist(sequence, None, None, (), 0)


class Owner:
    def __init__(self):
        self.full = []

    def durable(self, written):
        for group, persist, after in written:
            group.persisted(persist.sequence, after)

    def disk_full(self, full):
        self.full.append(full)


def build():
    clock, disk, owner = Clock(), Disk(), Owner()
    return clock, disk, owner.full, Persistence(cast(Any, disk), clock, owner)


def test_writes_that_arrive_while_the_disk_works_share_the_next_transaction():
    _, disk, _, persistence = build()
    group = Group()
    persistence.add(group, write(1), ())
    persistence.flush()
    persistence.add(group, write(2), ())
    persistence.add(group, write(3), ())
    persistence.flush()
    assert len(disk.commits) == 1
    disk.finish()
    assert [len(t.writes) for t, _ in disk.commits] == [1, 2]
    assert group.done == [(1, ())]
    disk.finish()
    assert [s for s, _ in group.done] == [1, 2, 3]


def test_messages_leave_only_with_their_own_write():
    _, disk, _, persistence = build()
    group = Group()
    persistence.add(group, write(1), ("ack",))
    persistence.flush()
    assert group.done == []
    disk.finish()
    assert group.done == [(1, ("ack",))]


def test_a_full_disk_repeats_the_same_transaction_until_there_is_room():
    clock, disk, full, persistence = build()
    group = Group()
    persistence.add(group, write(1), ("ack",))
    persistence.flush()
    disk.finish(durable=False)
    persistence.add(group, write(2), ())
    persistence.flush()
    assert (full, group.done, len(disk.commits)) == ([True], [], 1)
    clock.advance(RETRY_SECONDS)
    assert disk.commits[1][0] == disk.commits[0][0]
    disk.finish()
    assert (full, persistence.full) == ([True, False], False)
    disk.finish()
    assert [s for s, _ in group.done] == [1, 2]
