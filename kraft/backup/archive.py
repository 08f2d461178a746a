"""A backup directory: for each cluster a folder with its images and its shipped log.

    DIR/a38f0c52be71/20261129T180500.000Z/manifest.json, group-0-0001.rows
    DIR/a38f0c52be71/log-0/0000000000000814.segment, position
    DIR/a38f0c52be71/lock

Entries of a log are the same on every node, so nodes that share a directory may take turns. The lock sees to
it that one of them writes.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kraft.backup import manifest as manifests
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup, NothingThere, WrongKey
from kraft.backup.frames import explain
from kraft.backup.manifest import MANIFEST_FILE, Manifest
from kraft.backup.shipped_log import ShippedLog
from kraft.moment import Moment, when

CLUSTER_LETTERS = 12  # of the cluster's id, in the name of its folder
LOCK_FILE = "lock"
LEFTOVER_SECONDS = 86_400  # an image that was not written to for so long is not being written
WHAT_TO_NAME = "name the backup.directory of a node, the folder of a cluster in it, or that of an image"
_CLUSTER = re.compile(f"[0-9a-f]{{{CLUSTER_LETTERS}}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TIMED = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z")
_LOG = re.compile(r"log-([0-9]+)")


def image_name(now_ms: int) -> str:
    """The name of an image that is made now, such as 20261129T180500.000Z."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def is_timed(name: str) -> bool:
    """Whether the name of an image is a time: it was not given one."""
    return _TIMED.fullmatch(name) is not None


def check_name(name: str) -> str:
    """`name`, if an image may have it. Raises ValueError."""
    if not _NAME.fullmatch(name) or name == LOCK_FILE or name.startswith("log-"):
        raise ValueError(f"{name[:80]!r} is no name of an image: use up to 64 letters, digits and . _ -")
    return name


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in its folder. `problem` is why its manifest cannot be used; then there is no `manifest`."""

    folder: Path
    manifest: Manifest | None
    problem: str = ""


class Archive:
    """The folder of one cluster. Methods raise `BackupError`."""

    def __init__(self, folder: Path, key: BackupKey | None) -> None:
        self.folder = folder
        self.key = key
        self._lock = -1

    @classmethod
    def of_cluster(cls, directory: Path, cluster: str, key: BackupKey | None) -> "Archive":
        """The archive of the cluster with this id in a backup directory."""
        return cls(directory / cluster[:CLUSTER_LETTERS], key)

    # -- images ---------------------------------------------------------------------------------------

    def images(self) -> list[StoredImage]:
        """All images, the oldest first; those with a problem come before the others.

        The place in the log says which one is older: a clock may have been wrong when one was made. An image
        that is removed meanwhile is none.
        """
        found = [self._image(folder) for folder in self._folders()]
        return sorted((image for image in found if image.folder.is_dir()), key=_age)

    def _image(self, folder: Path) -> StoredImage:
        try:
            manifest = manifests.read(folder, self.key)
        except BackupError as error:
            return StoredImage(folder, None, str(error))
        if _CLUSTER.fullmatch(self.folder.name) and not manifest.cluster.startswith(self.folder.name):
            return StoredImage(
                folder, None, f"{folder}: it is an image of another cluster, {manifest.cluster}"
            )
        return StoredImage(folder, manifest)

    def _folders(self) -> list[Path]:
        try:
            return sorted(
                folder
                for folder in self.folder.iterdir()
                if _NAME.fullmatch(folder.name) and not folder.name.startswith("log-") and folder.is_dir()
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explain(self.folder, error) from error

    def good_images(self) -> list[tuple[Path, Manifest]]:
        """The images with a sound manifest, the oldest first."""
        return [(image.folder, image.manifest) for image in self.images() if image.manifest is not None]

    def image_for(self, moment: Moment) -> tuple[Path, Manifest]:
        """The newest image that is not after `moment`. Raises `NothingThere`.

        An image that is damaged is an error only if nothing else is left: its name is in the text.
        """
        images = self.images()
        good = [(image.folder, image.manifest) for image in images if image.manifest is not None]
        fitting = [each for each in good if _not_after(each[1], moment)]
        if fitting:
            return fitting[-1]
        problems = "; ".join(image.problem for image in images if image.problem)
        if good:
            first = good[0][1]
            begins = when(max(group.stamp_ms for group in first.groups))
            text = (
                f"{self.folder}: the first image, {first.name}, is of {begins}, {first.place}: after {moment}"
            )
            text += ". Name a later moment, or an older backup"
            raise NothingThere(f"{text}; {problems}" if problems else text)
        if problems:
            raise DamagedBackup(self.folder, f"no image can be used: {problems}")
        raise NothingThere(f"{self.folder}: there is no image in it")

    def shipped_log(self, cluster: str, group: int) -> ShippedLog:
        """The shipped log of a group."""
        return ShippedLog(self.folder, cluster, group, self.key)

    # -- writing --------------------------------------------------------------------------------------

    def lock(self) -> bool:
        """Become the process that writes here; False while another one is. The folder is made."""
        if self._lock >= 0:
            return True
        place = self.folder / LOCK_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explain(place, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            raise explain(place, error) from error
        self._lock = fd
        return True

    def unlock(self) -> None:
        """Let another process write."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove_leftovers(self) -> None:
        """Remove what processes that were killed while they wrote or removed an image have left."""
        try:
            for folder in self.folder.glob(".*.partial"):
                if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
                    shutil.rmtree(folder)
        except OSError as error:
            raise explain(self.folder, error) from error

    def shipped_groups(self) -> list[int]:
        """The groups of which a log is shipped, ascending."""
        found = [_LOG.fullmatch(each.name) for each in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(each[1]) for each in found if each)

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` of the sound images whose name is a time. Returns the names.

        The log before the oldest of those that stay goes as well. An image that was given a name stays, and
        can be restored: with the log after it as long as that is there.
        """
        timed = [each for each in self.good_images() if is_timed(each[0].name)]
        gone = timed[:-keep] if keep else []
        for folder, _ in gone:
            away = folder.with_name(f".{folder.name}.partial")  # not half an image with a manifest
            try:
                if away.exists():
                    shutil.rmtree(away)
                folder.rename(away)
                shutil.rmtree(away)
            except OSError as error:
                raise explain(folder, error) from error
        if gone:
            oldest = timed[len(gone)][1]
            for group in oldest.groups:
                self.shipped_log(oldest.cluster, group.group).prune(group.index)
        return [folder.name for folder, _ in gone]


def _age(image: StoredImage) -> tuple[int, int, Path]:
    manifest = image.manifest
    if manifest is None:
        return 0, 0, image.folder
    return sum(group.index for group in manifest.groups), manifest.created_ms, image.folder


def _not_after(manifest: Manifest, moment: Moment) -> bool:
    if moment.time_ms is not None:
        return all(group.stamp_ms <= moment.time_ms for group in manifest.groups)
    if moment.revision is not None:
        return all(group.revision <= moment.revision for group in manifest.groups)
    return True


def find_image(source: Path, moment: Moment, key: BackupKey | None) -> tuple[Archive, Path, Manifest]:
    """The image that `source` means: the folder of an image or of a cluster, or the directory of one cluster.

    Raises `BackupError`.
    """
    if (source / MANIFEST_FILE).exists():
        manifest = manifests.read(source, key)
        if not _not_after(manifest, moment):
            made = when(max(group.stamp_ms for group in manifest.groups))
            text = f"{source}: the image is of {made}, {manifest.place}: after {moment}"
            raise NothingThere(f"{text}. Name {source.parent}, which may have an older one")
        return Archive(source.parent, key), source, manifest
    archives = list(archives_in(source, key))
    if not archives:
        raise NothingThere(f"{source}: there is no backup in it: {WHAT_TO_NAME}")
    if len(archives) > 1:
        names = ", ".join(str(archive.folder) for archive in archives)
        raise BackupError(f"{source} has backups of several clusters: name one of {names}")
    folder, manifest = archives[0].image_for(moment)
    if key is None and manifest.encrypted:
        raise WrongKey(f"{folder}: the image is encrypted: name the key file with --key-file")
    return archives[0], folder, manifest


def archives_in(source: Path, key: BackupKey | None) -> Iterator[Archive]:
    """The archives in a backup directory; `source` itself if it is the folder of a cluster."""
    if not source.is_dir():
        raise NothingThere(f"{source}: there is no such directory: {WHAT_TO_NAME}")
    if _CLUSTER.fullmatch(source.resolve().name):
        yield Archive(source, key)
        return
    try:
        folders = sorted(source.iterdir())
    except OSError as error:
        raise explain(source, error) from error
    yield from (
        Archive(folder, key) for folder in folders if _CLUSTER.fullmatch(folder.name) and folder.is_dir()
    )
