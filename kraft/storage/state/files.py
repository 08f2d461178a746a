"""`StateFiles`: the state files of one node's groups, synchronous, for storage's threads or a simulator.

`state-G-N.db` is the file of group G while the group's row in `log.db` names N. A new file, the group's first
one or a received snapshot, is complete and durable before a commit names it, and a file that no row names is
removed at the next start. So exactly one file is in force, whenever a crash occurs.

    first checkpoint   write state-0-1.db, sync, sync directory | row: state 1
    later checkpoints  one transaction in state-0-1.db
    snapshot           write state-0-2.db, sync, sync directory | row: state 2 and base | remove state-0-1.db
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Protocol

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.node.values import Loaded
from kraft.storage.errors import CannotOpen, DamagedState, DirectoryUnusable, NoSpace
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.ports import Directory, LoadReport, StorageSettings
from kraft.storage.sqlite import PAGE_BYTES
from kraft.storage.state.database import DamagedStateFile, Pause, StateDatabase, no_pause
from kraft.storage.state.folder import StateFolder
from kraft.storage.state.loading import load, with_checkpoints
from kraft.storage.state.state_receiver import StateReceiver
from kraft.storage.state.view import StateView


class FirstStateNames(Protocol):
    """The log database, or the thread around it: it knows which state file is a group's."""

    def name_first_state(self, group: int, number: int) -> bool:
        """Make `number` the group's first state file, durably; False when the disk is full, or when the group
        has a state file by now.
        """


class StateFiles:
    """All state files of a directory, loaded. Methods raise `StorageError`.

    At most `settings.state_files_open` of them are open, those that were used last. `loaded` is what the log
    held, with the checkpoints. `write`, `switch` and `tidy` are for one thread;
    `open_view`, `receive` and `discard` may run on another one. Without `shared` each file has one
    connection, for a disk without shared memory, and everything is for one thread. With `read_only` all files
    are left as they are. `report` is told how far loading has come.
    """

    def __init__(
        self,
        directory: Directory,
        loaded: Loaded,
        replicas: Callable[[int], ReplicaRow],
        *,
        settings: StorageSettings,
        vfs: str = "",
        shared: bool = True,
        read_only: bool = False,
        report: LoadReport | None = None,
    ) -> None:
        self._settings = settings
        self._read_only = read_only
        self._folder = StateFolder(directory, settings, vfs=vfs, shared=shared, read_only=read_only)
        self._lock = Lock()  # guards which file is a group's, not what is done to it
        self._numbers: dict[int, int] = {}
        self._newest: dict[int, int] = {}  # the highest number given to a file of the group
        self._checkpoints: dict[int, Checkpoint] = {}  # in the group's file
        self._databases: dict[int, StateDatabase] = {}  # that are open, the one used last at the end
        self._free_pages: dict[int, int] = {}  # in the files that are closed
        self._pending_switches: dict[int, int] = {}  # committed, and not opened for want of space
        self._receivers: dict[int, StateReceiver] = {}
        try:
            self.loaded = self._load(loaded, replicas, report)
        except OSError as error:
            self.abandon()
            raise DirectoryUnusable(f"{directory.path('')}: {error.strerror or error}") from error
        except BaseException:
            self.abandon()
            raise

    def _load(
        self, loaded: Loaded, replicas: Callable[[int], ReplicaRow], report: LoadReport | None
    ) -> Loaded:
        """Open and verify the files that the log names, and remove all others."""
        self._newest = {group: replicas(group).state for group in loaded.groups}
        self._folder.remove_orphans(self._newest)
        checkpoints: dict[int, tuple[Checkpoint, Keyspace]] = {}
        for group, restored in loaded.groups.items():
            found = load(self._folder, group, restored, replicas(group), report)
            if found is not None:
                database, checkpoint, keyspace = found
                self._in_force(group, self._newest[group], database)
                self._close_idle()
                checkpoints[group] = checkpoint, keyspace
        return with_checkpoints(loaded, checkpoints)

    def checkpoint(self, group: int) -> Checkpoint | None:
        """The checkpoint in the group's file; None when there is none."""
        return self._checkpoints.get(group)

    def number(self, group: int) -> int:
        """The number of the group's file, 0 for none."""
        return self._numbers.get(group, 0)

    def write(
        self, group: int, capture: Capture, names: FirstStateNames, pause: Pause = no_pause
    ) -> Checkpoint | None:
        """Write one checkpoint, durable on return; None when the disk is full, with nothing changed.

        The group's first one makes its file, and `names` is told to name it. Raises `CannotOpen`, also with
        nothing changed.
        """
        if not self._finish_switch(group):
            return None
        if not self.number(group):
            return self._write_first(group, capture, names, pause)
        database = self._database(group)
        if database is None or not database.write(capture, pause) or database.checkpoint is None:
            return None
        self._checkpoints[group] = database.checkpoint
        return database.checkpoint

    def _in_force(self, group: int, number: int, database: StateDatabase) -> None:
        """The open file `number` is the group's from now on, and the last to be closed."""
        if database.checkpoint is not None:
            self._numbers[group], self._checkpoints[group] = number, database.checkpoint
        self._databases.pop(group, None)
        self._databases[group] = database
        self._free_pages.pop(group, None)

    def _close_idle(self) -> None:
        """Close the files that were not used for the longest time."""
        while len(self._databases) > self._settings.state_files_open:
            group = next(iter(self._databases))
            database = self._databases.pop(group)
            self._free_pages[group] = database.free_pages
            (database.abandon if self._read_only else database.close)()

    def _database(self, group: int) -> StateDatabase | None:
        """The group's file, open, and the last to be closed; None when the disk is full.

        Raises `CannotOpen`.
        """
        number, checkpoint = self._numbers[group], self._checkpoints[group]
        database = self._databases.get(group) or self._open(group, number)
        if database is None:
            return None
        if database.checkpoint != checkpoint:
            database.abandon()
            raise DamagedState(database.place, "its checkpoint is not the one that it was closed with")
        self._in_force(group, number, database)
        self._close_idle()
        return database

    def _open(self, group: int, number: int) -> StateDatabase | None:
        """Open a file that is there; None when the disk is full. Raises `CannotOpen`."""
        try:
            return self._folder.open(group, number)
        except NoSpace:
            return None
        except DamagedStateFile as error:
            raise DamagedState(self._folder.place(group, number), str(error)) from error

    def _write_first(
        self, group: int, capture: Capture, names: FirstStateNames, pause: Pause
    ) -> Checkpoint | None:
        number = self._next(group)
        self._folder.remove(group, number)
        database = None
        try:
            database = self._folder.open(group, number)
            if database.write(capture, pause) and database.checkpoint is not None:
                self._folder.sync()
                if names.name_first_state(group, number):
                    with self._lock:
                        self._in_force(group, number, database)
                    self._close_idle()
                    return database.checkpoint
        except NoSpace:
            pass
        except OSError as error:
            raise DirectoryUnusable(f"{self._folder.place(group, number)}: {error}") from error
        except CannotOpen:
            if database is not None:
                database.abandon()
            self._folder.remove(group, number)
            raise
        except BaseException:
            if database is not None:
                database.abandon()
            raise
        if database is not None:
            database.abandon()
        self._folder.remove(group, number)
        return None

    def _next(self, group: int) -> int:
        with self._lock:
            self._newest[group] = number = self._newest.get(group, 0) + 1
            return number

    def switch(self, group: int, number: int) -> None:
        """A commit has made `number` the group's file: open it, and remove the one before.

        When the disk has no space even for that, or the file cannot be opened, it is tried again before the
        next checkpoint is written.
        """
        self._pending_switches[group] = number
        with suppress(CannotOpen):
            self._finish_switch(group)

    def _finish_switch(self, group: int) -> bool:
        """Finish a switch, if there is one; False when the disk is full. Raises `CannotOpen`."""
        number = self._pending_switches.get(group)
        if number is None:
            return True
        database = self._open(group, number)
        if database is None:
            return False
        if database.checkpoint is None:
            database.abandon()
            raise DamagedState(database.place, "it holds no checkpoint")
        del self._pending_switches[group]
        with self._lock:
            before, old = self._numbers.get(group, 0), self._databases.get(group)
            self._in_force(group, number, database)
            receiver = self._receivers.get(group)
            if receiver is not None and receiver.number == number:
                del self._receivers[group]
            if old is not None:
                old.abandon()
            if before:
                self._folder.remove(group, before)
        self._close_idle()
        return True

    def forget(self, group: int) -> None:
        """A commit has destroyed the replica of the group: remove its file. For the thread of `write`."""
        self._pending_switches.pop(group, None)
        with self._lock:
            number, database = self._numbers.pop(group, 0), self._databases.pop(group, None)
            self._checkpoints.pop(group, None)
            self._free_pages.pop(group, None)
            if database is not None:
                database.abandon()
            if number:
                self._folder.remove(group, number)

    def receive(self, group: int, checkpoint: Checkpoint) -> StateReceiver | None:
        """A file for a snapshot that arrives, replacing one still arriving; None when the disk is full.

        Raises `CannotOpen`.
        """
        before = self._receivers.pop(group, None)
        if before is not None and not before.finished:
            before.abandon()
        receiver = self._folder.receive(group, self._next(group), checkpoint)
        if receiver is not None:
            self._receivers[group] = receiver
        return receiver

    def open_view(self, group: int) -> StateView | None:
        """A view of the last checkpoint; None when there is none. Raises `CannotOpen`."""
        with self._lock:  # against a switch, which removes the file
            number = self._numbers.get(group)
            return self._folder.view(group, number, self._databases.get(group)) if number else None

    def discard(self, group: int, receiver: StateReceiver) -> None:
        """Remove a received file, unless it is the group's by now."""
        with self._lock:
            if self._receivers.get(group) is receiver:
                del self._receivers[group]
            if self._numbers.get(group) != receiver.number:
                receiver.abandon()

    def tidy(self) -> bool:
        """One bounded step of housekeeping: empty WALs, give back some free pages. True if there is more."""
        steps = [self._tidy(database) for database in tuple(self._databases.values())]
        return any(steps)

    def _tidy(self, database: StateDatabase) -> bool:
        if database.wal_bytes and (not database.checkpoint_wal() or database.wal_bytes):
            return False  # no space, or a reader holds on to the WAL: again when something has changed
        if database.free_pages * PAGE_BYTES <= self._settings.free_bytes:
            return False
        return database.vacuum(self._settings.vacuum_pages) and database.checkpoint_wal()

    def sizes(self) -> dict[str, int]:
        """Bytes of the groups' files with their WALs, of free pages in them, and of snapshots that arrive."""
        current = sum([self._folder.size(group, number) for group, number in tuple(self._numbers.items())])
        open_ = [database.free_pages for database in tuple(self._databases.values())]
        free = sum(open_ + list(self._free_pages.values())) * PAGE_BYTES
        arriving = sum([self._folder.size(group, r.number) for group, r in tuple(self._receivers.items())])
        return {"state": current, "state_free": free, "snapshot": arriving}

    def close(self) -> None:
        """Close all files; empty the WALs if there is space, and remove unfinished snapshots.

        A finished snapshot stays: the commit that switches to it may be on its way.
        """
        for receiver in self._receivers.values():
            if not receiver.finished:
                receiver.abandon()
        for database in self._databases.values():
            database.close()

    def abandon(self) -> None:
        """Close all files as they are."""
        for receiver in self._receivers.values():
            receiver.close()
        for database in self._databases.values():
            database.abandon()
