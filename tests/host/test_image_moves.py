"""Images that are opened while a slot moves, with real hosts: they have each key once."""

from functools import partial
from types import SimpleNamespace

import pytest

from kraft.host.backup.pinned_images import PinnedImage
from kraft.kv.commands import Activate, Close, EndMove, Freeze, Import, Increment, Open, Put, Release, Sweep
from kraft.kv.conclusion import conclude
from kraft.kv.replies import CommandFailure
from kraft.kv.slot_map import owners, saved_map
from kraft.kv.slots import SLOTS, SlotState, slot_of
from tests.host.image_machines import machines_of
from tests.host.test_mover import Movable

KEYS = [b"{a}%d" % number for number in range(20)]  # of one slot of group 1
SLOT = slot_of(KEYS[0])
OTHERS = [b"other %d" % number for number in range(20)]
COUNT = b"{a}count"
VALUE = b"v" * 300
STEPS = (Open, Import, Freeze, Activate, Release, Sweep, Close, EndMove)
DELAYS = (0.0, 0.004, 0.015)  # seconds after the step was sent


class Counted(Movable):
    """A client counts in the slot, in whatever group it is, and an image is opened at a step of a move."""

    def __init__(self):
        super().__init__()
        for key in (*KEYS, *OTHERS):
            self.write(slot_of(key) * 2 // SLOTS, Put(key, VALUE))
        self.counted = 0  # acknowledged
        self.open = True
        self.opened: list[PinnedImage | Exception] = []
        self.before = 0  # acknowledged when the image was asked for
        self._step: tuple[type, float] | None = None
        for process in self.processes():
            moves = process.host.moves
            moves._requests = SimpleNamespace(write=partial(self._write, moves._requests.write))
        self.count(None)

    def _write(self, write, group, commands, size, done, *, waits=False):
        write(group, commands, size, done, waits=waits)
        if self._step is not None and type(commands[0]) is self._step[0]:
            delay, self._step = self._step[1], None
            self.world.call_later(delay, self._open_image)

    def _open_image(self):
        self.before = self.counted
        self.host("K1").open_image(self.opened.append)

    def count(self, outcome):
        if isinstance(outcome, list) and type(outcome[0]) is int:  # else a CommandFailure
            assert outcome[0] == self.counted + 1
            self.counted = outcome[0]
        if self.open:
            group = self.host("K1").slots.group_of(SLOT)
            self.host("K1").write(group, [Increment(COUNT, 1)], 20, self._counted)

    def _counted(self, outcome):
        """Look for a slot that has gone a moment later."""
        wait = 0.005 if outcome == [CommandFailure.NOT_OWNER] else 0.0
        self.world.call_later(wait, partial(self.count, outcome))

    def image_at(self, step, delay, receiver):
        """The image that is opened at a step of a move."""
        self._step = step, delay
        self.move(receiver=receiver)
        assert self.run(60, lambda: bool(self.opened))
        image = self.opened.pop()
        assert isinstance(image, PinnedImage), image
        return machines_of(self, image)


def check(machines, before, after):
    """Each key is in the group that owns it, all are there, and so is each count that was acknowledged."""
    conclude(machines, len(machines))
    keys = [key for machine in machines.values() for key in machine.keyspace.records if key != COUNT]
    assert sorted(keys) == sorted(KEYS + OTHERS)
    known = saved_map(machines[0].keyspace.ledger)
    for group, machine in machines.items():
        table = machine.keyspace.slots
        assert table is None or not table.is_moving
        for key in machine.keyspace.records:
            slot = slot_of(key)
            assert table.state(key) == SlotState.OWN if table else slot * 2 // SLOTS == group
            assert known is None or owners(known.ranges, slot, slot) == [group]
    [count] = [space for machine in machines.values() if (space := machine.keyspace.get(COUNT)) is not None]
    assert before <= int(count) <= after


def stands(machines):
    """How far the move is in each group."""
    tables = [machine.keyspace.slots for machine in machines.values()]
    return tuple(
        None if table is None else (table.state(COUNT), *(move.state for move in table.moves.values()))
        for table in tables
    )


@pytest.mark.parametrize("delay", DELAYS)
def test_an_image_at_any_step_of_a_move_has_each_key_once(delay):
    cluster, cuts = Counted(), set()
    for number, step in enumerate(STEPS):
        machines = cluster.image_at(step, delay, receiver=number % 2)
        cuts.add(stands(machines))
        check(machines, cluster.before, cluster.counted + 1)
        assert cluster.run(60, cluster.over)
        assert cluster.host("K1").slots.group_of(SLOT) == number % 2
    cluster.open = False
    assert len(cuts) > 3, cuts
