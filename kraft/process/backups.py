"""The thread that keeps the backups of a node, and the way from it to the reactor's thread and back.

`kraft.backup.keeper` decides what is done. It waits for what it asks of the node, so it has a thread of its
own: a backup directory may be on a slow disk, or on another machine that hangs, and nobody else waits.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from kraft.backup.archive import image_name
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, Stopped
from kraft.backup.keeper import BackupKeeper, BackupSettings
from kraft.backup.manifest import Manifest
from kraft.backup.ports import BackupObserver
from kraft.config.values import BackupConfig
from kraft.host.host import Host
from kraft.node.admin import AdminDone
from kraft.node.errors import AdminRefused
from kraft.process.backup_source import CallInReactor, HostSource
from kraft.process.failure import CannotStart
from kraft.storage.store import Store

STEP_SECONDS = 1.0
STOP_SECONDS = 5.0
PAUSE_TIMES = 3  # of the time worked, as for checkpoints: writers notice less
PAUSE_SECONDS_MAX = 0.05
SLICE_SECONDS = 0.0005


def backup_settings(config: BackupConfig) -> BackupSettings | None:
    """The settings of a node's backups; None if it makes none. Raises CannotStart."""
    if config.directory is None:
        return None
    try:
        key = BackupKey.read(config.key_file)
    except BackupError as error:
        raise CannotStart(f"backup.key_file: {error}") from None
    return BackupSettings(Path(config.directory), key, config.interval, config.keep, config.ship)


class BackupThread:
    """Keeps the backups of `host`; `take` is for the reactor's thread, as `host.ports.BackupTaker` says."""

    def __init__(
        self,
        settings: BackupSettings,
        host: Host,
        store: Store,
        call_in_reactor: CallInReactor,
        observer: BackupObserver,
    ) -> None:
        self._call_in_reactor = call_in_reactor
        self._node = HostSource(host, store, call_in_reactor)
        self._worked_since = 0.0
        self._requests: SimpleQueue[tuple[str, AdminDone] | None] = SimpleQueue()
        self._directory = settings.directory
        reports = _Reports(observer, call_in_reactor)
        self._keeper = BackupKeeper(
            settings, self._node, reports, pause=self._pause, wall_ms=lambda: time.time_ns() // 1_000_000
        )
        self._thread = Thread(target=self._run, name="kraft-backups", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it: not on the reactor's thread. What it writes is given up.

        A directory that hangs is not waited for.
        """
        self._node.stopping = True
        self._requests.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def take(self, name: str, done: AdminDone) -> None:
        """Write the image `name` as soon as what is under way is complete; `done` gets a dict about it."""
        self._requests.put((name, done))

    # The thread itself.

    def _run(self) -> None:
        while not self._node.stopping:
            try:
                request = self._requests.get(timeout=STEP_SECONDS)
            except Empty:
                self._worked_since = time.perf_counter()
                self._keeper.step()
            else:
                if request is not None:
                    self._worked_since = time.perf_counter()
                    self._call_in_reactor(request[1], self._taken(request[0]))
        self._keeper.close()

    def _taken(self, name: str) -> dict[str, object] | Exception:
        try:
            manifest = self._keeper.take(name or image_name(time.time_ns() // 1_000_000))
        except (BackupError, OSError) as error:
            return AdminRefused(str(error))
        return {
            "name": manifest.name,
            "directory": str(self._directory),
            "keys": manifest.keys,
            "bytes": manifest.bytes,
            "indexes": [group.index for group in manifest.groups],
        }

    def _pause(self) -> None:
        """Let other threads have Python's lock for longer than this one had it."""
        if self._node.stopping:
            raise Stopped("the node stops")
        worked = time.perf_counter() - self._worked_since
        if worked >= SLICE_SECONDS:
            time.sleep(min(PAUSE_TIMES * worked, PAUSE_SECONDS_MAX))
            self._worked_since = time.perf_counter()


class _Reports:
    """`backup.ports.BackupObserver` for the thread: it passes everything on to the reactor's thread."""

    def __init__(self, observer: BackupObserver, call_in_reactor: CallInReactor) -> None:
        self._observer = observer
        self._call = call_in_reactor

    def image_made(self, manifest: Manifest, seconds: float, removed: Sequence[str]) -> None:
        """An image is complete."""
        self._call(self._observer.image_made, manifest, seconds, removed)

    def image_found(self, manifest: Manifest) -> None:
        """The newest image."""
        self._call(self._observer.image_found, manifest)

    def shipped(self, group: int, index: int, reaches_ms: int) -> None:
        """The log was shipped."""
        self._call(self._observer.shipped, group, index, reaches_ms)

    def gap(self, group: int, reason: str) -> None:
        """The shipped log ends."""
        self._call(self._observer.gap, group, reason)

    def not_shipped(self, reasons: Mapping[int, str]) -> None:
        """Logs cannot be had."""
        self._call(self._observer.not_shipped, reasons)

    def failed(self, reason: str) -> None:
        """Something did not work."""
        self._call(self._observer.failed, reason)

    def waiting(self, folder: str) -> None:
        """Another process writes."""
        self._call(self._observer.waiting, folder)
