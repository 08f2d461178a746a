"""Backups of a cluster in which groups were created."""

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as replaced

from kraft.backup.archive import Archive
from kraft.backup.errors import BackupError
from kraft.backup.image import write_image
from kraft.backup.manifest import render
from kraft.backup.shipped_log import LogPosition
from kraft.cli.main import main
from kraft.host.membership.formation import cluster_id
from kraft.kv import commands
from kraft.kv.machine import Machine
from kraft.kv.move_reply import move_reply
from kraft.kv.slots import SLOTS
from kraft.kv.versions import MACHINE_VERSION, encode_version
from kraft.moment import Moment
from kraft.raft.messages import Entry, EntryKind
from kraft.storage.offline.restoration import founders_of, open_backup, rehearse, restore
from tests.backup.directories import content_of, opened
from tests.backup.moving_slots import COUNT, KEYS, SLOT, activate
from tests.backup.sources import CLUSTER, OLD, SECOND_MS, START_MS, FakeSource, Twin, history, make_image


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


class Log:
    """The log of a group, and its state."""

    def __init__(self, *first: Entry) -> None:
        self.entries = list(first)
        self.machine = Machine()

    def do(self, command: commands.Command, second: int) -> object:
        stamp = START_MS + second * SECOND_MS
        self.entries.append(
            Entry(len(self.entries) + 1, 2, stamp, EntryKind.COMMANDS, commands.encode([command]))
        )
        return self.machine.apply(stamp, [command])[0]


def grown() -> tuple[list[Entry], list[Entry]]:
    """The logs of a cluster of one group. After 10 s a second one is created, and gets a slot."""
    first = Entry(1, 1, 0, EntryKind.CONFIGURATION, OLD.encode())
    raised = Entry(2, 2, START_MS + 10 * SECOND_MS, EntryKind.VERSION, encode_version(MACHINE_VERSION))
    old, new = Log(), Log(first, raised)
    for key in (*KEYS, COUNT, b"stays"):
        old.do(commands.Put(key, b"1"), 1)
    old.do(commands.AddGroups(1, 1, OLD.encode()), 10)
    old.do(commands.PlanMove(SLOT, SLOT, 1, 1), 11)
    new.do(commands.Open(1, SLOT, SLOT, (0, -1)), 12)
    new.do(commands.Import(1, 0, ()), 13)
    frozen = old.do(commands.Freeze(1, SLOT, SLOT, 1, (0, SLOTS - 1)), 14)
    new.do(activate(old.machine, 1, move_reply(frozen)), 15)
    old.do(commands.Release(1, SLOT, SLOT, len(KEYS) + 1), 16)
    new.do(commands.Put(COUNT, b"2"), 17)
    old.do(commands.Put(b"stays", b"2"), 18)
    new.do(commands.Close(1), 19)
    old.do(commands.EndMove(1, moved=True), 20)
    return old.entries, new.entries


def backed_up(directory: Path, old: list[Entry], new: list[Entry]) -> None:
    """An image of before the second group, and both logs after it."""
    archive = Archive.of_cluster(directory, CLUSTER, None)
    image = len(KEYS) + 2
    make_image(archive, Twin().apply(old[:image]))
    for group, entries, position in (
        (0, old[image:], LogPosition(image, 2, old[image - 1].stamp)),
        (1, new, LogPosition(0, 0, 0)),
    ):
        if entries:
            log = archive.shipped_log(CLUSTER, group)
            log.begin(position)
            log.append(entries)
            log.close()


@pytest.mark.parametrize(
    ("second", "created", "count"), [(9, 0, b"1"), (10, 1, b"1"), (14, 1, b"1"), (15, 1, b"1"), (17, 1, b"2")]
)
def test_a_group_that_is_created_after_the_image_is_restored_from_its_log(tmp_path, second, created, count):
    backed_up(tmp_path / "backup", *grown())
    moment = Moment(time_ms=START_MS + second * SECOND_MS)
    targets = rehearse(open_backup(str(tmp_path / "backup"), moment, None))
    assert [each.group for each in targets] == list(range(1 + created))
    identity = restored(tmp_path, moment)
    assert (identity.groups, identity.created) == (1, created)
    assert opened(tmp_path / "data").identity == identity
    found = content_of(tmp_path / "data")
    assert found == {**dict.fromkeys(KEYS, b"1"), COUNT: count, b"stays": b"1"}


def test_wherever_the_log_of_a_created_group_ends_each_key_is_there_once(tmp_path):
    """Also where none was shipped: then the other group ends before the slot has gone."""
    old, new = grown()
    for length in range(len(new) + 1):
        folder = tmp_path / str(length)
        backed_up(folder / "backup", old, new[:length])
        targets = rehearse(open_backup(str(folder / "backup"), Moment(), None))
        assert [(each.group, each.index) for each in targets] == [(0, len(old)), (1, max(length, 1))]
        identity = restored(folder, Moment())
        assert (identity.groups, identity.created) == (1, 1)
        found = content_of(folder / "data")
        assert set(found) == {*KEYS, COUNT, b"stays"}
        assert found[COUNT] == (b"2" if length >= 6 else b"1")
        assert found[b"stays"] == (b"2" if length >= 5 else b"1")


def test_a_revision_is_none_of_a_cluster_that_has_grown(tmp_path):
    old, new = grown()
    backed_up(tmp_path / "backup", old, new)
    last = len(KEYS) + 2
    for revision in (last + 1, last + 40):
        moment = Moment(revision=revision)
        with pytest.raises(BackupError, match="groups were created after it: name a time"):
            rehearse(open_backup(str(tmp_path / "backup"), moment, None))
        with pytest.raises(BackupError, match="groups were created after it: name a time"):
            restored(tmp_path, moment)


def test_a_revision_from_before_the_groups_were_created_is_restored(tmp_path):
    """The dry run does not apply anything: it ends where the groups are created, at the latest."""
    old, new = grown()
    image = len(KEYS) + 2
    old[image:image] = [replaced(old[image - 1], index=image + 1)]
    old[image + 1 :] = [replaced(each, index=each.index + 1) for each in old[image + 1 :]]
    backed_up(tmp_path / "backup", old, new)
    moment = Moment(revision=image + 1)
    (target,) = rehearse(open_backup(str(tmp_path / "backup"), moment, None))
    assert (target.group, target.index) == (0, image + 1)
    identity = restored(tmp_path, moment)
    assert (identity.groups, identity.created) == (1, 0)


def test_the_log_of_a_created_group_is_read_too_when_a_backup_is_verified(tmp_path, capsys):
    backed_up(tmp_path / "backup", *grown())
    assert main(["backup", "verify", str(tmp_path / "backup"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_entries"] == {"0": 6, "1": 7}
    assert main(["backup", "list", str(tmp_path / "backup"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["clusters"][0]
    assert [each["group"] for each in listed["log"]] == [0, 1]
    (segment,) = (tmp_path / "backup").rglob("log-1/*.segment")
    segment.write_bytes(segment.read_bytes()[:-9])
    assert main(["backup", "verify", str(tmp_path / "backup"), "--json"]) == 1
    assert "log-1" in capsys.readouterr().err
