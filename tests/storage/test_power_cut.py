"""Real SQLite on a disk that forgets: a power cut at any write or sync loses nothing acknowledged.

And it never makes the next start refuse a healthy log: the high-water file may be old, never ahead.
"""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.host.ports import Transaction
from kraft.storage.errors import DamagedLog
from kraft.storage.logdatabase import LogDatabase
from kraft.storage.ports import Settings
from tests.storage.simulated import PowerCut, SimulatedDirectory, SimulatedDisk
from tests.storage.twin import Twin, check, persist, step


def opened(disk):
    return LogDatabase(
        SimulatedDirectory(disk),
        node_id="K1",
        incarnation=lambda: "ab" * 16,
        settings=Settings(tail_bytes=1000),
        vfs=disk.name,
    )


class Machine:
    """A database on a simulated disk beside the twins of its groups."""

    def __init__(self, seed):
        self.disk = SimulatedDisk(f"simulated-{seed}", seed)
        self.database = opened(self.disk)
        self.twins: dict[int, Twin] = {}
        self.before: dict[int, Twin] = {}

    def run(self, plans, cut_at):
        """Carry the plans out until the power goes; `before` are the twins without the last commit."""
        self.disk.cut_at = self.disk.steps + cut_at
        try:
            for plan in plans:
                self.before = copy.deepcopy(self.twins)
                write = persist(self.twins.setdefault(plan["group"], Twin()), plan)
                assert self.database.commit([Transaction(((plan["group"], write),))])
                self.before = self.twins
                if plan["then"] in ("checkpoint", "close"):
                    assert self.database.checkpoint()
        except PowerCut:
            pass
        self.database.abandon()
        self.disk.power_on()

    def restart(self):
        """Open again: all of the last commit is there, or none of it; the twins follow."""
        self.database = opened(self.disk)
        try:
            check(self.database.loaded, self.twins)
        except (AssertionError, KeyError):
            check(self.database.loaded, self.before)
            self.twins = self.before

    def stop(self):
        self.database.abandon()
        self.disk.unregister()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    lives=st.lists(st.tuples(st.lists(step, min_size=1, max_size=12), st.integers(1, 60)), max_size=3),
)
def test_a_power_cut_anywhere_loses_nothing_acknowledged(seed, lives):
    machine = Machine(seed)
    try:
        for plans, cut_at in lives:
            machine.run(plans, cut_at)
            machine.restart()
    finally:
        machine.stop()


def test_the_simulated_disk_can_forget(write):
    """The test above means something: a disk that lies about syncs does lose entries, and that is noticed.

    The lie spares the high-water file: had it been lost too, nobody could tell.
    """
    machine = Machine(1)
    machine.database.commit([write(1, 3)])
    wal = machine.disk.files["log.db-wal"]
    wal.sync = lambda: None
    machine.database.commit([write(4, 9)])
    machine.disk.files["highwater"].sync()
    wal.pending.clear()
    machine.database.abandon()
    machine.disk.power_on()

    with pytest.raises(DamagedLog, match="ends at index 3 of term 1, but index 9 of term 1 was stored"):
        opened(machine.disk)
    machine.disk.unregister()
