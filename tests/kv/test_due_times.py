"""The index of due times: right, and bounded however often a key changes its mind."""

import random

from kraft.kv.due_times import GARBAGE_MIN, DueTimes
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import Record


def test_outdated_pairs_are_bounded():
    space = Keyspace()
    for revision in range(10_000):
        space.put(b"a", b"", revision, expires=1_000_000 - revision)
    assert len(space.due) <= 2 + GARBAGE_MIN
    assert space.due.next() == 1_000_000 - 9_999


def test_pairs_of_removed_keys_are_bounded():
    space = Keyspace()
    for number in range(10_000):
        space.put(b"%d" % number, b"", 1, expires=5 + number)
    for number in range(10_000):
        space.remove(b"%d" % number)
    assert len(space.due) <= GARBAGE_MIN
    assert space.due.next() is None
    assert space.bytes == 0


def test_a_change_that_keeps_the_expiry_adds_nothing():
    space = Keyspace()
    for revision in range(50):
        space.put(b"a", b"", revision, expires=7)
    assert len(space.due) == 1


def test_pairs_that_come_back_are_bounded_and_count_once():
    space = Keyspace()
    for _ in range(1000):
        space.put(b"a", b"", 1, expires=8)
        space.put(b"a", b"", 1, expires=7)
        assert len(space.due) <= 2 + GARBAGE_MIN
    assert space.expire(7) == 1
    assert space.expire(7) == 0


def test_due_keys_come_in_the_order_of_time_and_key():
    times = {b"b": 3, b"a": 3, b"c": 1, b"d": 9}
    records = {key: Record(key, b"", 1, expires) for key, expires in times.items()}
    index = DueTimes(records)
    for key, expires in times.items():
        index.changed(key, 0, expires)
    gone = []
    while (due := index.due(5)) is not None:
        gone.append(due)
        index.changed(due, records.pop(due).expires, 0)
    assert gone == [b"c", b"a", b"b"]
    assert (index.live, index.next()) == (1, 9)


def test_rebuilding_keeps_the_order():
    space, dice = Keyspace(), random.Random(2)
    keys = [b"%d" % number for number in range(200)]
    for _ in range(10):
        for key in keys:
            space.put(key, b"", 1, expires=dice.randrange(1, 1_000_000))
    while keys:
        earliest = min(space.records.values(), key=lambda record: record.expires).expires
        assert space.due.next() == earliest
        space.remove(keys.pop())


def test_all_of_many_go_at_once():
    space, dice = Keyspace(), random.Random(1)
    for number in range(5000):
        space.put(b"%d" % number, b"v", 1, expires=dice.randrange(1, 100))
    assert space.expire(50) + len(space) == 5000
    assert all(record.expires > 50 for record in space.records.values())
