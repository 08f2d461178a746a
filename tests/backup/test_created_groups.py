"""Backups of a cluster in which groups were created."""

import msgspec
import pytest

from kraft.backup.archive import Archive
from kraft.backup.errors import BackupError
from kraft.backup.image import write_image
from kraft.backup.manifest import render
from kraft.backup.shipped_log import LogPosition
from kraft.host.membership.formation import cluster_id
from kraft.kv import commands
from kraft.moment import Moment
from kraft.storage.offline.restoration import founders_of, open_backup, restore
from tests.backup.directories import opened
from tests.backup.sources import CLUSTER, SECOND_MS, START_MS, FakeSource, Twin, batch, history, make_image


def restored(tmp_path, moment):
    backup = open_backup(str(tmp_path / "backup"), moment, None)
    founders = founders_of([("K1", "h1:1")], "t", backup.manifest)
    identity, _ = restore(backup, str(tmp_path / "data"), "K1", founders, cluster_id)
    return identity


def test_the_number_at_the_beginning_is_restored_too(tmp_path):
    """The slots are divided by it, where no group says otherwise."""
    archive = Archive.of_cluster(tmp_path / "backup", CLUSTER, None)
    archive.folder.mkdir(parents=True)
    source = FakeSource(*(Twin().apply(history(1, 5)) for _ in range(3)))
    source.head = msgspec.structs.replace(source.head, founded=1)
    write_image(source, archive.folder, "image", None)
    identity = restored(tmp_path, Moment())
    assert (identity.groups, identity.created) == (1, 2)
    assert identity.cluster == cluster_id(identity.members, 1)
    assert opened(tmp_path / "data").identity == identity


def test_an_image_without_created_groups_is_written_as_before():
    source = FakeSource(Twin().apply(history(1, 5)))
    assert b"founded" not in render(source.head, None)
    assert source.head.founded_groups == 1


def test_a_log_that_creates_groups_without_an_image_is_refused(tmp_path):
    """Slots may have moved there, and their keys are in no image."""
    archive = Archive.of_cluster(tmp_path / "backup", CLUSTER, None)
    entries = [*history(1, 8), batch(9, commands.AddGroups(1, 2, b"")), *history(10, 12)]
    make_image(archive, Twin().apply(entries[:5]))
    log = archive.shipped_log(CLUSTER, 0)
    log.begin(LogPosition(5, 2, entries[4].stamp))
    log.append(entries[5:])
    log.close()
    with pytest.raises(BackupError, match=r"created after this image.*with --at a time before that"):
        restored(tmp_path, Moment())
    identity = restored(tmp_path, Moment(time_ms=START_MS + 8 * SECOND_MS))
    assert (identity.groups, identity.created) == (1, 0)
