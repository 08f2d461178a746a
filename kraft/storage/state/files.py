"""`StateFiles`: the state files of one node's groups, synchronous, for storage's threads or a simulator.

`state-G-N.db` is the file of group G while the group's row in `log.db` names N. A new file, the group's first
one or a received snapshot, is complete and durable before a commit names it, and a file that no row names is
removed at the next start. So exactly one file is in force, whenever a crash occurs.

    first checkpoint   write state-0-1.db, sync, sync directory | row: state 1
    later checkpoints  one transaction in state-0-1.db
    snapshot           write state-0-2.db, sync, sync directory | row: state 2 and base | remove state-0-1.db
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Protocol

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.node.values import Loaded
from kraft.raft.ports import Restored
from kraft.storage.errors import (
    CannotOpen,
    DamagedLog,
    DamagedState,
    DirectoryUnusable,
    NewerVersion,
    NoSpace,
    StorageError,
    UnknownVersion,
)
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.ports import Directory, LoadReport, StorageSettings
from kraft.storage.sqlite import PAGE_BYTES
from kraft.storage.state.database import DamagedStateFile, Pause, StateDatabase, no_pause
from kraft.storage.state.receiver import StateReceiver
from kraft.storage.state.view import StateView, copied_view, pinned_view

_FILE_NAME = re.compile(r"state-([0-9]+)-([0-9]+)\.db(-wal|-shm|-journal)?")
_COMPANIONS = ("-wal", "-shm", "-journal")


class FirstStateNames(Protocol):
    """The log database, or the thread around it: it knows which state file is a group's."""

    def name_first_state(self, group: int, number: int) -> bool:
        """Make `number` the group's first state file, durably; False when the disk is full, or when the group
        has a state file by now.
        """


def file_names(group: int, number: int) -> tuple[str, ...]:
    """The name of a state file, and those of its companions."""
    name = f"state-{group}-{number}.db"
    return (name, *(name + suffix for suffix in _COMPANIONS))


class StateFiles:
    """All state files of a directory, opened and loaded. Methods raise `StorageError`.

    `loaded` is what the log held, with the checkpoints. `write`, `switch` and `tidy` are for one thread;
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
        self._report = report
        self._directory = directory
        self._settings = settings
        self._read_only = read_only
        self._vfs, self._shared = vfs, shared
        self._lock = Lock()  # guards which file is a group's, not what is done to it
        self._numbers: dict[int, int] = {}
        self._newest: dict[int, int] = {}  # the highest number given to a file of the group
        self._databases: dict[int, StateDatabase] = {}
        self._pending_switches: dict[int, int] = {}  # committed, and not opened for want of space
        self._receivers: dict[int, StateReceiver] = {}
        checkpoints: dict[int, tuple[Checkpoint, Keyspace]] = {}
        try:
            self._remove_orphans({group: replicas(group).state for group in loaded.groups})
            for group, restored in loaded.groups.items():
                if (found := self._load(group, restored, replicas(group))) is not None:
                    checkpoints[group] = found
        except OSError as error:
            self.abandon()
            raise DirectoryUnusable(f"{directory.path('')}: {error.strerror or error}") from error
        except BaseException:
            self.abandon()
            raise
        self.loaded = replace(loaded, checkpoints=checkpoints, groups=_raised(loaded.groups, checkpoints))

    def _remove_orphans(self, numbers: Mapping[int, int]) -> None:
        """Remove files that no row names, but none of a group whose own file is missing: one of them may be
        the last copy of its data.
        """
        names = set(self._directory.names())
        for name in sorted(names):
            match = _FILE_NAME.fullmatch(name)
            if not match:
                continue
            group, number = int(match[1]), numbers.get(int(match[1]), 0)
            if number != int(match[2]) and (not number or file_names(group, number)[0] in names):
                self._remove((name,))

    def _load(
        self, group: int, restored: Restored, replica: ReplicaRow
    ) -> tuple[Checkpoint, Keyspace] | None:
        """The content of the group's file, verified; None when there is none and the log holds everything."""
        names = file_names(group, replica.state)
        place = self._directory.path(names[0])
        whole = replica.base.index == 0  # the log alone holds everything
        self._newest[group] = replica.state
        if not replica.state or not self._directory.exists(names[0]):
            if not whole:
                raise DamagedState(place, f"it is missing, and the log begins at {replica.base.index + 1}")
            self._remove(names)
            return None
        try:
            database = self._open(place)
        except NewerVersion:
            raise  # the file is in order: neither remove it nor call it damaged
        except (DamagedStateFile, DamagedLog, UnknownVersion) as error:
            if not whole:
                raise DamagedState(place, _damage_text(error)) from error
            self._remove(names)
            return None
        try:
            keyspace = database.load(self._report and partial(self._report, group))
            checkpoint = database.checkpoint
            if checkpoint is None:
                raise DamagedStateFile("it holds no checkpoint")
            if wrong := _mismatch(checkpoint, restored):
                raise DamagedState(place, wrong)
        except DamagedStateFile as error:
            database.abandon()
            if not whole:
                raise DamagedState(place, str(error)) from error
            self._remove(names)
            return None
        except BaseException:
            database.abandon()
            raise
        self._numbers[group], self._databases[group] = replica.state, database
        return checkpoint, keyspace

    def _open(self, place: str) -> StateDatabase:
        return StateDatabase(
            place,
            vfs=self._vfs,
            shared=self._shared,
            wal_bytes_max=self._settings.wal_bytes_max,
            read_only=self._read_only,
        )

    def _remove(self, names: tuple[str, ...]) -> None:
        if not self._read_only:
            for name in reversed(names):
                self._directory.remove(name)

    def checkpoint(self, group: int) -> Checkpoint | None:
        """The checkpoint in the group's file; None when there is none."""
        database = self._databases.get(group)
        return None if database is None else database.checkpoint

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
        database = self._databases.get(group)
        if database is None:
            return self._write_first(group, capture, names, pause)
        return database.checkpoint if database.write(capture, pause) else None

    def _write_first(
        self, group: int, capture: Capture, names: FirstStateNames, pause: Pause
    ) -> Checkpoint | None:
        number = self._next(group)
        files = file_names(group, number)
        self._remove(files)
        database = None
        try:
            database = self._open(self._directory.path(files[0]))
            if database.write(capture, pause):
                self._directory.sync()
                if names.name_first_state(group, number):
                    with self._lock:
                        self._numbers[group], self._databases[group] = number, database
                    return database.checkpoint
        except NoSpace:
            pass
        except OSError as error:
            raise DirectoryUnusable(f"{self._directory.path(files[0])}: {error}") from error
        except CannotOpen:
            if database is not None:
                database.abandon()
            self._remove(files)
            raise
        except BaseException:
            if database is not None:
                database.abandon()
            raise
        if database is not None:
            database.abandon()
        self._remove(files)
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
        place = self._directory.path(file_names(group, number)[0])
        try:
            database = self._open(place)
        except NoSpace:
            return False
        except DamagedStateFile as error:
            raise DamagedState(place, str(error)) from error
        if database.checkpoint is None:
            database.abandon()
            raise DamagedState(place, "it holds no checkpoint")
        del self._pending_switches[group]
        with self._lock:
            before, old = self._numbers.get(group, 0), self._databases.get(group)
            self._numbers[group], self._databases[group] = number, database
            receiver = self._receivers.get(group)
            if receiver is not None and receiver.number == number:
                del self._receivers[group]
            if old is not None:
                old.abandon()
            if before:
                self._remove(file_names(group, before))
        return True

    def receive(self, group: int, checkpoint: Checkpoint) -> StateReceiver | None:
        """A file for a snapshot that arrives, replacing one still arriving; None when the disk is full.

        Raises `CannotOpen`.
        """
        before = self._receivers.pop(group, None)
        if before is not None and not before.finished:
            before.abandon()
        number = self._next(group)
        names = file_names(group, number)
        try:
            receiver = StateReceiver(
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
        self._receivers[group] = receiver
        return receiver

    def open_view(self, group: int) -> StateView | None:
        """A view of the last checkpoint; None when there is none. Raises `CannotOpen`."""
        with self._lock:  # against a switch, which removes the file
            database = self._databases.get(group)
            if database is None:
                return None
            return pinned_view(database.place, vfs=self._vfs) if self._shared else copied_view(database)

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
        current = sum([self._size(group, number) for group, number in tuple(self._numbers.items())])
        free = sum([database.free_pages * PAGE_BYTES for database in tuple(self._databases.values())])
        arriving = sum([self._size(group, r.number) for group, r in tuple(self._receivers.items())])
        return {"state": current, "state_free": free, "snapshot": arriving}

    def _size(self, group: int, number: int) -> int:
        return sum([self._directory.size(name) for name in file_names(group, number)[:2]])

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


def _raised(
    groups: Mapping[int, Restored], checkpoints: Mapping[int, tuple[Checkpoint, Keyspace]]
) -> dict[int, Restored]:
    """The index of a checkpoint was committed, whether or not a row of the log says so."""
    return {
        group: replace(restored, commit=max(restored.commit, checkpoints[group][0].base.index))
        if group in checkpoints
        else restored
        for group, restored in groups.items()
    }


def _mismatch(checkpoint: Checkpoint, restored: Restored) -> str:
    """Why the checkpoint cannot belong to this log; '' when it can."""
    index, term = checkpoint.base.index, checkpoint.base.term
    if index < restored.base.index:
        return f"it stands at {index}, but the log begins at {restored.first_index}"
    if index > restored.last_index:
        return f"it stands at {index}, but the log ends at {restored.last_index}"
    logged = restored.base.term
    for first, run in restored.terms:
        if first <= index:
            logged = run
    if logged != term:
        return f"it stands at an entry of term {term}, but the log has one of term {logged} at {index}"
    return ""


def _damage_text(error: Exception) -> str:
    return error.damage if isinstance(error, DamagedLog) else str(error)
