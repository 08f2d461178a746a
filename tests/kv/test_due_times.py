"""The index of due times: right, in order, in small blocks, and without a trace of what was."""

import gc
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.kv import due_times
from kraft.kv.due_times import DueTimes
from kraft.kv.garbage import Garbage
from kraft.kv.keyspace import Keyspace


@pytest.fixture
def small_blocks():
    """Blocks that are divided and joined all the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, keys in (("BLOCK_KEYS", 8), ("SMALL_KEYS", 2), ("JOINED_KEYS", 6)):
            patch.setattr(due_times, name, keys)
        yield


def pairs(index):
    """All pairs in the blocks, which are as they should be."""
    assert index._lows[0] == 0
    assert len(index._lows) == len(index._blocks)
    for block, low, end in zip(index._blocks, index._lows, [*index._lows[1:], due_times.NEVER], strict=True):
        assert block or len(index._blocks) == 1
        assert all(low <= expires < end for expires in block.values())
    return sorted([(expires, key) for block in index._blocks for key, expires in block.items()])


names = st.sampled_from([b"%d" % number for number in range(40)])
times = st.integers(0, 12)  # so few that many keys are due together; 0 for never


@pytest.mark.usefixtures("small_blocks")
@given(
    loaded=st.dictionaries(names, st.integers(1, 12)),
    steps=st.lists(st.tuples(st.sampled_from(["change", "park", "set_aside"]), names, times), max_size=150),
)
def test_it_is_as_if_every_key_were_looked_at(loaded, steps):
    """Whatever changes, and whoever is held apart meanwhile."""
    index = DueTimes()
    held: dict[str, dict[bytes, int]] = {"park": {}, "set_aside": {}}
    twin = dict(loaded)
    index.load(list(twin), list(twin.values()))
    for step, name, time in steps:
        if step == "change":
            old = [each.pop(name, 0) for each in (twin, *held.values())]
            index.changed(name, sum(old), time)
            if time:
                twin[name] = time
        elif name in twin:
            held[step][name] = twin.pop(name)
            getattr(index, step)(name, held[step][name])
        expected = sorted([(expires, key) for key, expires in twin.items()])
        assert pairs(index) == expected
        assert index.live == len(twin) + len(held["park"]) + len(held["set_aside"])
        assert index.next() == min([*twin.values(), *held["park"].values()], default=None)
        due = [key for expires, key in expected if expires <= 6]
        found = index.due(6)
        assert found == due[: len(found)]
        assert bool(found) == bool(due)
        assert index.due_by(6) == set(due)
    index.unpark()
    index.bring_back()
    everything = twin | held["park"] | held["set_aside"]
    assert pairs(index) == sorted([(expires, key) for key, expires in everything.items()])


def test_a_key_that_changes_its_mind_counts_once():
    space = Keyspace()
    for revision in range(100):
        space.put(b"a", b"", revision, expires=1000 - revision)
        space.put(b"b", b"", revision, expires=7)
    assert pairs(space.due) == [(7, b"b"), (901, b"a")]
    space.put(b"a", b"", 100)
    space.remove(b"b")
    assert pairs(space.due) == []
    assert (space.due.live, space.due.next(), space.bytes) == (0, None, space.memory_of(b"a"))


def test_due_keys_come_in_the_order_of_time_and_name():
    expiries = {b"b": 3, b"a": 3, b"c": 1, b"d": 9}
    index = DueTimes()
    for key, expires in expiries.items():
        index.changed(key, 0, expires)
    assert index.due(5) == [b"c", b"a", b"b"]
    for key in index.due(5):
        index.changed(key, expiries[key], 0)
    assert (index.live, index.next(), index.due(5)) == (1, 9, [])


def test_the_order_is_kept_while_keys_change_their_minds():
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


def test_no_block_is_large_and_few_are_small():
    """Except for one of keys that are all due at the same time."""
    index, dice = DueTimes(), random.Random(4)
    expiries = {b"%d" % number: dice.randrange(1, 10**6) for number in range(5000)}
    for key, expires in expiries.items():
        index.changed(key, 0, expires)
    assert max(map(len, index._blocks)) < 128
    assert len(index._blocks) < 5000 / 48
    for number in range(1000):
        index.changed(b"at noon %d" % number, 0, 500_000)
    assert sorted(map(len, index._blocks))[-2:][0] < 128 <= 1000 <= max(map(len, index._blocks))
    for key in list(expiries)[100:]:
        index.changed(key, expiries[key], 0)
    assert len(index._blocks) < 12


def test_what_is_loaded_is_in_small_blocks_and_freed_in_steps():
    dice = random.Random(3)
    keys = [b"%d" % number for number in range(5000)]
    due = [dice.randrange(1, 10**6) for _ in keys]
    index, garbage = DueTimes(), Garbage()
    index.load(keys, due)
    assert pairs(index) == sorted(zip(due, keys, strict=True))
    assert (index.live, index.next()) == (5000, min(due))
    assert max(map(len, index._blocks)) < 1000
    index.discard(garbage)
    garbage.free(2000)
    assert garbage
    garbage.free(3000)
    assert not garbage


def test_the_collector_of_garbage_visits_none_of_it():
    index = DueTimes()
    for number in range(1000):
        index.changed(b"%d" % number, 0, 1 + number * 7919 % 1000)
    assert len(index._blocks) > 8
    assert not any(map(gc.is_tracked, [index._lows, index._blocks, *index._blocks]))
