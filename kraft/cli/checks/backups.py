"""Checks of the backup directory of a node: whether it can be used, and how old what is in it is."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from kraft.backup.archive import archives_in
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, NothingThere
from kraft.backup.manifest import Manifest
from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.checks.subject import Subject
from kraft.moment import when

LATE = 1.1  # times the interval: an image takes a while


def backups(subject: Subject) -> Iterator[CheckResult]:
    """The images in the directory, and the log after them. Only manifests are read, not the data."""
    config = subject.config.backup
    if config.directory is None:
        yield CheckResult(OK, "no backup.directory: this node makes no backups", "kraft backup --help")
        return
    path = Path(config.directory)
    try:
        key = BackupKey.read(config.key_file)
    except BackupError as error:
        yield CheckResult(PROBLEM, str(error), f"ls -l {config.key_file}")
        return
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield CheckResult(PROBLEM, f"backup.directory {path} cannot be written to", f"ls -ld {path}")
        return
    try:
        archives = list(archives_in(path, key))
        images = [image for archive in archives for image in archive.images()]
    except NothingThere:
        images = []
    except BackupError as error:
        yield CheckResult(PROBLEM, str(error), f"ls -l {path}")
        return
    for image in images:
        if image.problem:
            yield CheckResult(WARNING, image.problem, f"kraft backup verify {path}")
    good = [image.manifest for image in images if image.manifest is not None]
    newest = max(good, key=lambda manifest: manifest.created_ms, default=None)
    yield _age(newest, path, config.interval)


def _age(newest: Manifest | None, path: Path, interval: float) -> CheckResult:
    if newest is None:
        return CheckResult(WARNING, f"there is no image in {path} yet", f"kraft backup --to {path}")
    told = f"the newest image, {newest.name}, was made {when(newest.created_ms)}"
    if interval and time.time() - newest.created_ms / 1000 > LATE * interval:
        text = f"{told}: longer ago than backup.interval"
        return CheckResult(WARNING, text, "journalctl -u 'kraft@*' -g backup_")
    return CheckResult(OK, told, f"kraft backup verify {path}")
