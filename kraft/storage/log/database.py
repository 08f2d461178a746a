"""`LogDatabase`: the node's log database, synchronous, without a thread; with its high-water file.

`Store` drives it from the writer thread, a simulator directly. The heads of all logs are in memory, so a
commit is BEGIN, inserts, COMMIT and one small overwrite of the high-water file. After any error but a full
disk it must not be used again: SQLite would accept the next insert even after a failed fsync, and lose
pages that it believes written (Rebello et al., ATC'20).
"""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import apsw

from kraft.node.values import Transaction
from kraft.raft.messages import Entry, HardState
from kraft.raft.ready import Persist
from kraft.storage.errors import DamagedLog, DiskFailed, NoSpace, OutOfOrder
from kraft.storage.log import entries, replicas
from kraft.storage.log.entries import Head
from kraft.storage.log.files import LOG_FILE, WAL_FILE, open_files
from kraft.storage.log.highwater import Mark, mark
from kraft.storage.log.identity import write_hard_state, write_identity
from kraft.storage.log.loading import load
from kraft.storage.log.replicas import Replica
from kraft.storage.ports import Directory, Settings
from kraft.storage.sqlite import FRAME_BYTES, explain, single

_NO_STATE = HardState()
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Staged:
    """What one transaction changes of the state in memory, taken over when it is durable."""

    heads: dict[int, Head] = field(default_factory=dict)
    states: dict[int, HardState] = field(default_factory=dict)
    replicas: dict[int, Replica] = field(default_factory=dict)
    shortened: set[int] = field(default_factory=set)  # groups whose log lost its end


class LogDatabase:
    """The open database. Every method raises `StorageError`; see the module for what is left then.

    `loaded` is what the directory held, without the state files (`statefiles` completes it); `wal_bytes` are
    the frames not yet checkpointed; `free_pages` is as of the last checkpoint, base or `vacuum`;
    `highwater_failures` counts overwrites of the high-water file that found no space.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        node_id: str,
        incarnation: Callable[[], str],
        settings: Settings,
        vfs: str = "",
    ) -> None:
        self._place = directory.path(LOG_FILE)
        self._connection, self._highwater = open_files(
            directory, node_id=node_id, incarnation=incarnation, settings=settings, vfs=vfs
        )
        try:
            loaded, self._heads, self._replicas = load(
                self._connection, self._highwater.marks, self._place, node_id, settings.tail_bytes
            )
            self.loaded = replace(loaded, starts=loaded.starts + 1)
            self._begin(directory)
            self._count_start()
        except BaseException:
            self.abandon()
            raise

    def _begin(self, directory: Directory) -> None:
        self._incarnation = self.loaded.identity.incarnation
        self._first_states = {group: row.state for group, row in self._replicas.items()}
        self._states = {group: restored.hard_state for group, restored in self.loaded.groups.items()}
        self.wal_bytes = directory.size(WAL_FILE)
        self.highwater_failures = 0
        self.free_pages = self._count_free_pages()
        # After a failed sync a checkpoint by the close would sync again and believe it; ours is explicit.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.set_wal_hook(self._wal_grew)
        self._cursor = self._connection.cursor()
        self._raise_highwater(self._heads)

    def _count_start(self) -> None:
        """Durable before anybody hears of this start, so that no two starts have the same number."""
        starts = self.loaded.starts
        if not self._transact(lambda _: replicas.write_starts(self._cursor, starts)):
            raise NoSpace(f"{self._place}: the disk is full")

    def commit(self, transactions: Sequence[Transaction]) -> bool:
        """Make all of them durable in one transaction; False when the disk is full, with nothing written."""
        if not any(map(_holds_anything, transactions)):
            return True

        def write_all(staged: _Staged) -> None:
            for transaction in transactions:
                self._write(staged, transaction)

        return self._transact(write_all)

    def fence(self, group: int, fenced: bool) -> bool:
        """Remember whether the group's state is known to be wrong; False when the disk is full."""
        row = self.replica(group)
        return self._replace(group, Replica(row.state, row.base, row.chain, fenced))

    def point(self, group: int, number: int) -> bool:
        """Name the group's first state file; False when the disk is full, or when it has one by now.

        A snapshot may have been switched in while the first checkpoint was being written.
        """
        row = self.replica(group)
        if row.state != self._first_states.get(group, 0):
            return False
        return self._replace(group, Replica(number, row.base, row.chain, row.fenced))

    def replica(self, group: int) -> Replica:
        """Where the group's log begins, and which state file it has."""
        return self._replicas.get(group) or replicas.unwritten(self._incarnation, group)

    def _replace(self, group: int, row: Replica) -> bool:
        if row == self.replica(group):
            return True

        def write_row(staged: _Staged) -> None:
            staged.replicas[group] = row

        return self._transact(write_row)

    def _transact(self, stage: Callable[[_Staged], None]) -> bool:
        staged = _Staged()
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            stage(staged)
            for group, row in staged.replicas.items():
                replicas.write(self._cursor, group, row)
            if staged.shortened:
                self._lower_highwater(staged)
            self._cursor.execute("COMMIT")
        except apsw.FullError:
            self._roll_back()
            return False
        except apsw.Error as error:
            raise explain(self._place, error) from error
        except entries.BrokenChain as error:
            raise DamagedLog(self._place, str(error)) from error
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise DiskFailed(f"{self._place}: {error}") from error
            self._roll_back()
            return False
        self._heads.update(staged.heads)
        self._states.update(staged.states)
        if staged.replicas:
            self._replicas.update(staged.replicas)
            self.free_pages = self._count_free_pages()
        self._raise_highwater(staged.heads.keys() | staged.states.keys())
        return True

    def _write(self, staged: _Staged, transaction: Transaction) -> None:
        identity = transaction.identity
        if identity is not None:
            own = self.loaded.identity
            if (identity.id, identity.incarnation) != (own.id, own.incarnation):
                raise OutOfOrder(f"{self._place}: refused to become {identity.id} {identity.incarnation}")
            write_identity(self._cursor, identity)
        for group, persist in transaction.writes:
            self._write_group(staged, group, persist)

    def _write_group(self, staged: _Staged, group: int, persist: Persist) -> None:
        wanted = persist.hard_state
        if wanted is not None and wanted != (staged.states.get(group) or self._states.get(group)):
            write_hard_state(self._cursor, group, wanted)
            staged.states[group] = wanted
        if persist.truncate_from is not None or persist.base is not None or persist.state is not None:
            self._move(staged, group, persist)
        if persist.entries:
            head = staged.heads.get(group) or self._head(group)
            staged.heads[group] = entries.append(self._cursor, group, head, persist.entries, persist.commit)

    def _move(self, staged: _Staged, group: int, persist: Persist) -> None:
        """The rare part of a write: the log's end, its beginning, and the state file behind it."""
        row = staged.replicas.get(group) or self.replica(group)
        head = staged.heads.get(group) or self._head(group)
        if persist.truncate_from is not None and persist.truncate_from <= head.last_index:
            head = entries.truncate(self._cursor, group, persist.truncate_from, row.empty_head)
            staged.shortened.add(group)
        if persist.base is not None:
            before = head
            row, head = replicas.rebase(self._cursor, group, row, head, persist.base, self._incarnation)
            if head != before:
                staged.shortened.add(group)
        if persist.state is not None:  # it came from elsewhere, verified: whatever was wrong is gone
            row = Replica(persist.state, row.base, row.chain)
        if row != self.replica(group):
            staged.replicas[group] = row
        staged.heads[group] = head

    def _head(self, group: int) -> Head:
        return self._heads.get(group) or self.replica(group).empty_head

    def _lower_highwater(self, staged: _Staged) -> None:
        """Before the COMMIT that takes a log's end away: the file must not promise more than is left."""
        lowered = False
        for group in staged.shortened:
            last_index, last_term, _ = staged.heads[group]
            written = self._highwater.marks.get(group)
            if written is not None and (last_term, last_index) < (written.last_term, written.last_index):
                self._highwater.write(group, written._replace(last_term=last_term, last_index=last_index))
                lowered = True
        if lowered:
            self._highwater.sync()

    def _raise_highwater(self, groups: Iterable[int]) -> None:
        """After COMMIT: a full disk only leaves the file older than it could be, so the commit stands."""
        for group in groups:
            head = self._head(group)
            new = mark(self._states.get(group, _NO_STATE), head.last_term, head.last_index)
            if new != self._highwater.marks.get(group):
                self._overwrite(group, new)

    def _overwrite(self, group: int, new: Mark) -> None:
        try:
            self._highwater.write(group, new)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise DiskFailed(f"{self._highwater.place}: {error}") from error
            self.highwater_failures += 1

    def _roll_back(self) -> None:
        """SQLite has rolled back already when COMMIT failed, and has not when a statement before it did."""
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error as error:
            raise DiskFailed(f"{self._place}: rollback failed: {error}") from error

    def fetch(self, group: int, first: int, last: int, max_bytes: int) -> tuple[Entry, ...]:
        """Verified entries `first` to at most `last` holding about `max_bytes`, at least one.

        None at all only when the log meanwhile begins behind `first` or ends before it.
        """
        empty = self.replica(group).empty_head
        try:
            return entries.read(self._connection, group, first, last, max_bytes, empty)
        except apsw.Error as error:
            raise explain(self._place, error) from error
        except entries.BrokenChain as error:
            raise DamagedLog(self._place, str(error)) from error

    def checkpoint(self) -> bool:
        """Copy the WAL into the database and sync; the WAL is then reused from its start.

        False when the disk is full. PASSIVE is complete here, as this is the only connection, and spares
        cutting and growing the file again.
        """
        try:
            self._highwater.sync()
            frames, copied = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.free_pages = self._count_free_pages()
        except apsw.FullError:
            return False
        except apsw.Error as error:
            raise explain(self._place, error) from error
        except OSError as error:
            raise DiskFailed(f"{self._place}: {error}") from error
        if frames != copied:
            raise DiskFailed(f"{self._place}: checkpoint copied {copied} of {frames} frames")
        self.wal_bytes = 0
        return True

    def vacuum(self, pages: int) -> bool:
        """Give back up to `pages` free pages; false when there was nothing to do, or no space to do it in.

        The file itself shrinks at the next checkpoint.
        """
        before = self._count_free_pages()
        try:
            list(self._cursor.execute(f"PRAGMA incremental_vacuum({pages})"))
        except apsw.FullError:
            self._roll_back()
            return False
        except apsw.Error as error:
            raise explain(self._place, error) from error
        self.free_pages = self._count_free_pages()
        return self.free_pages < before

    def close(self) -> None:
        """Checkpoint and let go of the files: only `log.db` and the high-water file are left.

        With a full disk the WAL stays as well, and is read at the next start.
        """
        try:
            if self.checkpoint():
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self._connection.close()
        except apsw.Error as error:
            raise explain(self._place, error) from error
        finally:
            self._highwater.close()

    def abandon(self) -> None:
        """Let go of the files as they are: after a failure, or where a simulator cuts the power."""
        self._connection.close(True)
        self._highwater.close()

    def _count_free_pages(self) -> int:
        return int(single(self._connection, "PRAGMA freelist_count"))

    def _wal_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self.wal_bytes = pages * FRAME_BYTES
        return apsw.SQLITE_OK


def _holds_anything(transaction: Transaction) -> bool:
    return transaction.identity is not None or any(
        persist.entries
        or persist.hard_state is not None
        or persist.truncate_from is not None
        or persist.base is not None
        or persist.state is not None
        for _, persist in transaction.writes
    )
