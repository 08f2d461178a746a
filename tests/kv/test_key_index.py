"""The index of keys: against sorted lists, while keys come and go, and while it is built."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.kv.commands import Copy, Extend, Flush, Guarded, Lock, Put, Rename
from kraft.kv.garbage import Garbage
from kraft.kv.key_index import BUCKET_KEYS, END, KeyIndex, position_of
from kraft.kv.key_order import KeyOrder
from kraft.kv.keyspace import INDEXED_KEYS, Keyspace
from kraft.kv.machine import Machine


def in_order(index, position=0):
    """All keys from a position on, bucket by bucket, each bucket sorted."""
    found = []
    while position < END:
        keys, position = index.bucket(position)
        assert all(position_of(key) < position for key in keys)
        found += sorted(keys, key=position_of)
    return found


def ordered(order):
    return list(order.between(b"", None, None, reverse=False))


def filled(keys):
    index = KeyIndex()
    for key in keys:
        index.add(key)
    return index


def test_a_position_is_a_contract_between_all_nodes_and_releases():
    """A scan that began on one node goes on at another one of another release."""
    assert [position_of(key) for key in (b"", b"a", b"key:1")] == POSITIONS


POSITIONS = [206274996266655, 213977558931376, 114408858553465]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100, 1000, 5000])
def test_every_key_is_in_the_order_of_positions(count):
    """Whatever the number of buckets; keys are added twice, and removed again."""
    keys = [b"key %d" % number for number in range(count)]
    index = filled(keys + keys)
    assert len(index) == count
    assert in_order(index) == sorted(keys, key=position_of)
    for position in (0, 1, END // 3, END // 2, END - 1):
        rest = [key for key in sorted(keys, key=position_of) if position_of(key) >= position]
        assert in_order(index, position) == rest
    for key in keys[::2] + keys[::2]:
        index.remove(key)
    assert in_order(index) == sorted(keys[1::2], key=position_of)
    for key in keys:
        index.remove(key)
    assert (in_order(index), len(index), len(index._buckets)) == ([], 0, 1)


def test_buckets_stay_small():
    index = filled([b"%d" % number for number in range(20_000)])
    sizes = [len(bucket) for bucket in index._buckets]
    assert sum(sizes) / len(sizes) <= BUCKET_KEYS
    assert max(sizes) <= 5 * BUCKET_KEYS


def test_two_indexes_of_different_shape_share_their_positions():
    """As on two nodes: one has grown, the other one was prepared for many keys."""
    keys = [b"key %d" % number for number in range(500)]
    one, other = filled(keys), KeyIndex(100_000)
    other.fill(keys)
    position = 0
    found: list[bytes] = []
    while position < END:
        one, other = other, one
        some, position = one.bucket(position)
        found += some
    assert len(found) == 500
    assert set(found) == set(keys)


def test_any_key_is_as_likely_as_another():
    index, dice = filled([b"%d" % number for number in range(40)]), Random(1)
    counts = dict.fromkeys(in_order(index), 0)
    for _ in range(8000):
        key = index.random(dice.randrange)
        assert key is not None
        counts[key] += 1
    assert all(120 < count < 290 for count in counts.values())
    assert KeyIndex().random(dice.randrange) is None


changes = st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=12)


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)), st.lists(changes, max_size=10), st.integers(1, 20))
def test_a_walk_has_the_keys_of_one_moment(first, turns, count):
    """Whatever comes and goes between its pieces; a second walk begins in the middle."""
    index = filled([b"%d" % number for number in first])
    walks: list[Any] = [(index.walk(), set(in_order(index)), [])]
    for turn in [*turns, *[[]] * 80]:
        for walk, _, found in walks:
            found += walk.piece(count) or []
        if len(walks) == 1:
            walks.append((index.walk(), set(in_order(index)), []))
        for number, there in turn:
            (index.add if there else index.remove)(b"%d" % number)
    for walk, expected, found in walks:
        assert walk.piece(count) is None
        assert len(found) == len(set(found))
        assert set(found) == expected
        walk.end()
    assert index._walks == []


def test_buckets_are_freed_after_the_last_walk():
    index, garbage = filled([b"%d" % number for number in range(100)]), Garbage()
    walk = index.walk()
    index.discard(garbage)
    assert not garbage
    assert sorted(walk.piece(1000) or []) == sorted(b"%d" % number for number in range(100))
    walk.end()
    assert garbage.bytes > 1000
    left = garbage.bytes
    garbage.free(50)
    assert left * 0.4 <= garbage.bytes <= left * 0.6, "buckets hold many keys each"
    garbage.free(60)
    assert not garbage


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "remove", "remove", "flush", "build", "drop"]),
        st.integers(0, 40),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(0, 400), steps)
def test_a_keyspace_that_changes_while_its_indexes_are_built(size, plan):
    """Lookups, number, expiry and both indexes are right after every change and in the end."""
    keyspace, twin = Keyspace(), {}
    for number in range(size):
        keyspace.put(b"%d" % (number % 50 + 1000 * (number // 50)), b"v", 1)
        twin[b"%d" % (number % 50 + 1000 * (number // 50))] = (b"v", 0)
    building: Any = None
    for what, number, advance in plan:
        key, kind = b"%d" % number, (KeyIndex, KeyOrder)[number % 2]
        if what == "put":
            keyspace.put(key, b"w", 2, number)
            twin[key] = (b"w", number)
        elif what == "remove":
            assert (keyspace.remove(key) is not None) == (twin.pop(key, None) is not None)
        elif what == "flush":
            keyspace.clear()
            twin.clear()
        elif what == "drop" and building is None:
            keyspace.drop_index(kind)
        elif what == "build" and building is None and not keyspace.has_index(kind):
            building = keyspace.build_index(kind)
        for _ in range(advance if building else 0):
            if next(building, building) is building:
                building = None
                break
        check(keyspace, twin)
    for _ in building or ():
        pass
    check(keyspace, twin)
    if keyspace.index is not None:
        assert sorted(in_order(keyspace.index)) == sorted(twin)
    if keyspace.order is not None:
        assert ordered(keyspace.order) == sorted(twin)
    assert type(keyspace.records) is dict


def check(keyspace, twin):
    assert len(keyspace) == len(twin)
    assert bool(keyspace.records) == bool(twin)
    assert {key: (r.value, r.expires) for key, r in keyspace.records.items()} == twin
    assert set(keyspace.records) == set(twin)
    for key in [*twin, b"0", b"1", b"7"]:
        assert (key in keyspace) == (key in twin)
        assert keyspace.get(key) == twin.get(key, (None,))[0]
        if key in twin:
            assert keyspace.records[key].value == twin[key][0]
    expiries = [expires for _, expires in twin.values() if expires]
    assert keyspace.due.next() == min(expiries, default=None)


def test_nothing_is_indexed_unless_somebody_asks():
    """Memory and digest are those of a keyspace without an index, and again after it was dropped."""
    machine, plain = Machine(), Machine()
    for each in (machine, plain):
        each.apply(1, [Put(b"%d" % number, b"v") for number in range(3 * INDEXED_KEYS)])
    for _ in machine.keyspace.build_index(KeyIndex):
        machine.apply(1, [Put(b"0", b"v")])
        plain.apply(1, [Put(b"0", b"v")])
        assert machine.digest() == plain.digest()
    assert machine.keyspace.memory > plain.keyspace.memory
    machine.keyspace.drop_index(KeyIndex)
    machine.keyspace.garbage.free(10_000)
    assert machine.keyspace.memory == plain.keyspace.memory
    assert machine.keyspace.index is None


def test_commands_work_while_an_index_is_built():
    """On keys that the index has, or not yet, and on new ones."""
    machine, plain = Machine(), Machine()
    for each in (machine, plain):
        each.apply(1, [Lock(b"%d" % number, 1000, b"me") for number in range(3 * INDEXED_KEYS)])
    building = machine.keyspace.build_index(KeyIndex)
    for number, _ in enumerate(building):
        held = [b"0", b"%d" % number, b"%d" % (3 * INDEXED_KEYS - 1 - number)]
        batch: list[Any] = [Lock(b"new%d" % number, 1000, b"me")]
        for key in held:
            token = plain.keyspace.revision(key)
            batch += [Extend(key, token, 2000), Guarded(key, token, Put(b"guarded", b"v"))]
            batch += [Copy(key, b"copy" + key), Rename(key, b"renamed"), Rename(b"renamed", key)]
        assert machine.apply(2, batch) == plain.apply(2, batch)
        assert machine.digest() == plain.digest()
    assert machine.digest() == plain.digest()


def test_a_flush_leaves_an_empty_index():
    machine = Machine()
    machine.apply(1, [Put(b"%d" % number, b"v") for number in range(500)])
    for _ in machine.keyspace.build_index(KeyIndex):
        pass
    machine.apply(1, [Flush(), Put(b"new", b"v")])
    assert machine.keyspace.index is not None
    assert in_order(machine.keyspace.index) == [b"new"]
    machine.keyspace.garbage.free(10_000)
    assert in_order(machine.keyspace.index) == [b"new"]
