"""The shadow of a real disk: what it forgives, and what not."""

import re
from random import Random

import pytest

from kraft.kv.checkpoint import Capture
from kraft.node.values import Identity, Transaction
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.damage import DamageFound
from kraft.storage.errors import DamagedLog
from tests.simulation.disk import Disk
from tests.simulation.durable_state import DurableState
from tests.simulation.realdisk import RealStorage
from tests.simulation.violation import Violation
from tests.simulation.world import NodeClock, World

FRAME_BYTES = 4096 + 24
LAST = 5


@pytest.fixture
def logged():
    """A log of some entries."""
    storage = RealStorage(DurableState(Identity("K1", "1" * 32)), Random(1))
    storage.load()
    entries = tuple(Entry(i, 1, i, EntryKind.NOOP, b"") for i in range(1, LAST + 1))
    write(storage, Persist(1, HardState(1, "K1"), None, entries, LAST))
    yield storage
    storage.gone()


@pytest.fixture
def storage(logged):
    """The same, a checkpoint, and then a cut that leaves nothing of the log."""
    assert logged.checkpoint(0, Capture(base(LAST), 0, {})) is not None
    write(logged, Persist(2, None, None, (), LAST, base(LAST)))
    return logged


@pytest.fixture
def twice(logged):
    """Two checkpoints, the second one in the WAL, and all of the log."""
    assert logged.checkpoint(0, Capture(base(3), 0, {})) is not None
    assert logged._states.write(0, Capture(base(LAST), 0, {}), logged._database)
    logged._checkpoints[0] = LAST
    logged.close()
    logged.settle()
    flip_the_last_frame(logged, "state-0-1.db-wal")
    return logged


def base(index):
    return Base(index=index, term=1, stamp=index)


def write(storage, persist):
    assert storage.commit(Transaction(((0, persist),), None))


def restart(storage):
    storage.close()
    storage.settle()
    return storage.load().groups[0]


def test_a_cut_lasts(storage):
    restored = restart(storage)
    assert (restored.base.index, restored.last_index) == (LAST, LAST)


def test_damage_that_a_process_met_is_refused_by_the_next_one(logged, monkeypatch):
    """Although everything that a start reads is whole; a power cut in between changes nothing."""

    def damaged(_transactions: object) -> None:
        raise DamagedLog("log.db", "a free page")

    told: list[str] = []
    world, dice = World(1), Random(1)
    clock = NodeClock(world, 0, 0.0, dice)
    disk = Disk(world, clock, logged, dice, told.append, lambda: pytest.fail("crash"))
    monkeypatch.setattr(logged._database, "commit", damaged)
    persist = Persist(3, HardState(2), None, (), LAST)
    disk.commit(Transaction(((0, persist),), None), lambda _: pytest.fail("it is durable"))
    world.run_until(1.0)
    assert "re-admit the node with KRAFT REPLACE" in told[0]
    for power_lost in (False, True):
        logged.close()
        logged.power_lost = power_lost
        with pytest.raises(DamageFound, match=re.escape(told[0])):
            logged.load()


def test_a_cut_that_a_damaged_frame_undid_is_not_missed(storage):
    """Nothing but it was in the newest frames: all entries are there, and some more."""
    storage.close()
    storage.settle()
    flip_the_last_frame(storage)
    restored = storage.load().groups[0]
    assert (restored.base.index, restored.last_index) == (0, LAST)
    assert restart(storage).base.index == 0


def test_without_a_flipped_bit_it_is_missed(storage):
    storage.close()
    storage.settle()
    flip_the_last_frame(storage)
    storage._flipped = False
    with pytest.raises(Violation, match="not as it was left: log 0 to 5, not 5 to 5"):
        storage.load()


def test_a_damaged_checkpoint_is_not_missed_where_the_log_goes_back_to_the_one_before(twice):
    """Seed 11680."""
    loaded = twice.load()
    assert loaded.checkpoints[0][0].base.index == 3
    assert loaded.groups[0].base.index == 0


def test_without_a_flipped_bit_a_checkpoint_is_missed(twice):
    twice._flipped = False
    with pytest.raises(Violation, match="the checkpoint of group 0 at 5 is gone"):
        twice.load()


def flip_the_last_frame(storage, name="log.db-wal"):
    wal = storage.files.files[name]
    wal.now[len(wal.now) - FRAME_BYTES // 2] ^= 1
    wal.sync()
    storage._flipped = True
