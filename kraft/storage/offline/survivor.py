"""The data directory of a stopped node, locked and read for a recovery."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import apsw

from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import Machine
from kraft.node.values import Loaded
from kraft.storage import migrations
from kraft.storage.damage import remembered_damage
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import DirectoryUnusable, StorageError
from kraft.storage.lock import DirectoryLock
from kraft.storage.log import identity, replicas
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE
from kraft.storage.log.highwater import HighwaterFile, HighwaterMark
from kraft.storage.log.loading import load, reading
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.offline.replicated_states import states_at_the_end
from kraft.storage.ports import LoadReport, StorageSettings
from kraft.storage.state.files import StateFiles


class RecoveryRefused(StorageError):
    """The directories are in order, but no cluster can be recovered from them."""


class Survivor:
    """The directory `path`, which is locked until `close`. Methods raise `StorageError`.

    `loaded` is what its log holds, without state files, and `rows` has the row of each group that has one.
    `damage` is what a process found damaged while it ran, '' for nothing.
    """

    def __init__(self, path: str, settings: StorageSettings) -> None:
        if not Path(path).is_dir():
            raise DirectoryUnusable(f"data directory {path}: there is no such directory")
        if not Path(path, LOG_FILE).exists():
            raise RecoveryRefused(f"data directory {path}: no node has its data here, {LOG_FILE} is missing")
        prepare_directory(path)
        self.path = path
        self.files = RealDirectory(path)
        self._settings = settings
        self._lock = DirectoryLock(path)
        try:
            self.loaded, self.rows = self._read_log()
            self.damage = remembered_damage(self.files)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise self._unusable(error) from error
            raise

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def read_states(self, groups: Collection[int], report: LoadReport | None) -> Loaded:
        """What the log holds of these groups, with their state files.

        The files are read whole: a start would refuse a damaged one. `report` is told how far that has come.
        """

        def replica(group: int) -> ReplicaRow:
            return self.rows.get(group) or replicas.unwritten(self.loaded.identity.incarnation, group)

        logs = {group: restored for group, restored in self.loaded.groups.items() if group in groups}
        try:
            files = StateFiles(
                self.files,
                replace(self.loaded, groups=logs),
                replica,
                settings=self._settings,
                shared=False,
                read_only=True,
                report=report,
            )
        except OSError as error:
            raise self._unusable(error) from error
        files.abandon()
        return files.loaded

    def machines(self, loaded: Loaded) -> dict[int, Machine]:
        """The states of the groups in `loaded`, from `read_states`, with every entry of their logs applied.

        It takes the keys out of `loaded`.
        """
        try:
            with reading(self.files.path(LOG_FILE)) as connection:
                return states_at_the_end(connection, loaded, self.rows)
        except UnknownCommand as error:
            raise RecoveryRefused(str(error)) from error

    def _read_log(self) -> tuple[Loaded, dict[int, ReplicaRow]]:
        place = self.files.path(LOG_FILE)
        with reading(place) as connection:
            _check_schema(connection)
            id_ = identity.read_identity(connection).id
            loaded, _, rows = load(connection, self._marks(), place, id_, self._settings.tail_bytes)
        return loaded, rows

    def _marks(self) -> dict[int, HighwaterMark]:
        if not self.files.exists(HIGHWATER_FILE):
            return {}
        file = self.files.record_file(HIGHWATER_FILE)
        try:
            return HighwaterFile(file, self.files.path(HIGHWATER_FILE)).marks
        finally:
            file.close()

    def _unusable(self, error: OSError) -> DirectoryUnusable:
        return DirectoryUnusable(f"{self.path}: {error.strerror or error}")


def _check_schema(connection: apsw.Connection) -> None:
    if migrations.check(connection, migrations.load()) < migrations.ALWAYS:
        raise RecoveryRefused(
            f"{connection.filename} was written by an older kraft: start the node with this version, stop it,"
            " then repeat this"
        )
