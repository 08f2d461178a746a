"""How much data the memory holds, and the refusal of writes near its limit."""

import pytest
from twisted.internet.task import Clock as Reactor

from kraft.process.clock import ReactorClock
from kraft.process.memory_limit import ADDRESSES, PAGE_BYTES, MemoryLimit, MemoryUse
from kraft.process.memory_watch import CHECK_SECONDS, REST_SECONDS, TRIM_SECONDS, MemoryWatch, room_for_data

MIB = 1 << 20
TAIL = 32 * MIB


def use(resident, addresses=0):
    """In MiB."""
    pages = MIB // PAGE_BYTES
    return MemoryUse((addresses * pages, resident * pages, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("limit", "used", "data", "room"),
    [
        (256, 64, 0, 64),  # (256 - 64 - 64) / 2
        (256, 84, 20, 64),  # what is data already does not count twice
        (16_384, 64, 0, 8128),  # about half
        (128, 64, 0, 8),  # nothing is left: the least
    ],
)
def test_data_gets_half_of_what_is_left(limit, used, data, room):
    found = room_for_data([MemoryLimit(limit * MIB, "x")], use(used), data * MIB, TAIL)
    assert found == room * MIB


def test_each_limit_is_compared_with_what_it_limits():
    limits = [MemoryLimit(1024 * MIB, "addresses", ADDRESSES), MemoryLimit(512 * MIB, "resident")]
    assert room_for_data(limits, use(64, 800), 0, TAIL) == 80 * MIB
    assert room_for_data(limits, use(64, 100), 0, TAIL) == 192 * MIB


class World:
    """A process with this memory, and who is told."""

    def __init__(self, *limits):
        self.reactor = Reactor()
        clock = ReactorClock(self.reactor)
        clock.seconds = self.reactor.seconds
        self.now = use(100)
        self.freed = 0
        self.trims = 0
        self.told = []
        self.full = None
        self.checks = 0
        self.room = 0  # for data
        MemoryWatch(limits, lambda: self.now, clock, self, self, self.trim).start()

    def trim(self):
        self.trims += 1
        self.now = use(self.now.pages[1] * PAGE_BYTES // MIB - self.freed)

    def memory_checked(self, full):
        self.full = full
        self.checks += 1
        return self.room

    def memory_full(self, used, limit, source):
        self.told.append(("full", used // MIB, limit // MIB, source))

    def memory_has_room(self, used, limit):
        self.told.append(("room", used // MIB, limit // MIB))

    def uses(self, resident):
        self.now = use(resident)
        self.reactor.advance(CHECK_SECONDS)
        return self.full


def test_writes_are_refused_near_the_limit_and_admitted_some_way_below():
    """Each change is told once."""
    world = World(MemoryLimit(256 * MIB, "memory.max of x"), MemoryLimit(4096 * MIB, "machine"))
    assert [world.uses(size) for size in (224, 225, 225, 220, 216)] == [False, True, True, True, False]
    assert world.told == [("full", 225, 256, "memory.max of x"), ("room", 216, 256)]


def test_free_memory_goes_back_before_a_write_is_refused():
    """Not at every check: it takes time."""
    world = World(MemoryLimit(256 * MIB, "x"))
    world.freed = 50
    assert world.uses(230) is False
    assert world.uses(230) is True
    assert world.trims == 1
    world.reactor.advance(TRIM_SECONDS)
    assert (world.trims, world.full) == (2, False)


@pytest.mark.parametrize(
    ("limit", "used", "room", "checks"),
    [
        (4096, 100, 2000, 10),  # enough for a second
        (512, 100, 2000, 11),  # 348 MiB, a part of a second
        (4096, 100, 100, 40),  # the bound of the data is near
        (256, 200, 2000, 100),
    ],
)
def test_memory_is_looked_at_more_often_near_a_limit(limit, used, room, checks):
    world = World(MemoryLimit(limit * MIB, "x"), MemoryLimit(1 << 40, "machine"))
    world.now, world.room = use(used), room * MIB
    world.reactor.advance(REST_SECONDS)
    world.checks = 0
    world.reactor.pump([0.01] * 1000)
    assert world.checks == pytest.approx(checks, rel=0.1, abs=1)


def test_memory_is_watched_on_when_a_report_fails(monkeypatch):
    world = World(MemoryLimit(256 * MIB, "x"))
    monkeypatch.setattr(world, "memory_full", None)
    with pytest.raises(TypeError):
        world.uses(250)
    world.uses(100)
    assert world.uses(100) is False
