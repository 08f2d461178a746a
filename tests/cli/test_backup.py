"""`kraft backup --to` without a node: which images stay in the directory."""

import json

import pytest

from kraft.backup.archive import Archive, image_name
from kraft.cli import backup
from kraft.cli.main import main
from tests.backup.sources import CLUSTER, START_MS, FakeSource, Twin, history

DAY_MS = 86_400_000


@pytest.fixture
def days(monkeypatch):
    """Lets `kraft backup` find a cluster in which another write was made each time."""
    twin = Twin()
    made: list[FakeSource] = []

    def image(*_: object) -> FakeSource:
        twin.apply(history(twin.index + 1, twin.index + 1))
        source = FakeSource(twin, created_ms=START_MS + len(made) * DAY_MS)
        source.server = "10.0.0.1:10011"  # type: ignore[attr-defined]
        made.append(source)
        return source

    monkeypatch.setattr(backup, "RemoteImage", image)
    monkeypatch.setattr(backup, "image_name", lambda _: day(len(made)))
    return made


def day(number):
    """The name of the image that is made on that day."""
    return image_name(START_MS + number * DAY_MS)


def names(directory):
    return [image.name for image, _ in Archive.of_cluster(directory, CLUSTER, None).good_images()]


def test_all_images_stay_without_keep(tmp_path, days):
    for _ in range(4):
        assert main(["backup", "--to", str(tmp_path)]) == 0
    assert names(tmp_path) == [day(number) for number in range(4)]
    assert all(source.closed for source in days)


def test_the_newest_images_stay(tmp_path, days, capsys):
    for number in range(4):
        assert main(["backup", "--to", str(tmp_path), "--keep", "2", "--json"]) == 0
        removed = [day(number - 2)] if number > 1 else []
        assert json.loads(capsys.readouterr().out)["removed"] == removed
    assert names(tmp_path) == [day(2), day(3)]
    assert main(["backup", "--to", str(tmp_path), "--keep", "1"]) == 0
    assert f"removed: {day(2)}, {day(3)}" in capsys.readouterr().out
    assert names(tmp_path) == [day(4)]


def test_an_image_that_was_given_a_name_stays(tmp_path, days):
    """It is none of those that are counted."""
    for name in ([], ["--name", "before-upgrade"], [], []):
        assert main(["backup", "--to", str(tmp_path), "--keep", "1", *name]) == 0
    assert names(tmp_path) == ["before-upgrade", day(3)]


def test_an_image_that_is_not_made_removes_none(tmp_path, days, monkeypatch):
    for _ in range(2):
        assert main(["backup", "--to", str(tmp_path)]) == 0
    assert main(["backup", "--to", str(tmp_path), "--name", day(1), "--keep", "1"]) == 1
    assert names(tmp_path) == [day(0), day(1)]


def test_where_a_node_keeps_its_backups_nothing_is_removed(tmp_path, days, capsys):
    node = Archive.of_cluster(tmp_path, CLUSTER, None)
    assert node.lock()
    assert main(["backup", "--to", str(tmp_path), "--keep", "1"]) == 1
    assert "a node writes here and removes images itself: leave --keep out" in capsys.readouterr().err
    assert days[0].closed
    node.unlock()
    assert main(["backup", "--to", str(tmp_path), "--keep", "1"]) == 0


def test_images_in_a_bucket_cannot_be_kept(capsys):
    assert main(["backup", "--to", "s3://bucket/kraft", "--keep", "2"]) == 2
    assert "--keep is for a directory" in capsys.readouterr().err


def test_a_disk_that_is_not_mounted_gets_no_images(tmp_path, days, capsys):
    """The directory itself is created, not those above it."""
    assert main(["backup", "--to", str(tmp_path / "disk" / "images")]) == 1
    assert f"{tmp_path}/disk: there is no such directory" in capsys.readouterr().err
    assert days == list(tmp_path.iterdir()) == []
    assert main(["backup", "--to", str(tmp_path / "images")]) == 0
