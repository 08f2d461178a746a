"""The index of keys by slots, compared with a plain list of the keys."""

import random
from typing import Any

import pytest

from kraft.kv.garbage import Garbage
from kraft.kv.key_index import END
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_index import SMALL_KEYS, SlotIndex
from kraft.kv.slots import SLOTS, slot_of


def found(index, first=0, last=SLOTS - 1):
    walk, keys = index.walk(first, last), []
    while piece := walk.piece(10):
        keys += piece
    walk.end()
    return sorted(keys)


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


@pytest.mark.parametrize("seed", range(3))
def test_a_slot_with_many_keys_is_as_any_other(seed):
    dice, index, keys = random.Random(seed), SlotIndex(), set()
    for number in range(3000):
        key = b"{tag}%d" % dice.randrange(1000)
        if dice.random() < (0.8 if number < 1500 else 0.4):
            index.add(key)
            keys.add(key)
        else:
            index.remove(key)
            keys.discard(key)
    slot = slot_of(b"{tag}")
    assert len(keys) > SMALL_KEYS
    assert len(index) == len(keys)
    assert found(index) == found(index, slot, slot) == sorted(keys)
    assert found(index, slot + 1) == []


def test_a_key_of_a_slot_with_many_moves_few_others():
    """Each would replace all of them; a tuple of 20,000 keys takes 160 kB."""
    index = SlotIndex()
    index.fill(b"{tag}%d" % number for number in range(20_000))
    own: Any = next(keys for keys in index._slots if keys)
    before = [own.bucket(position)[0] for position in range(0, END, END // 1000)]
    index.add(b"{tag}new")
    after = [own.bucket(position)[0] for position in range(0, END, END // 1000)]
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 3


@pytest.mark.parametrize("freed", [0, SLOTS + 5, SLOTS + 50, 10 * SLOTS])
@pytest.mark.parametrize("count", [10, 1000])
def test_a_walk_gives_what_stays_though_keys_come_and_go_and_the_index_is_dropped(count, freed):
    """An index that nobody has asked for is dropped after ten minutes, however long a copy takes."""
    index, garbage = SlotIndex(), Garbage()
    index.fill(b"{a}%d" % number for number in range(count))
    walk = index.walk(0, SLOTS - 1)
    for number in range(count):
        index.add(b"{a}new%d" % number)
    index.remove(b"{a}%d" % (count - 1))
    index.discard(garbage)
    garbage.free(freed)
    found = []
    while piece := walk.piece(5):
        found += piece
    walk.end()
    assert {b"{a}%d" % number for number in range(count - 1)} <= set(found)
    garbage.free(10 * SLOTS)
    assert garbage.bytes == 0


def test_a_walk_that_ends_early_keeps_nothing():
    index, garbage = SlotIndex(), Garbage()
    index.fill(b"{%d}%d" % (tag, number) for tag in range(3) for number in range(200))
    walk = index.walk(0, SLOTS - 1)
    assert walk.piece(5)
    index.discard(garbage)
    walk.end()
    garbage.free(10 * SLOTS)
    assert garbage.bytes == 0


def test_keys_of_some_slots_are_counted():
    index = SlotIndex()
    index.fill(b"{%d}%d" % (tag, number) for tag in range(3) for number in range(100 * (tag + 1)))
    slots = [slot_of(b"{%d}" % tag) for tag in range(3)]
    assert [index.count(slot, slot) for slot in slots] == [100, 200, 300]
    assert index.count(0, SLOTS - 1) == 600


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
