"""What storage needs from outside: an observer, and the few things of a directory that SQLite does not do.

A simulator supplies a directory in memory and an SQLite VFS beside it; production has `directory.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of one node's storage, in bytes where the name does not say otherwise.

    Beyond `wal_bytes` the WAL is checkpointed as soon as nobody waits; beyond `wal_bytes_max` it is even
    when somebody does. A checkpoint stalls commits for the time of writing its distinct pages and two syncs:
    16 MiB at a modest 200 MB/s is 80 ms, well below the shortest election timeout. `tail_bytes` is what is
    loaded at start of the entries already known to be committed.

    Up to `free_bytes` of free pages stay in a file, as the next rows will want them: giving them back and
    taking them again costs two writes a page. Above, `vacuum_pages` are given back at a time, 256 KiB: a
    commit that comes meanwhile waits a millisecond or two. A checkpoint of a state file works for
    `slice_seconds` and then pauses three times as long: the reactor and the log's writer get Python's lock
    and the disk in between, and lose at most a quarter of their time to it.
    """

    wal_bytes: int = 4 << 20
    wal_bytes_max: int = 16 << 20
    tail_bytes: int = 4 << 20
    free_bytes: int = 16 << 20
    vacuum_pages: int = 64
    slice_seconds: float = 0.0005


class StorageObserver(Protocol):
    """What storage tells of itself, on the reactor's thread; implementations must not raise."""

    def committed(self, seconds: float, entries: int, size: int, /) -> None:
        """One transaction is durable; it held `entries` log entries with `size` bytes of data."""

    def wal_checkpointed(self, seconds: float, /) -> None:
        """The WAL was copied into the database."""

    def checkpoint_written(self, group: int, seconds: float, written: int, index: int, size: int, /) -> None:
        """A checkpoint of the keyspace at `index` is durable: `written` keys had changed, all keys and values
        are `size` bytes.
        """

    def checkpoint_failed(self, group: int, /) -> None:
        """There was no space for a checkpoint of the keyspace; the one before stands."""

    def checkpoint_loaded(self, group: int, seconds: float, /) -> None:
        """All keys of a group were read from its state file, at a start or from a snapshot."""

    def error(self, operation: str, /) -> None:
        """Out of space in `operation`: commit, checkpoint, highwater, state or snapshot. Worse ends the
        process.
        """


class RecordFile(Protocol):
    """A small file that is overwritten in place. Errors are `OSError`."""

    def read(self) -> bytes:
        """All of it."""

    def write(self, offset: int, data: bytes) -> None:
        """Overwrite, without sync."""

    def sync(self) -> None:
        """Make every write so far durable."""

    def close(self) -> None:
        """Let go of it, without sync."""


class Directory(Protocol):
    """One node's data directory; names are file names in it. Errors are `OSError`."""

    def path(self, name: str) -> str:
        """What SQLite opens, and what messages show."""

    def exists(self, name: str) -> bool:
        """Whether the file is there."""

    def size(self, name: str) -> int:
        """Bytes, 0 when it is not there."""

    def names(self) -> Sequence[str]:
        """All files in it."""

    def remove(self, name: str) -> None:
        """Delete, also when it is not there."""

    def sync(self) -> None:
        """Make the names in it durable."""

    def rename(self, name: str, to: str) -> None:
        """Replace `to`; durable on return."""

    def record_file(self, name: str) -> RecordFile:
        """Open, or create durably when it is not there."""
