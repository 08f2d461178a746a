"""What `kraft doctor` finds in a backup directory."""

import time
from dataclasses import replace

from kraft.backup.archive import Archive
from kraft.cli.checks import backups
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from tests.backup.sources import CLUSTER, Twin, history, make_image
from tests.cli.checks.subjects import levels, only


def subject(stopped, **options):
    found = stopped()
    return replace(found, config=replace(found.config, backup=replace(found.config.backup, **options)))


def test_no_directory_is_nothing_wrong(stopped):
    assert levels(backups.backups(stopped())) == [OK]


def test_a_directory_that_is_missing_or_a_key_that_is(stopped, tmp_path):
    missing = subject(stopped, directory=str(tmp_path / "b"))
    assert only(backups.backups(missing)).level == PROBLEM
    keyless = subject(stopped, directory=str(tmp_path), key_file=str(tmp_path / "key"))
    assert "key file" in only(backups.backups(keyless)).text


def test_the_age_of_the_newest_image(stopped, tmp_path):
    node = subject(stopped, directory=str(tmp_path), interval=3600.0)
    assert "no image" in only(backups.backups(node)).text
    archive = Archive.of_cluster(tmp_path, CLUSTER, None)
    twin = Twin().apply(history(1, 5))
    now_ms = time.time_ns() // 1_000_000
    make_image(archive, twin, "old", now_ms - 3 * 3_600_000)
    assert "longer ago than backup.interval" in only(backups.backups(node)).text
    make_image(archive, twin, "new", now_ms)
    assert only(backups.backups(node)).level == OK


def test_a_damaged_manifest(stopped, tmp_path):
    archive = Archive.of_cluster(tmp_path, CLUSTER, None)
    make_image(archive, Twin().apply(history(1, 5)))
    manifest = archive.folder / "image/manifest.json"
    manifest.write_text(manifest.read_text().replace("K1", "K2"))
    found = list(backups.backups(subject(stopped, directory=str(tmp_path))))
    assert (levels(found), "checksum" in found[0].text) == ([WARNING, WARNING], True)
