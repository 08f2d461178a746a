"""A backup that was made while slots moved is restored with one owner for each, and with each key once.

The logs are stamped by clocks that differ, and are shipped unequally far.
"""

import random
from collections.abc import Mapping

import pytest

from kraft.backup.archive import Archive
from kraft.backup.errors import BackupError
from kraft.backup.image import write_image
from kraft.host.membership.formation import cluster_id
from kraft.kv.commands import Activate, Release
from kraft.kv.machine import Machine
from kraft.kv.slot_map import owners, saved_map
from kraft.kv.slots import SLOTS, slot_of
from kraft.kv.transaction_order import may_apply
from kraft.moment import Moment
from kraft.storage.offline import replay as replays
from kraft.storage.offline.replay import LogReplay, position_of
from kraft.storage.offline.restoration import founders_of, open_backup, restore
from tests.backup.bank_of_groups import GROUPS, replayed
from tests.backup.directories import opened
from tests.backup.moving_slots import COUNT, KEYS, SLOT, MovingSlot
from tests.backup.sources import CLUSTER, START_MS, FakeSource, Twin

OFFSETS = [(0, 0, 0), (30, 0, -30), (-30, 0, 30), (0, 30, 0)]  # of the leaders' clocks, in ms
STEPS = 200
MOMENTS = 8


def check(machines: Mapping[int, Machine]) -> int:
    """Each key is in the group that has its slot, and no move is left. Returns the count."""
    having = [group for group, machine in machines.items() if COUNT in machine.keyspace]
    assert len(having) == 1, "the slot is in several groups, or in none"
    known = saved_map(machines[0].keyspace.ledger)
    for group, machine in machines.items():
        table = machine.keyspace.slots
        assert table is None or not table.is_moving
        found = sorted(key for key in machine.keyspace.records if slot_of(key) == SLOT)
        assert found == (sorted([*KEYS, COUNT]) if group in having else [])
        assert (table.owns(COUNT) if table else group == SLOT * GROUPS // SLOTS) == (group in having)
    assert known is None or (not known.moves and owners(known.ranges, SLOT, SLOT) == having)
    return int(machines[having[0]].keyspace.get(COUNT) or 0)


def expected(history: MovingSlot, restored: list[LogReplay]) -> int:
    """The last count among the entries that were applied."""
    lasts = [each.last.index for each in restored]
    return max(n for n, (group, before) in enumerate(history.counted, 1) if before < lasts[group])


def restored_at_random(seed: int, offsets: tuple[int, ...]) -> int:
    """Restore random moments, and logs that end at random places. Returns how many had left nothing out."""
    history = MovingSlot(seed, offsets).run(STEPS // 3)
    image, base = history.lengths(), history.now + max(offsets)
    history.run(STEPS)
    dice, ends, whole = random.Random(seed), history.lengths(), 0
    for _ in range(MOMENTS):
        last = min(log[-1].stamp for log in history.logs)
        at = Moment(time_ms=dice.randint(min(START_MS + base, last), last))
        shipped = [dice.randint(first, end) for first, end in zip(image, ends, strict=True)]
        for restored in (
            replayed(history, image, ends, at),
            replayed(history, image, shipped),
            replayed(history, shipped, shipped) if is_cut(history, shipped) else [],
        ):
            if restored:
                found = check({each.group: each.machine for each in restored})
                assert found == expected(history, restored)
                whole += not any(each.left_out for each in restored)
    return whole


def is_cut(history: MovingSlot, lengths: list[int]) -> bool:
    """Whether an image may stand there: what its entries rest on is in it."""
    restored = replayed(history, [0] * GROUPS, lengths)
    return not any(each.left_out for each in restored)


@pytest.mark.parametrize("offsets", OFFSETS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_every_slot_is_restored_with_one_owner(seed, offsets):
    assert restored_at_random(seed, offsets)


def test_what_is_restored_to_disk_has_each_key_once(tmp_path):
    """With images and segments in files, and the state files of the new cluster."""
    history = MovingSlot(5, (30, 0, -30)).run(60)
    image = history.lengths()
    history.run(300)
    archive = Archive.of_cluster(tmp_path / "backup", CLUSTER, None)
    archive.folder.mkdir(parents=True)
    twins = [Twin().apply(log[:length]) for log, length in zip(history.logs, image, strict=True)]
    manifest = write_image(FakeSource(*twins), archive.folder, "image", None)
    for group, log in enumerate(history.logs):
        shipped = archive.shipped_log(CLUSTER, group)
        shipped.begin(position_of(manifest.groups[group]))
        if log[image[group] :]:
            shipped.append(log[image[group] :])
        shipped.close()
    last = min(log[-1].stamp for log in history.logs)
    for number, before in enumerate((0, 40, 80, 120)):
        backup = open_backup(str(tmp_path / "backup"), Moment(time_ms=last - before), None)
        founders = founders_of([("K1", "h1:1")], "t", backup.manifest)
        directory = tmp_path / f"data{number}"
        identity, _ = restore(backup, str(directory), "K1", founders, cluster_id)
        assert identity.groups == GROUPS
        checkpoints = opened(directory).checkpoints
        check({group: Machine.restored(space, 0, 0, 1) for group, (_, space) in checkpoints.items()})


@pytest.mark.parametrize("rule", [Activate, Release])
def test_each_rule_is_needed(monkeypatch, rule):
    """Without it a restore fails, or a slot has two owners or none, soon."""

    def without(command, group, machines):
        return isinstance(command, rule) or may_apply(command, group, machines)

    monkeypatch.setattr(replays, "may_apply", without)
    for seed in range(20):
        for offsets in OFFSETS:
            try:
                restored_at_random(seed, offsets)
            except (AssertionError, BackupError):
                return
    pytest.fail("nothing went wrong")
