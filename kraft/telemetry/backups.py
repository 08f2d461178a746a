"""What the backups of a node report: `kraft.backup.ports.BackupObserver`, on the reactor's thread."""

from collections.abc import Mapping, Sequence

from kraft.backup.manifest import Manifest
from kraft.telemetry.metrics.registry import LastSnapshot
from kraft.telemetry.observers import Observer

GROUPS_TOLD = 8  # in one event


class BackupTelemetry(Observer):
    """Images, and the log that is shipped after them."""

    def image_made(self, manifest: Manifest, seconds: float, removed: Sequence[str]) -> None:
        """An image is complete and was read back."""
        self._metrics.backups.add(1, "done")
        self.image_found(manifest)
        self._events.log(
            "backup_made",
            image=manifest.name,
            keys=manifest.keys,
            bytes=manifest.bytes,
            indexes=[group.index for group in manifest.groups],
            removed=list(removed),
            seconds=round(seconds, 3),
        )

    def image_found(self, manifest: Manifest) -> None:
        """This is the newest image."""
        self._metrics.last_backup = LastSnapshot(manifest.created_ms / 1000, manifest.bytes)
        self._metrics.backup_problem = ""

    def shipped(self, group: int, index: int, reaches_ms: int) -> None:
        """The log is shipped up to `index`."""
        self._metrics.shipped[str(group)] = (index, reaches_ms / 1000)
        self._metrics.backup_problem = ""

    def gap(self, group: int, reason: str) -> None:
        """The shipped log ends, and a new image follows."""
        self._events.log_limited(f"backup gap {group}", "backup_gap", group=group, reason=reason)

    def not_shipped(self, reasons: Mapping[int, str]) -> None:
        """The logs of these groups cannot be had."""
        self._metrics.unshipped = len(reasons), next(iter(reasons.values()), "")
        for reason in dict.fromkeys(reasons.values()):
            groups = [group for group, each in reasons.items() if each == reason]
            self._events.log_limited(
                f"not shipped {reason}",
                "log_not_shipped",
                groups=groups[:GROUPS_TOLD],
                count=len(groups),
                reason=reason,
            )

    def failed(self, reason: str) -> None:
        """A backup did not work, and is tried again."""
        self._metrics.backups.add(1, "failed")
        self._metrics.backup_problem = reason
        self._events.log_limited("backup failed", "backup_failed", reason=reason)

    def waiting(self, folder: str) -> None:
        """Another process has the lock of the directory. It repeats, and is normal."""
        self._events.log_limited("backup waiting", "backup_waiting", directory=folder)
