"""What storage needs from outside: its settings, an observer, and a directory.

SQLite opens its files itself; `Directory` is the rest that storage does with the file system. Production has
`directory.py`; a simulator supplies a directory in memory, with an SQLite VFS of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

DISK_FULL = "the disk is full"

LoadReport = Callable[[int, int, int], object]
"""Is told a group, how many of its keys are loaded, and how many there are."""


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Bounds of one node's storage, in bytes unless the name says otherwise.

    Above `wal_bytes` the WAL of the log is checkpointed as soon as no commit waits, above `wal_bytes_max`
    even when one does. A WAL checkpoint stalls commits for the time of writing its distinct pages and of two
    syncs: 16 MiB at a modest 200 MB/s take 80 ms, well below the shortest election timeout. `tail_bytes` is
    how much a start loads of the entries that are known to be committed.

    Up to `free_bytes` of free pages stay in a file for the next rows: giving them back and taking them again
    costs two writes a page. Above that, `vacuum_pages` are given back at a time, 256 KiB: a commit that
    arrives meanwhile waits a millisecond or two. A checkpoint of a state file works for `slice_seconds` and
    then pauses three times as long. Meanwhile the reactor and the log's writer get Python's lock and the
    disk, so they lose at most a quarter of their time to it. At most `state_files_open` state files are open.
    """

    wal_bytes: int = 4 << 20
    wal_bytes_max: int = 16 << 20
    tail_bytes: int = 4 << 20
    free_bytes: int = 16 << 20
    vacuum_pages: int = 64
    slice_seconds: float = 0.0005
    state_files_open: int = 64  # each takes three descriptors


class StorageObserver(Protocol):
    """What storage reports, on the reactor's thread. Implementations must not raise."""

    def committed(self, seconds: float, entries: int, size: int, /) -> None:
        """One transaction is durable; it held `entries` log entries with `size` bytes of data."""

    def wal_checkpointed(self, seconds: float, /) -> None:
        """The WAL of the log was copied into the database."""

    def checkpoint_written(self, group: int, seconds: float, written: int, index: int, size: int, /) -> None:
        """A checkpoint of the keyspace at `index` is durable: `written` keys had changed, all keys and values
        are `size` bytes.
        """

    def checkpoint_failed(self, group: int, /) -> None:
        """A checkpoint of the keyspace found no space; the one before is still in force."""

    def state_loading(self, group: int, keys: int, of: int, /) -> None:
        """`keys` of the `of` keys of a group are loaded: at a start, again and again until all are."""

    def checkpoint_loaded(self, group: int, seconds: float, /) -> None:
        """All keys of a group were read from its state file, at a start or from a snapshot."""

    def error(self, operation: str, reason: str = DISK_FULL, /) -> None:
        """`operation` found no space, or could not open a file, and is tried again.

        It is commit, checkpoint (a WAL checkpoint), highwater, state or snapshot. Any other error of the disk
        ends the process.
        """


class RecordFile(Protocol):
    """A small file that is overwritten in place. Errors are `OSError`."""

    def read(self) -> bytes:
        """Its whole content."""

    def write(self, offset: int, data: bytes) -> None:
        """Overwrite, without sync."""

    def sync(self) -> None:
        """Make every write so far durable."""

    def close(self) -> None:
        """Close it, without sync."""


class Directory(Protocol):
    """One node's data directory; names are file names in it. Errors are `OSError`."""

    def path(self, name: str) -> str:
        """The path of a file, as SQLite opens it and messages show it."""

    def exists(self, name: str) -> bool:
        """Whether the file is there."""

    def size(self, name: str) -> int:
        """Bytes; 0 when the file is not there."""

    def names(self) -> Sequence[str]:
        """All files in the directory."""

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens when it is not there."""

    def sync(self) -> None:
        """Make the names in the directory durable. Raises `CannotOpen` with too many open files."""

    def rename(self, name: str, to: str) -> None:
        """Replace the file `to`; durable on return."""

    def record_file(self, name: str) -> RecordFile:
        """Open a file; when it is not there, create it durably."""
