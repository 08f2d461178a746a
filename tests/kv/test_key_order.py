"""The order of keys: against sorted lists, in both directions, and while keys come and go."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.kv import key_order
from kraft.kv.commands import Flush, Put
from kraft.kv.garbage import Garbage
from kraft.kv.key_index import KeyIndex
from kraft.kv.key_order import KeyOrder, prefix_end
from kraft.kv.keyspace import INDEXED_KEYS
from kraft.kv.machine import Machine


def filled(keys):
    order = KeyOrder()
    for key in keys:
        order.add(key)
    return order


def all_of(order):
    return list(order.between(b"", None, None, reverse=False))


keys = st.lists(st.sampled_from([b"", b"\x00", b"\xff"]) | st.binary(max_size=3), max_size=3).map(b"".join)


@given(st.sets(keys), st.sets(keys), keys, keys | st.none(), keys | st.none())
def test_a_range_is_that_of_a_sorted_list(present, gone, start, end, after):
    """Whatever the bounds: equal, crossed, or not among the keys."""
    order = filled([*present, *gone, *present])
    for key in [*gone, *gone]:
        order.remove(key)
    left = sorted(present - gone)
    assert len(order) == len(left)
    expected = [key for key in left if start <= key and (end is None or key < end)]
    upwards = [key for key in expected if after is None or key > after]
    downwards = [key for key in reversed(expected) if after is None or key < after]
    assert list(order.between(start, end, after, reverse=False)) == upwards
    assert list(order.between(start, end, after, reverse=True)) == downwards


@given(st.sets(keys), keys)
def test_the_keys_with_a_prefix_are_those_up_to_its_end(present, prefix):
    found = list(filled(present).between(prefix, prefix_end(prefix), None, reverse=False))
    assert found == sorted(key for key in present if key.startswith(prefix))


@pytest.mark.parametrize("keys_in_a_block", [4, 8, 64])
def test_blocks_are_divided_and_joined(monkeypatch, keys_in_a_block):
    """None is empty, large, or visited by the collector of garbage."""
    monkeypatch.setattr(key_order, "BLOCK_KEYS", keys_in_a_block)
    numbers = [b"%03d" % (number * 389 % 1000) for number in range(1000)]
    order, left = filled(numbers), set(numbers)
    assert len(order._blocks) < 3 * 1000 / keys_in_a_block
    for number in numbers:
        order.remove(number)
        left.discard(number)
        sizes = [len(block) for block in order._blocks]
        assert 0 < min(sizes) <= max(sizes) <= keys_in_a_block or sizes == [0]
        assert not any(map(gc.is_tracked, order._blocks))
        if len(left) % 50 == 0:
            assert all_of(order) == sorted(left)
            assert list(order.between(b"3", b"7", None, reverse=True)) == sorted(
                [key for key in left if b"3" <= key < b"7"], reverse=True
            )
        if len(left) == 50:
            assert len(order._blocks) <= 6 * 50 / keys_in_a_block + 1


def test_many_keys_in_several_blocks():
    """More than fit one block of the list, added in no order and removed again."""
    numbers = [number * 7919 % 20_011 for number in range(20_011)]
    order = filled([b"%05d" % number for number in numbers])
    assert all_of(order) == [b"%05d" % number for number in range(20_011)]
    for number in numbers[::2]:
        order.remove(b"%05d" % number)
    assert all_of(order) == sorted(b"%05d" % number for number in numbers[1::2])
    assert list(order.between(b"1", b"2", None, reverse=True)) == sorted(
        (b"%05d" % number for number in numbers[1::2] if 10_000 <= number < 20_000), reverse=True
    )


def test_it_is_freed_piece_by_piece():
    order, garbage = filled([b"%d" % number for number in range(5000)]), Garbage()
    size = order.memory
    order.discard(garbage)
    assert garbage.bytes == size
    garbage.free(2000)
    assert size // 2 < garbage.bytes < size * 7 // 10
    garbage.free(3000)
    assert not garbage


@pytest.mark.parametrize("kinds", [(KeyOrder, KeyIndex), (KeyIndex, KeyOrder)])
def test_it_is_kept_beside_the_other_index(kinds):
    """Each is built while the other one is in use, counts as memory, and is dropped without the other."""
    machine, plain = Machine(), Machine()
    for each in (machine, plain):
        each.apply(1, [Put(b"%d" % number, b"v") for number in range(3 * INDEXED_KEYS)])
    for kind in kinds:
        before = machine.keyspace.memory
        for number, _ in enumerate(machine.keyspace.build_index(kind)):
            for each in (machine, plain):
                each.apply(1, [Put(b"new:%d" % number, b"v")])
        assert machine.keyspace.memory > before
    order, index = machine.keyspace.order, machine.keyspace.index
    assert order is not None
    assert index is not None
    assert all_of(order) == sorted(plain.keyspace.records)
    assert len(index) == len(order)
    machine.keyspace.drop_index(kinds[0])
    machine.apply(1, [Put(b"last", b"v")])
    assert [machine.keyspace.has_index(kind) for kind in kinds] == [False, True]
    assert len(order) == len(index) + (1 if kinds[0] is KeyIndex else -1)


def test_a_flush_leaves_an_empty_order():
    """Also one that was being built: it is complete then."""
    for steps in (1, 1000):
        machine = Machine()
        machine.apply(1, [Put(b"%d" % number, b"v") for number in range(500)])
        building = machine.keyspace.build_index(KeyOrder)
        for _, _ in zip(range(steps), building, strict=False):
            pass
        machine.apply(1, [Flush(), Put(b"new", b"v")])
        for _ in building:
            pass
        assert machine.keyspace.order is not None
        assert all_of(machine.keyspace.order) == [b"new"]
        machine.keyspace.garbage.free(10_000)
        assert all_of(machine.keyspace.order) == [b"new"]
