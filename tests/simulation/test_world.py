"""Virtual time: deferred calls of a process keep their order, however late they run."""

from functools import partial

import pytest

from tests.simulation.world import NodeClock, World


class Busy:
    """A process that defers calls and records their order in `done`."""

    def __init__(self, seed):
        self.world = World(seed)
        self.clock = NodeClock(self.world, 0.0, -0.3, self.world.dice("clock"))
        self.clock.slow = 20.0
        self.clock.busy = 0.02
        self.done = []

    def put_off(self, number):
        self.clock.call_soon(partial(self.done.append, number))

    def calm_down(self):
        self.clock.busy = 0.0


@pytest.mark.parametrize("seed", range(20))
def test_what_is_put_off_keeps_its_order_also_when_the_process_is_not_busy_any_more(seed):
    process = Busy(seed)
    for number in range(40):
        process.world.call_later(0.001 * number, partial(process.put_off, number))
    process.world.call_later(0.02, process.calm_down)
    process.world.run_until(1.0)
    assert process.done == list(range(40))


def test_what_was_put_off_keeps_its_order_through_a_pause():
    process = Busy(1)
    process.world.call_later(0.01, process.clock.pause)
    for number in range(40):
        process.world.call_later(0.001 * number, partial(process.put_off, number))
    process.world.call_later(0.03, process.clock.resume)
    process.world.run_until(1.0)
    assert process.done == list(range(40))


def test_messages_overtake_what_a_busy_process_puts_off():
    world = World(1)
    clock = NodeClock(world, 0.0, 0.0, world.dice("clock"))
    clock.busy = 1.0
    done = []
    clock.call_soon(lambda: done.append("put off"))
    world.call_later(0.000_1, lambda: clock.run(lambda: done.append("message")))
    world.run_until(2.0)
    assert done == ["message", "put off"]


def test_who_is_not_busy_puts_nothing_off():
    world = World(1)
    clock = NodeClock(world, 0.0, 0.2, world.dice("clock"))
    done = []
    clock.call_soon(lambda: done.append(world.now))
    world.run_until(1.0)
    assert done == [0.0]
