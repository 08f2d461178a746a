"""The index of keys by slots, compared with a plain list of the keys."""

import random

import pytest

from kraft.kv.garbage import Garbage
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_index import SlotIndex
from kraft.kv.slots import SLOTS, slot_of


def found(index, first=0, last=SLOTS - 1):
    return sorted(key for keys in index.keys(first, last) for key in keys)


@pytest.mark.parametrize("seed", range(5))
def test_each_slot_has_its_keys_while_they_come_and_go(seed):
    dice, index, keys = random.Random(seed), SlotIndex(), set()
    index.fill(b"%d" % number for number in range(100))
    keys |= {b"%d" % number for number in range(100)}
    for _ in range(2000):
        key = b"%d" % dice.randrange(300)
        if dice.random() < 0.5:
            index.add(key)
            keys.add(key)
        else:
            index.remove(key)
            keys.discard(key)
    assert len(index) == len(keys)
    first = dice.randrange(SLOTS // 2)
    assert found(index, first, first + 4000) == sorted(k for k in keys if first <= slot_of(k) <= first + 4000)
    assert found(index) == sorted(keys)


def test_what_was_taken_stays_as_it_was():
    index = SlotIndex()
    index.add(b"{a}1")
    slot = slot_of(b"{a}1")
    taken = index.keys(slot, slot)
    index.add(b"{a}2")
    index.remove(b"{a}1")
    garbage = Garbage()
    memory = index.memory
    index.discard(garbage)
    assert garbage.bytes == memory
    garbage.free(SLOTS)
    assert list(taken) == [(b"{a}1",)]
    assert garbage.bytes == 0


def test_a_keyspace_keeps_it_while_keys_come_and_go():
    space = Keyspace()
    space.put(b"before", b"", 1)
    building = space.build_index(SlotIndex)
    next(building)
    space.put(b"meanwhile", b"", 2)
    for _ in building:
        pass
    space.put(b"after", b"", 3)
    space.remove(b"before")
    assert found(space.slot_index) == [b"after", b"meanwhile"]
    space.clear()
    assert found(space.slot_index) == []
    space.drop_index(SlotIndex)
    assert space.slot_index is None
