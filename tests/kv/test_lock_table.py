"""Locks of transactions over several groups: who keeps whom out."""

import itertools

import pytest

from kraft.kv.footprint import Footprint, Whole
from kraft.kv.lock_table import LockTable

WRITE_A = Footprint((b"a",))
READ_A = Footprint((), (b"a",))
WRITE_B = Footprint((b"b",))
READ_B = Footprint((), (b"b",))
FLUSH = Footprint(whole=Whole.WRITE)
COUNT = Footprint(whole=Whole.READ)
ALL = {
    "write a": WRITE_A,
    "read a": READ_A,
    "write b": WRITE_B,
    "read b": READ_B,
    "flush": FLUSH,
    "count": COUNT,
}
TOGETHER = {  # who can hold locks at the same time as another one
    ("write a", "write b"),
    ("write a", "read b"),
    ("write b", "read a"),
    ("read a", "read a"),
    ("read b", "read b"),
    ("read a", "read b"),
    ("read a", "count"),
    ("read b", "count"),
    ("count", "count"),
}


@pytest.mark.parametrize(("held", "wanted"), list(itertools.product(ALL, repeat=2)))
def test_two_together(held, wanted):
    locks = LockTable()
    locks.add(b"T1", ALL[held])
    free = (held, wanted) in TOGETHER or (wanted, held) in TOGETHER
    assert locks.obstacle(ALL[wanted]) == (None if free else b"T1")
    assert locks.obstacle(ALL[wanted], own=b"T1") is None
    locks.remove(b"T1", ALL[held])
    assert locks.obstacle(ALL[wanted]) is None
    assert (locks.exclusive, locks.shared, locks.whole) == ({}, {}, {})


def test_the_obstacle_is_the_same_on_every_replica():
    locks = LockTable()
    for holder in (b"T3", b"T1", b"T2"):
        locks.add(holder, READ_A)
    assert locks.obstacle(WRITE_A) == b"T1"
    assert locks.obstacle(WRITE_A, own=b"T1") == b"T2"


@pytest.mark.parametrize(
    ("footprint", "holds", "hides"),
    [
        (WRITE_A, (True, False), (True, False)),
        (READ_A, (True, False), (False, False)),
        (FLUSH, (True, True), (True, True)),
        (COUNT, (True, True), (False, False)),
    ],
)
def test_what_locks_mean_for_expiry_and_reads(footprint, holds, hides):
    locks = LockTable()
    locks.add(b"T1", footprint)
    assert (locks.holds(b"a"), locks.holds(b"b")) == holds
    assert (locks.hides([b"a"]), locks.hides([b"b"])) == hides
    assert [locks.hiding([name]) for name in (b"a", b"b")] == [{b"T1"} if found else set() for found in hides]
