"""`LogDatabase`: the node's log database with its high-water file, synchronous, without a thread.

The writer thread drives it, or a simulator. The heads of all logs are in memory, so a commit is BEGIN,
inserts, COMMIT and one small overwrite of the high-water file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import apsw

from kraft.node.values import LastReplica, Transaction
from kraft.raft.membership.replica_number import UNNUMBERED
from kraft.raft.messages import Entry, HardState
from kraft.raft.ready import Persist
from kraft.storage import migrations
from kraft.storage.errors import DamagedLog, DiskFailed, NoSpace, OutOfOrder
from kraft.storage.log import entries, last_replicas, replicas
from kraft.storage.log.entries import Head
from kraft.storage.log.files import LOG_FILE, NO_SPACE, WAL_FILE, open_files
from kraft.storage.log.hard_state import write_hard_state
from kraft.storage.log.highwater import HighwaterMark, emptied, mark
from kraft.storage.log.identity import write_identity
from kraft.storage.log.loading import load
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.ports import Directory, StorageSettings
from kraft.storage.sqlite import SqliteDatabase, abandon, explain

_NO_STATE = HardState()
_NOT_HELD = -1  # in place of the number of a state file


@dataclass(slots=True)
class _Staged:
    """What one transaction changes of the state in memory; taken over when it is durable."""

    heads: dict[int, Head] = field(default_factory=dict)
    states: dict[int, HardState] = field(default_factory=dict)
    replicas: dict[int, ReplicaRow] = field(default_factory=dict)
    shortened: set[int] = field(default_factory=set)  # groups whose log lost its end
    last: dict[int, LastReplica] = field(default_factory=dict)


class LogDatabase(SqliteDatabase):
    """The open log database of one node.

    `loaded` is what the directory held, without the state files (`StateFiles` adds them). `free_pages` is
    also brought up to date when a log's beginning moves. `highwater_failures` counts overwrites of the
    high-water file that found no space.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        node_id: str,
        incarnation: Callable[[], str],
        settings: StorageSettings,
        vfs: str = "",
    ) -> None:
        connection, self._highwater = open_files(
            directory, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs
        )
        try:
            super().__init__(directory.path(LOG_FILE), connection)
            self.keep_wal_on_close()
            loaded, self._heads, self._replicas = load(
                connection, self._highwater.marks, self.place, node_id, settings.tail_bytes
            )
            self.loaded = replace(loaded, starts=loaded.starts + 1)
            self._incarnation = loaded.identity.incarnation
            self._first_states = {group: row.state for group, row in self._replicas.items()}
            self._states = {group: restored.hard_state for group, restored in loaded.groups.items()}
            self._numbers = {group: last.number for group, last in loaded.replicas.items()}
            self.wal_bytes = directory.size(WAL_FILE)
            self.highwater_failures = 0
            self._raise_highwater(self._heads)
            self._count_start()
        except BaseException as error:
            abandon(connection)
            self._highwater.close()
            if isinstance(error, apsw.Error):
                raise explain(directory.path(LOG_FILE), error) from error
            raise

    def _count_start(self) -> None:
        """Durable before anybody hears of this start, so that no two starts have the same number."""
        with self._staging():
            replicas.write_starts(self.cursor, self.loaded.starts)

    def commit(self, transactions: Sequence[Transaction]) -> bool:
        """Make all of them durable in one transaction; False when the disk is full, with nothing written."""
        if not any(map(_holds_anything, transactions)):
            return True
        try:
            with self._staging() as staged:
                for transaction in transactions:
                    self._write(staged, transaction)
        except NoSpace:
            return False
        return True

    def fence(self, group: int, fenced: bool) -> bool:
        """Remember whether the group's state is known to be wrong; False when the disk is full."""
        row = self.replica(group)
        return self._replace(group, ReplicaRow(row.state, row.base, row.chain, fenced))

    def name_first_state(self, group: int, number: int) -> bool:
        """Make `number` the group's first state file; False when the disk is full, or when it has one by now.

        A snapshot may have been switched to while the first checkpoint was being written.
        """
        row = self.replica(group)
        if row.state != self._first_states.get(group, 0):
            return False
        return self._replace(group, ReplicaRow(number, row.base, row.chain, row.fenced))

    def replica(self, group: int) -> ReplicaRow:
        """Where the group's log begins, and which state file it has."""
        return self._replicas.get(group) or replicas.unwritten(self._incarnation, group)

    def _replace(self, group: int, row: ReplicaRow) -> bool:
        if row == self.replica(group):
            return True
        try:
            with self._staging() as staged:
                staged.replicas[group] = row
        except NoSpace:
            return False
        return True

    @contextmanager
    def _staging(self) -> Iterator[_Staged]:
        """One transaction: what is staged inside becomes the state in memory when it is durable."""
        staged = _Staged()
        try:
            with self.transaction() as cursor:
                yield staged
                for group, row in staged.replicas.items():
                    replicas.write(cursor, group, row)
                if staged.shortened:
                    self._lower_highwater(staged)
        except entries.BrokenChain as error:
            raise DamagedLog(self.place, str(error)) from error
        for group, last in staged.last.items():
            self._replaced(group, last)
        self._heads.update(staged.heads)
        self._states.update(staged.states)
        if staged.replicas:
            self._replicas.update(staged.replicas)
            self.count_free_pages()
        self._raise_highwater(staged.heads.keys() | staged.states.keys())

    def _write(self, staged: _Staged, transaction: Transaction) -> None:
        identity = transaction.identity
        if identity is not None:
            own = self.loaded.identity
            if (identity.id, identity.incarnation) != (own.id, own.incarnation):
                raise OutOfOrder(f"{self.place}: refused to become {identity.id} {identity.incarnation}")
            if identity.total > 1:
                schema = migrations.CREATED_GROUPS if identity.created else migrations.SEVERAL_GROUPS
                migrations.raise_schema(self.connection, schema)
            write_identity(self.cursor, identity)
        for group, last in transaction.replicas:
            self._replace_replica(staged, group, last)
        for group, persist in transaction.writes:
            self._write_group(staged, group, persist)

    def _replace_replica(self, staged: _Staged, group: int, last: LastReplica) -> None:
        """Destroy the replica of a group, or begin one after that. What comes later is of an empty one."""
        last_replicas.write(self.connection, self.cursor, group, last)
        staged.last[group] = last
        staged.heads[group] = replicas.unwritten(self._incarnation, group).empty_head
        staged.states[group] = _NO_STATE
        staged.replicas.pop(group, None)
        staged.shortened.add(group)

    def _replaced(self, group: int, last: LastReplica) -> None:
        """No checkpoint of the replica that was there before may become the state of a later one."""
        self._numbers[group] = last.number
        self._replicas.pop(group, None)
        self._first_states[group] = 0 if last.held else _NOT_HELD

    def _write_group(self, staged: _Staged, group: int, persist: Persist) -> None:
        wanted = persist.hard_state
        if wanted is not None and wanted != (staged.states.get(group) or self._states.get(group)):
            write_hard_state(self.cursor, group, wanted)
            staged.states[group] = wanted
        if persist.truncate_from is not None or persist.base is not None or persist.state_file is not None:
            self._move(staged, group, persist)
        if persist.entries:
            head = staged.heads.get(group) or self._head(group)
            staged.heads[group] = entries.append(self.cursor, group, head, persist.entries, persist.commit)

    def _move(self, staged: _Staged, group: int, persist: Persist) -> None:
        """Truncate the log, move its base or switch the state file, which most writes do not."""
        before = replicas.unwritten(self._incarnation, group) if group in staged.last else self.replica(group)
        row = staged.replicas.get(group) or before
        head = staged.heads.get(group) or self._head(group)
        if persist.truncate_from is not None and persist.truncate_from <= head.last_index:
            head = entries.truncate(self.cursor, group, persist.truncate_from, row.empty_head)
            staged.shortened.add(group)
        if persist.base is not None:
            old = head
            row, head = replicas.rebase(self.cursor, group, row, head, persist.base, self._incarnation)
            if head != old:
                staged.shortened.add(group)
        if persist.state_file is not None:  # received and verified: nothing in it is known to be wrong
            row = ReplicaRow(persist.state_file, row.base, row.chain)
        if row != before:
            staged.replicas[group] = row
        staged.heads[group] = head

    def _head(self, group: int) -> Head:
        return self._heads.get(group) or self.replica(group).empty_head

    def _lower_highwater(self, staged: _Staged) -> None:
        """Before the COMMIT that takes a log's end away: the file must not promise more than is left."""
        lowered = False
        try:
            for group in staged.shortened:
                last_index, last_term, _ = staged.heads[group]
                written = self._highwater.marks.get(group)
                if written is not None and group in staged.last:
                    self._highwater.write(group, emptied(written.replica))
                    lowered = True
                elif written is not None and (last_term, last_index) < (
                    written.last_term,
                    written.last_index,
                ):
                    self._highwater.write(group, written._replace(last_term=last_term, last_index=last_index))
                    lowered = True
            if lowered:
                self._highwater.sync()
        except OSError as error:
            if error.errno in NO_SPACE:
                raise NoSpace(f"{self._highwater.place}: the disk is full") from error
            raise DiskFailed(f"{self.place}: {error}") from error

    def _raise_highwater(self, groups: Iterable[int]) -> None:
        """After COMMIT: a full disk only leaves the file older than it could be, so the commit stands."""
        for group in groups:
            head = self._head(group)
            state, number = self._states.get(group, _NO_STATE), self._numbers.get(group, UNNUMBERED)
            new = mark(state, head.last_term, head.last_index, number)
            if new != self._highwater.marks.get(group):
                self._overwrite(group, new)

    def _overwrite(self, group: int, new: HighwaterMark) -> None:
        try:
            self._highwater.write(group, new)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise DiskFailed(f"{self._highwater.place}: {error}") from error
            self.highwater_failures += 1

    def fetch(self, group: int, first: int, last: int, max_bytes: int) -> tuple[Entry, ...]:
        """Verified entries `first` to at most `last` holding about `max_bytes`, at least one.

        Empty only when by now the log begins after `first` or ends before it.
        """
        empty = self.replica(group).empty_head
        try:
            return entries.read(self.connection, group, first, last, max_bytes, empty)
        except apsw.Error as error:
            raise explain(self.place, error) from error
        except entries.BrokenChain as error:
            raise DamagedLog(self.place, str(error)) from error

    def checkpoint_wal(self) -> bool:
        """Sync the high-water file, copy the WAL into the database and sync; False when the disk is full.

        It is complete, as this is the only connection.
        """
        try:
            self._highwater.sync()
        except OSError as error:
            raise DiskFailed(f"{self.place}: {error}") from error
        done = super().checkpoint_wal()
        if done and self.wal_bytes:
            raise DiskFailed(f"{self.place}: a checkpoint left {self.wal_bytes} bytes in the WAL")
        return done

    def close(self) -> None:
        """Checkpoint the WAL and close the files: only `log.db` and the high-water file are left."""
        try:
            super().close()
        finally:
            self._highwater.close()

    def abandon(self) -> None:
        """Close the files as they are: after a failure, or where a simulator cuts the power."""
        super().abandon()
        self._highwater.close()


def _holds_anything(transaction: Transaction) -> bool:
    return (
        transaction.identity is not None
        or bool(transaction.replicas)
        or any(
            persist.entries
            or persist.hard_state is not None
            or persist.truncate_from is not None
            or persist.base is not None
            or persist.state_file is not None
            for _, persist in transaction.writes
        )
    )
