"""Real SQLite on a disk that loses data: a power cut at any write or sync loses nothing acknowledged.

It never makes the next start refuse a healthy directory: the high-water file may be old, but is never ahead;
and at every moment one state file is in force, at an index of the log.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.storage.errors import DamagedLog, StorageError
from tests.storage.node import Node
from tests.storage.simulated import PowerCut, SimulatedDirectory, SimulatedDisk
from tests.storage.twin import step


class Machine:
    """A node on a simulated disk."""

    def __init__(self, seed):
        self.disk = SimulatedDisk(f"simulated-{seed}", seed)
        self.node = Node(SimulatedDirectory(self.disk), self.disk.name)

    def run(self, plans, cut_at):
        """Carry the plans out until the power cut."""
        self.disk.cut_at = self.disk.steps + cut_at
        try:
            for plan in plans:
                self.node.carry_out(plan)
        except (PowerCut, StorageError):
            assert self.disk.off
        self.node.die()
        self.disk.power_on()

    def restart(self, cut_at=None):
        """Start again; after a power cut during the start, start once more."""
        if cut_at is not None:
            self.disk.cut_at = self.disk.steps + cut_at
            try:
                self.node.open()
                self.node.die()
            except (PowerCut, StorageError):
                assert self.disk.off
            self.disk.power_on()
        self.node.restart()

    def stop(self):
        self.node.die()
        self.disk.unregister()


life = st.tuples(st.lists(step, min_size=1, max_size=12), st.integers(1, 250), st.none() | st.integers(1, 12))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), lives=st.lists(life, max_size=3))
def test_a_power_cut_anywhere_loses_nothing_acknowledged(seed, lives):
    machine = Machine(seed)
    try:
        for plans, cut_at, cut_start_at in lives:
            machine.run(plans, cut_at)
            machine.restart(cut_start_at)
        machine.node.read_back()
    finally:
        machine.stop()


PLAN = {
    "group": 0,
    "new_term": False,
    "vote": None,
    "cut": None,
    "entries": [b"one", b"two"],
    "configuration": False,
    "commit": 8,
    "base": None,
    "snapshot": None,
    "keys": [(number, b"value" * 20) for number in range(6)],
    "version": 1,
    "then": "state",
}
STORY = [
    PLAN,
    PLAN | {"keys": [(1, None), (2, b"new"), (30, b"more")]},
    PLAN | {"keys": [(2, b"newer")], "version": 2},
    PLAN | {"keys": [(3, b"after the flush")], "flush": True},
    PLAN | {"base": 2, "then": "checkpoint"},
    PLAN | {"snapshot": 9, "keys": [(number, b"other" * 30) for number in range(9)], "then": "go on"},
    PLAN | {"base": 12},
    PLAN | {"snapshot": 1, "then": "state"},
]


def test_every_single_write_and_sync_of_a_story():
    """A first checkpoint, a second one, a third one that migrates the file, the log cut after it, a snapshot
    in its place, and another one.
    """
    machine = Machine(0)
    begun = machine.disk.steps
    for plan in STORY:
        machine.node.carry_out(plan)
    steps = machine.disk.steps - begun
    machine.stop()
    assert steps > 100
    for cut_at in range(1, steps + 1):
        machine = Machine(cut_at)
        machine.run(STORY, cut_at)
        machine.restart()
        machine.node.carry_out(PLAN)
        machine.node.close()
        machine.node.restart()
        machine.stop()


def test_the_simulated_disk_can_forget(write):
    """The test above proves something: a disk that lies about syncs does lose entries, and that is noticed.

    The lie spares the high-water file; if it were lost too, the loss could not be noticed.
    """
    machine = Machine(1)
    machine.node.log.commit([write(1, 3)])
    wal = machine.disk.files["log.db-wal"]
    wal.sync = lambda: None
    machine.node.log.commit([write(4, 9)])
    machine.disk.files["highwater"].sync()
    wal.pending.clear()
    machine.node.die()
    machine.disk.power_on()

    with pytest.raises(DamagedLog, match="ends at index 3 of term 1, but index 9 of term 1 was stored"):
        machine.node.open()
    machine.disk.unregister()
