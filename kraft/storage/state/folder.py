"""The state files of a data directory by group and number: their names, opening and removing them."""

import re
from collections.abc import Mapping

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.storage.errors import CannotOpen, NoSpace, StorageError
from kraft.storage.ports import Directory, StorageSettings
from kraft.storage.state.database import StateDatabase
from kraft.storage.state.state_receiver import StateReceiver
from kraft.storage.state.view import StateView, copied_view, pinned_view

_FILE_NAME = re.compile(r"state-([0-9]+)-([0-9]+)\.db(-wal|-shm|-journal)?")
_COMPANIONS = ("-wal", "-shm", "-journal")


def file_names(group: int, number: int) -> tuple[str, ...]:
    """The name of a state file, and those of its companions."""
    name = f"state-{group}-{number}.db"
    return (name, *(name + suffix for suffix in _COMPANIONS))


class StateFolder:
    """`state-G-N.db` is the file with the number N of group G. It does not know which of them is in force.

    Without `shared` each file has one connection, for a disk without shared memory. With `read_only` all
    files are left as they are.
    """

    def __init__(
        self, directory: Directory, settings: StorageSettings, *, vfs: str, shared: bool, read_only: bool
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._vfs, self._shared = vfs, shared
        self._read_only = read_only

    def place(self, group: int, number: int) -> str:
        """The path of a file."""
        return self._directory.path(file_names(group, number)[0])

    def exists(self, group: int, number: int) -> bool:
        """Whether a file is there."""
        return self._directory.exists(file_names(group, number)[0])

    def open(self, group: int, number: int) -> StateDatabase:
        """Open a file, or make it. Raises `StorageError`."""
        return StateDatabase(
            self.place(group, number),
            vfs=self._vfs,
            shared=self._shared,
            wal_bytes_max=self._settings.wal_bytes_max,
            read_only=self._read_only,
        )

    def write(self, group: int, number: int, capture: Capture) -> Checkpoint:
        """Bring a file to `capture`, durably; it may be new. Raises `StorageError` or OSError."""
        database = self.open(group, number)
        try:
            if not database.write(capture) or database.checkpoint is None:
                raise NoSpace(f"{database.place}: the disk is full")
            checkpoint = database.checkpoint
            database.close()
        except BaseException:
            database.abandon()
            raise
        self.sync()
        return checkpoint

    def view(self, group: int, number: int, database: StateDatabase | None) -> StateView | None:
        """A view of the last checkpoint in a file; None when it has none. Raises `CannotOpen`.

        `database` is the file if it is open.
        """
        if self._shared:
            return pinned_view(self.place(group, number), vfs=self._vfs)
        if database is not None:
            return copied_view(database)
        opened = self.open(group, number)
        try:
            return copied_view(opened)
        finally:
            opened.abandon()

    def receive(self, group: int, number: int, checkpoint: Checkpoint) -> StateReceiver | None:
        """A new file for a snapshot that arrives; None when the disk is full. Raises `StorageError`."""
        names = file_names(group, number)
        try:
            return StateReceiver(
                self._directory,
                names,
                number,
                checkpoint,
                settings=self._settings,
                vfs=self._vfs,
                shared=self._shared,
            )
        except NoSpace:
            self._remove(names)
            return None
        except CannotOpen:
            self._remove(names)
            raise
        except OSError as error:
            raise StorageError(f"{self._directory.path(names[0])}: {error}") from error

    def sync(self) -> None:
        """Make the names of the files durable. Raises `CannotOpen` or OSError."""
        self._directory.sync()

    def remove(self, group: int, number: int) -> None:
        """Remove a file and its companions, as far as they are there. Raises OSError."""
        self._remove(file_names(group, number))

    def remove_orphans(self, numbers: Mapping[int, int]) -> None:
        """Remove files that `numbers` does not name, by group. Raises OSError.

        None of a group whose own file is missing is removed: one of them may be the last copy of its data.
        """
        names = set(self._directory.names())
        for name in sorted(names):
            match = _FILE_NAME.fullmatch(name)
            if not match:
                continue
            group, number = int(match[1]), numbers.get(int(match[1]), 0)
            if number != int(match[2]) and (not number or file_names(group, number)[0] in names):
                self._remove((name,))

    def _remove(self, names: tuple[str, ...]) -> None:
        if not self._read_only:
            for name in reversed(names):
                self._directory.remove(name)

    def size(self, group: int, number: int) -> int:
        """Bytes of a file with its WAL."""
        return sum([self._directory.size(name) for name in file_names(group, number)[:2]])
