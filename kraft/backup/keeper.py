"""Keeps the backups of a node up to date: images at an interval, the log after them, and how many are kept.

`BackupKeeper.step` is to be called about once a second, on a thread of its own. Every node of a cluster may
do it: into a directory of its own, or into a shared one, where the lock lets one of them write and another
one goes on when that one ends.

Nothing here may slow the node down for long, so an image is read and verified in slices with pauses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kraft.backup.archive import Archive, check_name, image_name
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, Stopped
from kraft.backup.image import Pause, write_image
from kraft.backup.manifest import Manifest
from kraft.backup.ports import BackupObserver, LogReach, NodeSource
from kraft.backup.shipped_log import LogPosition, ShippedLog

RETRY_SECONDS = 60.0  # after a failure
NOTE_MS = 10_000  # between two notes that nothing else was committed
MISSING_SECONDS = 60.0  # in which a group may elect a leader before it is told that its log is not shipped
SETTLE_MS = 2000  # a node may hear so late of what was committed: longer than a follower keeps a leader


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """`interval` is in seconds, 0 for no images but those asked for. `keep` counts images, 0 keeps all."""

    directory: Path
    key: BackupKey | None
    interval: float
    keep: int
    ship: bool


class BackupKeeper:
    """The backups of one node. `wall_ms` gives Unix milliseconds, `clock` monotonic seconds."""

    def __init__(
        self,
        settings: BackupSettings,
        source: NodeSource,
        observer: BackupObserver,
        *,
        pause: Pause,
        wall_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._source = source
        self._observer = observer
        self._pause = pause
        self._wall_ms = wall_ms
        self._clock = clock
        self._archive: Archive | None = None
        self._cluster = ""
        self._logs: dict[int, ShippedLog] = {}
        self._last_ms = 0  # when the newest image was made
        self._imaged: set[int] = set()  # the groups that are in it
        self._retry_at = 0.0
        self._gap = ""  # why a new image is needed
        self._missing: dict[int, float] = {}  # groups whose logs cannot be had, since when
        self._told: dict[int, str] = {}  # those of them that were told, and why

    def step(self) -> None:
        """Do what is due. Failures are reported, and what failed is repeated after a while."""
        if self._clock() < self._retry_at:
            return
        try:
            if self._ready():
                failure = self._ship_failure() if self._settings.ship else None
                if self._due:  # images do not depend on the log
                    self.take(image_name(self._wall_ms()))
                if failure is not None:
                    raise failure
        except Stopped:
            return
        except (BackupError, OSError) as error:
            self._retry_at = self._clock() + RETRY_SECONDS
            self._observer.failed(str(error))

    def take(self, name: str) -> Manifest:
        """Make the image `name` now. Raises `BackupError`."""
        archive = self._ready()
        if archive is None:
            raise BackupError(
                "this node cannot write backups now: it has no cluster, or another one has the lock"
            )
        try:
            check_name(name)
        except ValueError as error:
            raise BackupError(str(error)) from None
        began = self._clock()
        image = self._source.open_image()
        try:
            manifest = write_image(image, archive.folder, name, archive.key, pause=self._pause)
        finally:
            image.close()
        self._note_image(manifest)
        if self._settings.ship:
            self._begin_logs(manifest)
        removed = archive.prune(self._settings.keep)
        self._observer.image_made(manifest, self._clock() - began, removed)
        return manifest

    def close(self) -> None:
        """Close the files, and let another process write."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        if self._archive is not None:
            self._archive.unlock()
            self._archive = None

    # -- the directory --------------------------------------------------------------------------------

    def _ready(self) -> Archive | None:
        """The archive, locked; None while that is not possible."""
        if self._archive is not None:
            return self._archive
        cluster = self._source.cluster()
        if not cluster:
            return None
        archive = Archive.of_cluster(self._settings.directory, cluster, self._settings.key)
        if not archive.lock():
            self._observer.waiting(str(archive.folder))
            self._retry_at = self._clock() + RETRY_SECONDS / 10
            return None
        try:
            archive.remove_leftovers()
            images = archive.good_images()
        except BaseException:
            archive.unlock()
            raise
        self._archive, self._cluster = archive, cluster
        if images:
            self._note_image(images[-1][1])
            self._observer.image_found(images[-1][1])
        return archive

    def _note_image(self, manifest: Manifest) -> None:
        self._last_ms = manifest.created_ms
        self._imaged = {group.group for group in manifest.groups}

    @property
    def _due(self) -> bool:
        if self._gap:
            return True
        interval_ms, now_ms = self._settings.interval * 1000, self._wall_ms()
        # An image from the future was made by a clock that was wrong: it says nothing about when.
        return bool(interval_ms) and not now_ms - interval_ms < self._last_ms <= now_ms + interval_ms

    # -- the log --------------------------------------------------------------------------------------

    def _ship_failure(self) -> BackupError | OSError | None:
        """Ship the log. Returns why it could not be shipped, and raises `Stopped`."""
        try:
            self._ship()
        except Stopped:
            raise
        except (BackupError, OSError) as error:
            return error
        return None

    def _ship(self) -> None:
        """Ship what was applied since the last step. A group that cannot be shipped holds up no other one."""
        now_ms = self._wall_ms()
        shipped = {group: log.position.index for group, log in self._logs.items() if log.position}
        logs = self._source.logs(shipped)
        reaches = {group: reach for group, reach in logs.items() if isinstance(reach, LogReach)}
        self._tell({group: reason for group, reason in logs.items() if isinstance(reason, str)})
        for group in reaches.keys() - self._logs.keys():
            self._resume(group, reaches[group])
        failures = []
        for group, log in self._logs.items():
            if not self._gap and group in reaches:
                try:
                    self._ship_group(group, log, reaches[group], now_ms)
                except Stopped:
                    raise
                except BackupError as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _tell(self, missing: dict[int, str]) -> None:
        """Tell of groups whose logs could not be had for long."""
        now = self._clock()
        self._missing = {group: self._missing.get(group, now) for group in missing}
        late = {group for group, since in self._missing.items() if now - since >= MISSING_SECONDS}
        told = {group: missing[group] for group in sorted(late)}
        if told != self._told:
            self._told = told
            self._observer.not_shipped(told)

    def _resume(self, group: int, reach: LogReach) -> None:
        """Go on with the log of a group; that of one that is in no image yet begins with its first entry."""
        archive = self._archive
        if archive is None:
            return
        log = self._logs[group] = archive.shipped_log(self._cluster, group)
        if not self._last_ms:
            self._gap = "there is no image yet"
        elif not log.resume():
            if group not in self._imaged and log.empty and reach.first == 1:
                log.begin(LogPosition(0, 0, 0))
                return
            self._gap = "there is no shipped log, or it is damaged"
            self._observer.gap(group, self._gap)

    def _ship_group(self, group: int, log: ShippedLog, reach: LogReach, now_ms: int) -> None:
        position = log.position
        if position is None or position.index > reach.applied:
            return  # this node is not as far as the one that shipped before it
        while position.index < reach.applied:
            entries = self._source.fetch(group, position.index + 1, reach.applied)
            if not entries or entries[0].index != position.index + 1:
                self._gap = f"the log after {position.index} was cut before it was shipped"
                self._observer.gap(group, self._gap)
                return
            log.append(entries)
            position = log.position or position
            self._pause()
        complete_ms = now_ms - SETTLE_MS
        if reach.led and complete_ms >= position.complete_ms + NOTE_MS:
            log.note(complete_ms)
        known_ms = complete_ms if reach.led else position.complete_ms
        self._observer.shipped(group, position.index, max(position.stamp_ms, known_ms))

    def _begin_logs(self, manifest: Manifest) -> None:
        """After a new image: logs that have a gap, or were never shipped, go on after it."""
        archive = self._archive
        if archive is None:
            return
        for group in manifest.groups:
            log = self._logs.get(group.group)
            if log is None:  # its leader has not answered since this process began
                log = self._logs[group.group] = archive.shipped_log(self._cluster, group.group)
                log.resume()
            if self._gap or log.position is None:
                log.begin(LogPosition(group.index, group.term, group.stamp_ms))
        self._gap = ""
