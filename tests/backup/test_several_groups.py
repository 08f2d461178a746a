"""A backup of several groups is restored as one cut: every transaction over groups is whole, or not there.

The logs are stamped by clocks that differ, and are shipped unequally far.
"""

import random

import pytest

from kraft.backup.archive import Archive
from kraft.backup.image import write_image
from kraft.host.membership.formation import cluster_id
from kraft.kv.commands import Commit, Forget, Resolve
from kraft.kv.machine import Machine
from kraft.kv.transaction_order import may_apply
from kraft.moment import Moment
from kraft.storage.offline import replay as replays
from kraft.storage.offline.replay import position_of
from kraft.storage.offline.restoration import founders_of, open_backup, restore
from tests.backup.bank_of_groups import GROUPS, GroupsBank, halves, replayed, total
from tests.backup.directories import opened
from tests.backup.sources import CLUSTER, START_MS, FakeSource, Twin

OFFSETS = [(0, 0, 0), (300, 0, -300), (-300, 0, 300), (0, 300, 0)]  # of the leaders' clocks, in ms
STEPS = 250
MOMENTS = 6


def whole(bank: GroupsBank, image: list[int], ends: list[int], moment: Moment) -> tuple[bool, int]:
    """Whether what is restored is whole, and how many entries were left out."""
    restored = replayed(bank, image, ends, moment)
    machines = [each.machine for each in restored]
    for machine in machines:
        index = machine.keyspace.transactions
        assert not index.prepared
        assert not index.decisions
    return not halves(machines) and total(machines) == 0, sum(each.left_out for each in restored)


def restored_at_random(seed: int, offsets) -> list[tuple[bool, int]]:
    """The outcomes of restores to random moments, and of logs that end at random places."""
    bank = GroupsBank(seed, offsets).run(STEPS // 3)
    image = bank.lengths()
    base = bank.now + max(offsets)  # no moment before it can be restored
    bank.run(STEPS)
    dice, ends = random.Random(seed), bank.lengths()
    outcomes = []
    for _ in range(MOMENTS):
        last = min(log[-1].stamp for log in bank.logs)
        if START_MS + base < last:
            at = Moment(time_ms=dice.randint(START_MS + base, last))
            outcomes.append(whole(bank, image, ends, at))
        shipped = [dice.randint(first, end) for first, end in zip(image, ends, strict=True)]
        outcomes.append(whole(bank, image, shipped, Moment()))
    return outcomes


@pytest.mark.parametrize("offsets", OFFSETS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_every_transaction_is_restored_whole_or_not_at_all(seed, offsets):
    outcomes = restored_at_random(seed, offsets)
    assert len(outcomes) >= MOMENTS
    assert all(sound for sound, _ in outcomes)


def test_nothing_is_left_out_of_whole_logs():
    """Nor of logs up to a time, where the clocks agree."""
    bank = GroupsBank(1, (0, 0, 0)).run(100)
    image = bank.lengths()
    bank.run(200)
    last = min(log[-1].stamp for log in bank.logs)
    for moment in (Moment(), *(Moment(time_ms=last - before) for before in range(0, 200, 20))):
        assert whole(bank, image, bank.lengths(), moment) == (True, 0)


def test_what_is_restored_to_disk_is_whole(tmp_path):
    """With images and segments in files, and the state files of the new cluster."""
    bank = GroupsBank(5, (300, 0, -300)).run(100)
    image = bank.lengths()
    bank.run(500)
    archive = Archive.of_cluster(tmp_path / "backup", CLUSTER, None)
    archive.folder.mkdir(parents=True)
    twins = [Twin().apply(log[:length]) for log, length in zip(bank.logs, image, strict=True)]
    manifest = write_image(FakeSource(*twins), archive.folder, "image", None)
    for group, log in enumerate(bank.logs):
        shipped = archive.shipped_log(CLUSTER, group)
        shipped.begin(position_of(manifest.groups[group]))
        shipped.append(log[image[group] :])
        shipped.close()
    last = min(log[-1].stamp for log in bank.logs)
    backup = open_backup(str(tmp_path / "backup"), Moment(time_ms=last - 100), None)
    founders = founders_of([("K1", "h1:1")], "t", backup.manifest)
    _, targets = restore(backup, str(tmp_path / "data"), "K1", founders, cluster_id)
    assert any(target.left_out for target in targets)
    checkpoints = opened(tmp_path / "data").checkpoints
    machines = [Machine.restored(keyspace, 0, 0, 1) for _, keyspace in checkpoints.values()]
    assert len(machines) == GROUPS
    assert not halves(machines)
    assert total(machines) == 0


@pytest.mark.parametrize("rule", [Commit, Resolve, Forget])
def test_each_rule_is_needed(monkeypatch, rule):
    """Without it a restore has one half of a transaction, soon."""

    def without(command, group, machines):
        return isinstance(command, rule) or may_apply(command, group, machines)

    monkeypatch.setattr(replays, "may_apply", without)
    found = False
    for seed in range(40):
        for offsets in OFFSETS:
            found = found or not all(sound for sound, _ in restored_at_random(seed, offsets))
        if found:
            break
    assert found
