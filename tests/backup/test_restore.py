"""A restored directory against a state machine that had the same entries: at every moment."""

import pytest

from kraft.backup.errors import BackupError, NothingThere
from kraft.host.membership.formation import cluster_id
from kraft.moment import LATEST, Moment
from kraft.storage.directory import RESTORING_FILE
from kraft.storage.errors import DirectoryUnusable
from kraft.storage.offline.restoration import founders_of, open_backup, rehearse, restore
from tests.backup.directories import opened
from tests.backup.sources import MEMBERS, OLD, SECOND_MS, START_MS, Twin, backed_up, history, make_image


def restored(backup_directory, directory, moment=LATEST, *, members=(("K1", "h1:1"),), node="K1", token="t"):
    backup = open_backup(str(backup_directory), moment, None)
    founders = founders_of(members, token, backup.manifest)
    return restore(backup, str(directory), node, founders, cluster_id)


def content(loaded, group=0):
    checkpoint, keyspace = loaded.checkpoints[group]
    return {r.key: (r.value, r.revision) for r in keyspace.records.values()}, checkpoint.revision


def wanted(twin):
    records = twin.machine.keyspace.records.values()
    return {r.key: (r.value, r.revision) for r in records}, twin.machine.revision


def test_an_image_comes_back_with_the_sum_that_it_had(tmp_path):
    twin = Twin().apply(history(1, 20))
    archive = backed_up(tmp_path / "backup", 20, 20)
    identity, (target,) = restored(archive.folder, tmp_path / "data")
    assert target.sum == twin.checkpoint().sum.hex()
    assert (target.index, target.entries, target.keys) == (20, 0, 21)
    assert content(opened(tmp_path / "data")) == wanted(twin)
    assert identity.cluster == opened(tmp_path / "data").identity.cluster


@pytest.mark.parametrize("at", range(10, 31, 3))
def test_every_time_gives_the_state_of_that_time(tmp_path, at):
    backed_up(tmp_path / "backup", 10, 30)
    moment = Moment(time_ms=START_MS + at * SECOND_MS + 500 * (at < 30))
    _, (target,) = restored(tmp_path / "backup", tmp_path / "data", moment)
    assert target.index == at
    twin = Twin().apply(history(1, at))
    assert content(opened(tmp_path / "data")) == wanted(twin)
    assert target.sum == twin.checkpoint().sum.hex()


@pytest.mark.parametrize("revision", [20, 21, 37, 60])
def test_every_revision_gives_the_state_of_that_revision(tmp_path, revision):
    """Also one in the middle of an entry."""
    backed_up(tmp_path / "backup", 10, 30)
    _, (target,) = restored(tmp_path / "backup", tmp_path / "data", Moment(revision=revision))
    assert target.revision == revision
    found, _ = content(opened(tmp_path / "data"))
    assert found[b"counter"][0] == b"%d" % ((revision + 1) // 2)
    assert max(each[1] for each in found.values()) == revision


def test_the_last_state_is_restored_without_a_moment(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    _, (target,) = restored(tmp_path / "backup", tmp_path / "data")
    assert (target.index, target.entries) == (30, 20)
    assert content(opened(tmp_path / "data")) == wanted(Twin().apply(history(1, 30)))


def test_an_image_that_is_named_is_restored_as_it_is(tmp_path):
    """What was deleted after it must not be deleted again. On demand the log goes on from there."""
    archive = backed_up(tmp_path / "backup", 10, 30)
    image = archive.folder / "image"
    _, (target,) = restored(image, tmp_path / "data", None)
    assert (target.index, target.entries) == (10, 0)
    assert content(opened(tmp_path / "data")) == wanted(Twin().apply(history(1, 10)))
    _, (target,) = restored(image, tmp_path / "more", LATEST)
    assert (target.index, target.entries) == (30, 20)
    assert open_backup(str(tmp_path / "backup"), None, None).moment == LATEST


def test_the_newest_image_before_the_moment_is_taken(tmp_path):
    archive = backed_up(tmp_path / "backup", 10, 30)
    make_image(archive, Twin().apply(history(1, 20)), "later", START_MS + 20 * SECOND_MS)
    for at, name in ((15, "image"), (25, "later")):
        moment = Moment(time_ms=START_MS + at * SECOND_MS)
        backup = open_backup(str(tmp_path / "backup"), moment, None)
        assert backup.manifest.name == name
        assert rehearse(backup)[0].index == at


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (Moment(time_ms=START_MS + 9 * SECOND_MS), "the first image, image, is of"),
        (Moment(time_ms=START_MS + 31 * SECOND_MS), "reaches to 2023-11-14 22:13:50.000 UTC"),
        (Moment(revision=19), "after revision 19"),
        (Moment(revision=61), "reaches to revision 60"),
    ],
)
def test_a_moment_that_is_not_in_the_backup_is_refused(tmp_path, moment, text):
    backed_up(tmp_path / "backup", 10, 30)
    with pytest.raises(NothingThere, match=text):
        restored(tmp_path / "backup", tmp_path / "data", moment)


def test_a_cluster_that_was_quiet_can_be_restored_to_a_quiet_moment(tmp_path):
    archive = backed_up(tmp_path / "backup", 10, 30)
    log = archive.shipped_log("c" * 32, 0)
    assert log.resume()
    log.note(START_MS + 90 * SECOND_MS)
    _, (target,) = restored(tmp_path / "backup", tmp_path / "data", Moment(time_ms=START_MS + 60 * SECOND_MS))
    assert target.index == 30


def test_the_cluster_is_a_new_one(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    restored(tmp_path / "backup", tmp_path / "one", token="first")
    restored(tmp_path / "backup", tmp_path / "two", token="second")
    one, two = opened(tmp_path / "one"), opened(tmp_path / "two")
    assert one.identity.cluster != two.identity.cluster
    assert one.identity.incarnation != two.identity.incarnation
    configuration = one.groups[0].base.configuration
    assert configuration.voters == ("K1",)
    assert set(configuration.retired) == {member.incarnation for member in OLD.members}
    assert configuration.fault() is None
    assert one.identity.incarnation not in {member.incarnation for member in MEMBERS}


def test_three_founders_know_one_another(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    members = (("K1", "h1:1"), ("K2", "h2:1"), ("K3", "h3:1"))
    for id_, _ in members:
        restored(tmp_path / "backup", tmp_path / id_, members=members, node=id_)
    found = [opened(tmp_path / id_, id_) for id_, _ in members]
    assert len({loaded.identity.cluster for loaded in found}) == 1
    assert len({loaded.groups[0].base for loaded in found}) == 1
    by_id = {member.id: member.incarnation for member in found[0].groups[0].base.configuration.members}
    assert by_id == {loaded.identity.id: loaded.identity.incarnation for loaded in found}


def test_a_directory_with_anything_in_it_is_refused(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/notes").write_text("mine")
    with pytest.raises(DirectoryUnusable, match=r"is not empty \(notes\)"):
        restored(tmp_path / "backup", tmp_path / "data")
    assert (tmp_path / "data/notes").read_text() == "mine"


def test_no_node_starts_where_a_restore_was_interrupted(tmp_path, monkeypatch):
    backed_up(tmp_path / "backup", 10, 30)
    with monkeypatch.context() as patch:
        patch.setattr("kraft.storage.offline.restoration._write_log", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            restored(tmp_path / "backup", tmp_path / "data")
    assert (tmp_path / "data" / RESTORING_FILE).exists()
    with pytest.raises(DirectoryUnusable, match="interrupted: repeat kraft restore"):
        opened(tmp_path / "data")
    _, (target,) = restored(tmp_path / "backup", tmp_path / "data")
    assert (target.index, not (tmp_path / "data" / RESTORING_FILE).exists()) == (30, True)
    assert content(opened(tmp_path / "data")) == wanted(Twin().apply(history(1, 30)))


def _interrupted(*_):
    raise KeyboardInterrupt


def test_a_rehearsal_changes_nothing(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    backup = open_backup(str(tmp_path / "backup"), LATEST, None)
    (target,) = rehearse(backup)
    assert (target.index, target.entries) == (30, 20)
    assert not (tmp_path / "data").exists()


def test_several_clusters_in_one_directory_are_told_apart(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    (tmp_path / "backup/dddddddddddd").mkdir()
    with pytest.raises(BackupError, match="backups of several clusters: name one of"):
        open_backup(str(tmp_path / "backup"), LATEST, None)
