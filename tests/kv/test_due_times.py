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
from kraft.kv.ledger import Ledger, LedgerKind


@pytest.fixture
def small_blocks():
    """Blocks that are divided and joined all the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("BLOCK_TIMES", 4), ("SMALL_TIMES", 2), ("JOINED_TIMES", 3), ("CROWD_KEYS", 3)):
            patch.setattr(due_times, name, number)
        yield


def pairs(index):
    """All pairs in the blocks, which are as they should be."""
    assert index._lows[0] == 0
    assert len(index._lows) == len(index._blocks)
    for block, low, end in zip(index._blocks, index._lows, [*index._lows[1:], due_times.NEVER], strict=True):
        assert block or len(index._blocks) == 1
        assert all(low <= expires < end for expires in block)
    return sorted(
        [(expires, key) for block in index._blocks for expires in block for key in at(block, expires)]
    )


def at(block, expires):
    """The keys that are due at one of the times of a block, at least one."""
    keys = block[expires]
    assert keys
    return [keys] if isinstance(keys, bytes) else list(keys)


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
        earliest = min(twin.values(), default=due_times.NEVER)
        first = {key for expires, key in expected if expires == earliest <= 6}
        assert sorted(index.due(6)) == sorted(first)
        assert index.due_by(6) == {key for expires, key in expected if expires <= 6}
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


def test_the_keys_of_the_earliest_time_come_first():
    expiries = {b"b": 3, b"a": 3, b"c": 1, b"d": 9}
    index = DueTimes()
    for key, expires in expiries.items():
        index.changed(key, 0, expires)
    assert index.due(5) == [b"c"]
    index.changed(b"c", 1, 0)
    assert sorted(index.due(5)) == [b"a", b"b"]
    for key in index.due(5):
        index.changed(key, 3, 0)
    assert (index.live, index.next(), index.due(5)) == (1, 9, [])


def test_rows_are_forgotten_in_the_order_of_time_and_name():
    """Every replica forgets the same ones, whatever the order in which it got them."""
    rows = [(2, b"d"), (1, b"z"), (2, b"b"), (2, b"a"), (9, b"e"), (2, b"c")]
    ledger = Ledger()
    for expires, name in rows:
        ledger.put(LedgerKind.TOKEN, name, b"", 1, expires)
    assert ledger.forget(5, 3) == 3
    assert [name for name in b"abcdez" if ledger.get(LedgerKind.TOKEN, bytes([name]))] == list(b"cde")


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
    index, dice = DueTimes(), random.Random(4)
    expiries = {b"%d" % number: dice.randrange(1, 10**6) for number in range(5000)}
    for key, expires in expiries.items():
        index.changed(key, 0, expires)
    for number in range(3000):
        index.changed(b"at noon %d" % number, 0, 500_000)
    assert max(map(len, index._blocks)) < 128
    assert len(index._blocks) < 5000 / 48
    for key in list(expiries)[100:]:
        index.changed(key, expiries[key], 0)
    assert len(index._blocks) < 12


def test_many_keys_of_one_time_cost_the_others_nothing():
    """Whoever changes a key, asks for the next time, or begins a transaction looks at a few times only."""
    index, looks = DueTimes(), 0

    class Times(dict[int, bytes | dict[bytes, None]]):
        def __iter__(self):
            nonlocal looks
            looks += len(self)
            return super().__iter__()

        def items(self):
            nonlocal looks
            looks += sum(len(keys) if isinstance(keys, dict) else 1 for keys in self.values())
            return super().items()

    midnight = 10**6
    index.load([b"%d" % number for number in range(3000)], [midnight] * 3000)
    index._blocks[0] = Times(index._blocks[0])
    for number in range(50):
        index.changed(b"soon", 0, number + 1)
        assert index.due_by(number) == set()
        assert index.next() == number + 1
        index.changed(b"soon", number + 1, 0)
        index.changed(b"%d" % number, midnight, midnight + 1)
        assert index.due(number + 1) == []
    assert 0 < looks < 50 * 5
    assert len(index.due_by(midnight)) == 2950


def test_what_is_loaded_is_in_small_blocks_and_freed_in_steps():
    dice = random.Random(3)
    keys = [b"%d" % number for number in range(8000)]
    due = [10**6 if number < 3000 else dice.randrange(1, 10**6) for number in range(8000)]
    index, garbage = DueTimes(), Garbage()
    index.load(keys, due)
    assert pairs(index) == sorted(zip(due, keys, strict=True))
    assert (index.live, index.next()) == (8000, min(due))
    assert max(map(len, index._blocks)) < 128
    index.discard(garbage)
    freed = 0
    while garbage:
        garbage.free(1000)
        freed += 1
    assert 8 <= freed <= 12


def test_times_that_repeat_where_they_are_sampled_are_in_small_blocks_as_well():
    keys = [b"%d" % number for number in range(8000)]
    due = [1 if number % 64 == 0 else number + 2 for number in range(8000)]
    index = DueTimes()
    index.load(keys, due)
    assert pairs(index) == sorted(zip(due, keys, strict=True))
    assert max(map(len, index._blocks)) < 128


def test_the_collector_of_garbage_visits_none_of_it():
    index = DueTimes()
    for number in range(1000):
        index.changed(b"%d" % number, 0, 1 + number * 7919 % 1000)
        index.changed(b"next to %d" % number, 0, 1 + number * 7919 % 1000)
    together = [keys for block in index._blocks for keys in block.values() if isinstance(keys, dict)]
    assert len(index._blocks) > 8
    assert len(together) == 1000
    assert not any(map(gc.is_tracked, [index._lows, index._blocks, *index._blocks, *together]))
