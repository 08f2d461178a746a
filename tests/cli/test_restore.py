"""`kraft restore` where something is not as its user thinks: one line, which names the next step."""

import fcntl
import shutil

import msgspec
import pytest

from kraft.backup.archive import Archive
from kraft.backup.image import write_image
from kraft.backup.manifest import GROUPS_NAMED
from kraft.backup.shipped_log import LogPosition
from kraft.cli import restore
from kraft.cli.main import main
from kraft.host.membership.formation import cluster_id
from kraft.moment import when
from kraft.storage.offline import restoration
from tests.backup.sources import CLUSTER, FakeSource, Twin, backed_up, history, make_image

FOLDER = CLUSTER[:12]


@pytest.fixture
def backup(tmp_path):
    backed_up(tmp_path / "backup", 10, 30)
    return tmp_path / "backup"


def refused(capsys, source, directory, *options):
    """What a restore says that fails."""
    assert main(["restore", str(source), "--data-dir", str(directory), "--id", "K1", *options]) == 1
    said = capsys.readouterr()
    assert not said.out
    [line] = said.err.splitlines()
    return line.removeprefix("kraft: ")


def test_a_source_that_is_no_backup(tmp_path, backup, capsys):
    assert "no such directory: name the backup.directory of a node" in refused(
        capsys, tmp_path / "nothing", tmp_path / "data"
    )
    assert "there is no backup in it: name the backup.directory" in refused(
        capsys, tmp_path, tmp_path / "data"
    )
    (tmp_path / "K1").mkdir()
    (tmp_path / "K1/log.db").touch()
    assert "is the data directory of a node, and no backup: name" in refused(
        capsys, tmp_path / "K1", tmp_path / "data"
    )
    (backup / "dddddddddddd").mkdir()
    assert f"name one of {backup}/{FOLDER}, {backup}/dddddddddddd" in refused(
        capsys, backup, tmp_path / "data"
    )


def test_a_directory_that_is_used(tmp_path, backup, capsys):
    data = tmp_path / "data"
    data.mkdir()
    (data / "notes").touch()
    assert "is not empty (notes): name another one" in refused(capsys, backup, data)
    (data / "log.db").touch()
    assert f"it has the data of a node. Move it away: mv {data} {data}.old" in refused(capsys, backup, data)
    with (data / "lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is in use by process 4711: stop that node, and move the directory away" in refused(
            capsys, backup, data
        )
    (tmp_path / "file").touch()
    assert "is not a directory" in refused(capsys, backup, tmp_path / "file", "--yes")
    assert sorted(path.name for path in data.iterdir()) == ["lock", "log.db", "notes"]


def test_a_later_moment_without_a_shipped_log(tmp_path, backup, capsys):
    shutil.rmtree(backup / FOLDER / "log-0")
    text = refused(capsys, backup, tmp_path / "data", "--at", "2023-11-14T22:13:40Z")
    assert "reaches to 2023-11-14 22:13:30.000 UTC, with its images: no log was shipped" in text


def test_a_moment_outside_of_the_backup(tmp_path, backup, capsys):
    early, late = (f"2023-11-14T22:13:{second}Z" for second in (25, 55))
    text = refused(capsys, backup, tmp_path / "data", "--at", early)
    assert "the first image, image, is of 2023-11-14 22:13:30.000 UTC" in text
    assert "Name a later moment, or an older backup" in text
    image = backup / FOLDER / "image"
    assert f"Name {image.parent}, which may have" in refused(capsys, image, tmp_path / "data", "--at", early)
    text = refused(capsys, backup, tmp_path / "data", "--at", late)
    assert "reaches to 2023-11-14 22:13:50.000 UTC: name that time, or --at latest" in text
    text = refused(capsys, backup, tmp_path / "data", "--at", "99", "--yes")
    assert "reaches to revision 60, of 2023-11-14 22:13:50.000 UTC: --at latest restores that" in text
    assert main(["restore", str(backup), "--data-dir", "x", "--id", "K1", "--at", "noon"]) == 2
    assert "a revision such as 48211, or latest" in capsys.readouterr().err


def test_a_revision_of_several_groups(tmp_path, capsys):
    write_groups(tmp_path / "backup", 2)
    text = refused(capsys, tmp_path / "backup", tmp_path / "data", "--at", "99")
    assert "groups counts revisions for itself: name a time, such as --at 2023-11-14T22:13:20Z" in text


def test_an_image_of_a_newer_kraft(tmp_path, backup, capsys, monkeypatch):
    monkeypatch.setattr(restoration, "MACHINE_VERSION", 2)
    assert "it is of machine version 3, made by kraft 1.0: " in refused(capsys, backup, tmp_path / "data")
    manifest = backup / FOLDER / "image/manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    assert "format 9 is of a newer kraft" in refused(capsys, backup, tmp_path / "data")


def test_an_image_that_was_not_named_is_the_newest_one(tmp_path, backup, capsys):
    """One that was given a name is as good as any other, and its reader is told."""
    words = ["--data-dir", str(tmp_path / "data"), "--id", "K1"]
    chosen = "            the newest image up to the moment"
    assert main(["restore", str(backup), *words]) == 0
    told = capsys.readouterr().out.splitlines()[1]
    assert told == f"{chosen}; it was given a name, which does not matter here"
    archive, name = Archive(backup / FOLDER, None), "20231114T221330.000Z"
    make_image(archive, Twin().apply(history(1, 20)), name)
    assert main(["restore", str(backup), *words]) == 0
    assert capsys.readouterr().out.splitlines()[1] == chosen
    assert main(["restore", str(archive.folder / name), *words]) == 0
    assert "the newest image" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("founded", "in_file", "told"), [(2, 3, "which is 3, to that"), (1, 3, "which is 3, to 1"), (1, 1, "")]
)
def test_another_number_of_groups_than_in_the_file(tmp_path, capsys, founded, in_file, told):
    """The backup decides, and the first look says so. What counts is the number at the beginning."""
    write_groups(tmp_path / "backup", 2, founded)
    file = tmp_path / "K1.yaml"
    file.write_text(f"node: {{id: K1, data: {tmp_path}/data}}\ncluster: {{groups: {in_file}}}\n")
    assert main(["restore", str(tmp_path / "backup"), "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert (
        f"2, as in the backup: set cluster.groups, {told}\n" in shown
        if told
        else "cluster.groups" not in shown
    )
    assert not (tmp_path / "data").exists()


def test_of_many_groups_numbers_are_shown(tmp_path, capsys):
    """A cluster may have a thousand groups: `--json` names each."""
    groups = GROUPS_NAMED + 1
    write_groups(tmp_path / "backup", groups)
    archive, entries = Archive(tmp_path / "backup" / FOLDER, None), history(1, 30)
    for group in range(groups):
        log = archive.shipped_log(CLUSTER, group)
        log.begin(LogPosition(10 + group, 2, entries[9 + group].stamp))
        log.append(entries[10 + group : 20 + group])
        log.close()
    assert main(["backup", "list", str(tmp_path / "backup")]) == 0
    listed = capsys.readouterr().out
    assert "9 groups, group 0 index 10" in listed
    assert f"logs of 9 groups shipped, group 0 least: {when(entries[19].stamp)}" in listed
    assert main(["backup", "verify", str(tmp_path / "backup")]) == 0
    assert "sound: 90 log entries of 9 groups after it" in capsys.readouterr().out
    words = ["restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "data"), "--id", "K1"]
    ends = f"{when(entries[19].stamp)} to {when(entries[27].stamp)}"
    for options, told in (([], f"at most {ends}"), (["--yes"], f"{ends}, 225 rows")):
        assert main([*words, *options]) == 0
        shown = capsys.readouterr().out
        assert f"9 groups: {told}\n" in shown
        assert "90 entries of the shipped logs after the image; --json names the groups" in shown


def test_the_progress_of_a_restore_is_that_of_all_groups(tmp_path):
    write_groups(tmp_path / "backup", 3)
    told: list[tuple[int, int]] = []
    backup = restoration.open_backup(str(tmp_path / "backup"), None, None)
    founders = restoration.founders_of([("K1", "127.0.0.1:10001")], "token", backup.manifest)
    restoration.restore(
        backup, str(tmp_path / "data"), "K1", founders, cluster_id, lambda *each: told.append(each)
    )
    total = sum(group.size for group in backup.manifest.groups)
    assert {of for _, of in told} == {total}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[0][0] < told[-1][0] == total


def write_groups(directory, groups, founded=0):
    twins = [Twin().apply(history(1, 10 + group)) for group in range(groups)]
    (directory / FOLDER).mkdir(parents=True)
    source = FakeSource(*twins)
    source.head = msgspec.structs.replace(source.head, founded=founded or groups)
    return write_image(source, directory / FOLDER, "image", None)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ([], "twistd -n --pidfile= kraft --id K1 --data-dir {data}"),
        (
            ["--peer", "127.0.0.2:7001"],
            "twistd -n --pidfile= kraft --id K1 --data-dir {data} --host 127.0.0.2 --raft-rpc-port 7001",
        ),
        (["--peer", "10.0.0.1:10001"], "twistd -n --pidfile= kraft --config FILE"),
        (
            ["--member", "K1=127.0.0.1:7001", "--member", "K2=127.0.0.1:7002", "--token", "0123456789abcdef"],
            "twistd -n --pidfile= kraft --config FILE",
        ),
    ],
)
def test_the_last_line_starts_the_node(tmp_path, backup, capsys, options, start):
    data = tmp_path / "data"
    assert main(["restore", str(backup), "--data-dir", str(data), "--id", "K1", *options, "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].strip() == start.format(data=data)


FILE = """\
node: {{id: K1, data: {data}}}
peer: {{listen: "tcp:7001:interface=127.0.0.1", advertise: "127.0.0.1:7001"}}
"""


@pytest.mark.parametrize(
    ("folder", "start"),
    [("", "twistd -n --pidfile= kraft --config {}"), ("units", "systemctl start kraft@K7")],
)
def test_a_node_with_a_file_is_started_by_it(tmp_path, backup, capsys, monkeypatch, folder, start):
    """In the folder of the units, by its unit."""
    monkeypatch.setattr(restore, "UNITS", tmp_path / "units")
    (tmp_path / "units").mkdir()
    file = tmp_path / folder / "K7.yaml"
    file.write_text(FILE.format(data=tmp_path / "data"))
    assert main(["restore", str(backup), "--config", str(file), "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].strip() == start.format(file)
