"""What backups need from a node. All calls wait for their answer, so they are for a thread of their own.

Each of them may raise `BackupError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kraft.backup.manifest import Manifest
from kraft.node.values import Rows
from kraft.raft.messages import Entry


@dataclass(frozen=True, slots=True)
class LogReach:
    """The log of a group on this node begins at `first`, and is applied up to `applied`.

    `led`: a leader is known, so that this node hears of what is committed.
    """

    first: int
    applied: int
    led: bool


class ImageSource(Protocol):
    """The state of all groups of a node, which does not change."""

    @property
    def head(self) -> Manifest:
        """What it holds: the manifest without a name and without parts."""

    def read(self, group: int, after: bytes | None) -> Rows:
        """A piece of the rows of a group after the key `after` (None: from the first)."""

    def close(self) -> None:
        """Give it up."""


class NodeSource(Protocol):
    """A node, as the process that keeps its backups sees it."""

    def cluster(self) -> str:
        """The id of its cluster; '' if it has none."""

    def logs(self, shipped: Mapping[int, int]) -> Mapping[int, LogReach | str]:
        """The log of every group, or why it cannot be had; empty while they are replayed.

        `shipped` is the last index that was shipped of a group: a replica here may not be as far.
        """

    def fetch(self, group: int, first: int, last: int) -> Sequence[Entry]:
        """Entries from `first` up to at most `last`; none if the log begins after `first` by now."""

    def open_image(self) -> ImageSource:
        """The state with all writes that were acknowledged before this call."""


class BackupObserver(Protocol):
    """What is reported, on the thread of the backups. Implementations must not raise."""

    def image_made(self, manifest: Manifest, seconds: float, removed: Sequence[str]) -> None:
        """An image is complete and was read back; older ones were `removed`."""

    def image_found(self, manifest: Manifest) -> None:
        """At the start: the newest image in the directory."""

    def shipped(self, group: int, index: int, reaches_ms: int) -> None:
        """The log was shipped up to `index`, and the state is known up to this Unix time in ms."""

    def gap(self, group: int, reason: str) -> None:
        """The shipped log of a group ends, and a new image follows."""

    def not_shipped(self, reasons: Mapping[int, str]) -> None:
        """The logs of these groups, all that there are, cannot be had for a while, and why. None: all can."""

    def failed(self, reason: str) -> None:
        """Something did not work, and is tried again."""

    def waiting(self, folder: str) -> None:
        """Another process writes to the directory."""
