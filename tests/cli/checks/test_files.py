"""What `kraft doctor` finds in the data directory, the secret and the disk."""

import os

import pytest

from kraft.cli.checks import files
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from kraft.node.values import Transaction
from kraft.raft.messages import HardState
from kraft.raft.ready import Persist
from kraft.storage.access import user_name
from kraft.storage.damage import remember_damage
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import StorageError
from kraft.web.findings import DISK_FREE_BYTES
from tests.cli.checks.subjects import first, levels, only, opened


def test_a_directory_that_is_still_to_be_made(stopped, tmp_path, monkeypatch):
    assert levels(files.directory(stopped())) == [OK]
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert levels(files.directory(stopped())) == [PROBLEM]


def test_a_directory_that_is_a_file(stopped, tmp_path):
    (tmp_path / "data").write_text("")
    assert "is not a directory" in only(files.directory(stopped())).text


def test_a_stopped_node_is_looked_into(stopped, data):
    """Nothing is changed by it."""
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"}
    found = only(files.directory(stopped()))
    assert (found.level, found.text) == (
        OK, f"{data} has the data of K1, no cluster yet; the log of group 0 ends at index 0",
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"} == before


def test_a_running_node_is_not_looked_into(stopped, data, monkeypatch):
    monkeypatch.setattr(files, "inspect", None)
    found = only(files.directory(stopped(pid=77)))
    assert (found.level, "is locked by process 77" in found.text) == (OK, True)


def test_root_does_not_look_into_what_is_not_its_own(stopped, data, monkeypatch):
    """It would leave files that the node cannot open."""
    monkeypatch.setattr(files, "inspect", None)
    monkeypatch.setattr(files, "mine", lambda _: False)
    found = only(files.directory(stopped()))
    assert found.command == f"sudo -u {user_name(os.geteuid())} kraft doctor K1.yaml"


def test_files_that_their_owner_cannot_use(stopped, data):
    """Whoever asks: root may read and write everything, and its node would not."""
    (data / "log.db").chmod(0o444)
    (data / "ballast").mkdir()
    (data / "notes.txt").touch(0)
    found = [each for each in files.directory(stopped(pid=77)) if each.level == PROBLEM]
    assert [(each.text, each.command) for each in found] == [
        (f"{data / 'ballast'} is a directory, not a file: mv {data / 'ballast'} {data / 'ballast'}.away",
         f"ls -ld {data / 'ballast'}"),
        (f"its owner may not read and write {data / 'log.db'} (mode 0444)", f"chmod u+rw {data / 'log.db'}"),
    ]  # fmt: skip
    data.chmod(0o500)
    assert f"chmod u+rwx {data}" in [each.command for each in files.directory(stopped(pid=77))]


def test_damage_that_a_running_node_has_met(stopped, data):
    """The rest is whole, so that nothing else tells of it."""
    opened(data).close()
    remember_damage(RealDirectory(str(data)), "log.db: SQLite finds it damaged (malformed)")
    found = only(files.directory(stopped()))
    assert (found.level, found.text) == (PROBLEM, "log.db: SQLite finds it damaged (malformed)")
    assert found.command.startswith("KRAFT REPLACE K1 ID HOST PORT")


def test_a_log_that_lost_its_end(stopped, data):
    """Another directory's high-water mark stands for it."""
    database = opened(data)
    database.commit([Transaction(((0, Persist(1, HardState(9), None, (), 0)),), None)])
    database.close()
    mark = (data / "highwater").read_bytes()
    for path in data.iterdir():
        path.unlink()
    opened(data).close()
    (data / "highwater").write_bytes(mark)

    found = only(files.directory(stopped()))
    assert found.level == PROBLEM
    assert "the log knows term 0, but term 9 was stored" in found.text
    assert "KRAFT REPLACE" in found.text


def test_a_log_that_is_gone(stopped, data):
    (data / "log.db").unlink()
    found = only(files.directory(stopped()))
    assert (found.level, "highwater is there" in found.text) == (PROBLEM, True)


def test_the_directory_of_another_node(stopped, tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    opened(path, "K2").close()
    assert levels(files.directory(stopped())) == [PROBLEM, OK]


def test_a_directory_that_others_can_read(stopped, data):
    data.chmod(0o755)
    found = first(files.directory(stopped()))
    assert (found.level, found.command) == (WARNING, f"chmod 700 {data}")


def test_files_of_somebody_else(stopped, data, monkeypatch):
    monkeypatch.setattr(files, "_of_others", lambda *_: ["log.db-wal"])
    found = first(files.directory(stopped()))
    assert (found.level, "log.db-wal in it to another user" in found.text) == (PROBLEM, True)


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        ("x" * 32, 0o640, [OK]),
        ("x" * 32, 0o644, [WARNING, OK]),
        ("x" * 15, 0o600, [WARNING]),
        (" \n", 0o600, [PROBLEM]),
        (None, 0, [PROBLEM]),
    ],
)
def test_the_secret(stopped, tmp_path, content, mode, found):
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    assert levels(files.secret(stopped(f"cluster: {{secret_file: {path}}}"))) == found


def test_a_secret_that_the_owner_of_the_data_cannot_read(stopped, data, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("x" * 32)
    path.chmod(0o600)
    monkeypatch.setattr(files, "_readable_by", lambda *_: False)
    found = first(files.secret(stopped(f"cluster: {{secret_file: {path}}}")))
    assert (found.level, "cannot be read by" in found.text) == (PROBLEM, True)


def test_no_secret_where_none_is_needed(stopped):
    assert levels(files.secret(stopped())) == [OK]


@pytest.mark.parametrize(
    ("free", "inodes", "found"),
    [
        (DISK_FREE_BYTES, 1000, [OK]),
        (DISK_FREE_BYTES - 4096, 1000, [WARNING]),
        (files.FULL_SOON_BYTES - 4096, 1000, [PROBLEM]),
        (DISK_FREE_BYTES, files.INODES_MIN - 1, [OK, PROBLEM]),
    ],
)
def test_room_on_the_disk(stopped, monkeypatch, free, inodes, found):
    class Disk:
        f_frsize, f_bavail, f_files, f_favail = 4096, free // 4096, 10_000, inodes

    monkeypatch.setattr(os, "statvfs", lambda _: Disk)
    assert levels(files.space(stopped())) == found


def test_room_beside_what_cannot_be_seen(stopped, monkeypatch):
    monkeypatch.setattr(files, "_used_bytes", lambda _: None)
    assert "uses" not in only(files.space(stopped())).text


def test_room_for_a_second_copy(stopped, monkeypatch):
    """What there is may have to be there twice."""
    monkeypatch.setattr(files, "_used_bytes", lambda _: 1 << 50)
    assert levels(files.space(stopped())) == [WARNING]


@pytest.mark.parametrize(
    ("median", "high", "level"),
    [(0.001, 0.02, OK), (0.026, 0.09, WARNING), (0.001, 0.11, WARNING), (0.001, 0.51, PROBLEM)],
)
def test_how_long_a_sync_may_take(median, high, level):
    assert files.judged(median, high)[0] == level


def test_a_probe_of_the_disk_leaves_nothing(stopped, data):
    before = sorted(data.iterdir())
    assert "50 syncs in" in only(files.sync(stopped())).text
    assert sorted(data.iterdir()) == before


def test_a_probe_of_a_slow_disk_ends(data, monkeypatch):
    monkeypatch.setattr(files, "PROBE_SECONDS", 0.0)
    assert len(files.sync_times(data)) == 1


def test_a_disk_that_cannot_be_probed(stopped, monkeypatch):
    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_times", full)
    found = only(files.sync(stopped()))
    assert (found.level, found.command[:5]) == (WARNING, "df -h")


def test_storage_errors_are_told(stopped, data, monkeypatch):
    def fails(_path):
        raise StorageError("broken")

    monkeypatch.setattr(files, "inspect", fails)
    found = only(files.directory(stopped()))
    assert (found.level, found.text) == (PROBLEM, "broken")
