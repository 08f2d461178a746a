"""`LogDatabase`: the node's log database, synchronous, without a thread; with its high-water file.

`Store` drives it from the writer thread, a simulator directly. The heads of all logs are in memory, so a
commit is BEGIN, inserts, COMMIT and one small overwrite of the high-water file. After any error but a full
disk it must not be used again: SQLite would accept the next insert even after a failed fsync, and lose
pages that it believes written (Rebello et al., ATC'20).
"""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import apsw

from kraft.raft.messages import Entry, HardState
from kraft.raft.ready import Persist
from kraft.storage import log, state
from kraft.storage.database import FRAME_BYTES, explain, single
from kraft.storage.errors import DamagedLog, DiskFailed, OutOfOrder
from kraft.storage.files import LOG_FILE, WAL_FILE, open_files
from kraft.storage.highwater import Mark, mark
from kraft.storage.loading import load
from kraft.storage.log import Head
from kraft.storage.ports import Directory, Settings
from kraft.storage.values import Writes

_NO_STATE = HardState()
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Staged:
    """What one transaction changes of the state in memory, taken over when it is durable."""

    heads: dict[int, Head] = field(default_factory=dict)
    states: dict[int, HardState] = field(default_factory=dict)
    truncated: set[int] = field(default_factory=set)


class LogDatabase:
    """The open database. Every method raises `StorageError`; see the module for what is left then.

    `loaded` is what the directory held; `wal_bytes` are the frames not yet checkpointed; `free_pages` is as
    of the last checkpoint; `highwater_failures` counts overwrites of the high-water file that found no
    space.
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
            self.loaded, self._heads = load(
                self._connection, self._highwater.marks, self._place, node_id, settings.tail_bytes
            )
            self._begin(directory)
        except BaseException:
            self.abandon()
            raise

    def _begin(self, directory: Directory) -> None:
        self._incarnation = self.loaded.identity.incarnation
        self._states = {group: restored.hard_state for group, restored in self.loaded.groups.items()}
        self.wal_bytes = directory.size(WAL_FILE)
        self.highwater_failures = 0
        self.free_pages = self._count_free_pages()
        # After a failed sync a checkpoint by the close would sync again and believe it; ours is explicit.
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.set_wal_hook(self._wal_grew)
        self._cursor = self._connection.cursor()
        self._raise_highwater(self._heads)

    def commit(self, transactions: Sequence[Writes]) -> bool:
        """Make all of them durable in one transaction; False when the disk is full, with nothing written."""
        if not any(map(_holds_anything, transactions)):
            return True
        staged = _Staged()
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            for transaction in transactions:
                self._write(staged, transaction)
            if staged.truncated:
                self._lower_highwater(staged)
            self._cursor.execute("COMMIT")
        except apsw.FullError:
            self._roll_back()
            return False
        except apsw.Error as error:
            raise explain(self._place, error) from error
        except log.BrokenChain as error:
            raise DamagedLog(self._place, str(error)) from error
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise DiskFailed(f"{self._place}: {error}") from error
            self._roll_back()
            return False
        self._heads.update(staged.heads)
        self._states.update(staged.states)
        self._raise_highwater(staged.heads.keys() | staged.states.keys())
        return True

    def _write(self, staged: _Staged, transaction: Writes) -> None:
        identity = transaction.identity
        if identity is not None:
            own = self.loaded.identity
            if (identity.id, identity.incarnation) != (own.id, own.incarnation):
                raise OutOfOrder(f"{self._place}: refused to become {identity.id} {identity.incarnation}")
            state.write_identity(self._cursor, identity)
        for group, persist in transaction.writes:
            self._write_group(staged, group, persist)

    def _write_group(self, staged: _Staged, group: int, persist: Persist) -> None:
        wanted = persist.hard_state
        if wanted is not None and wanted != (staged.states.get(group) or self._states.get(group)):
            state.write_hard_state(self._cursor, group, wanted)
            staged.states[group] = wanted
        if persist.truncate_from is None and not persist.entries:
            return
        head = staged.heads.get(group) or self._heads.get(group) or self._empty_head(group)
        if persist.truncate_from is not None and persist.truncate_from <= head.last_index:
            head = log.truncate(self._cursor, group, persist.truncate_from, self._empty_head(group))
            staged.truncated.add(group)
        if persist.entries:
            head = log.append(self._cursor, group, head, persist.entries, persist.commit)
        staged.heads[group] = head

    def _empty_head(self, group: int) -> Head:
        return log.empty_head(self._incarnation, group)

    def _lower_highwater(self, staged: _Staged) -> None:
        """Before the COMMIT of a truncation: the file must not promise more than the log will then hold."""
        lowered = False
        for group in staged.truncated:
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
            head = self._heads.get(group) or self._empty_head(group)
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

        None at all only when the log meanwhile ends before `first`.
        """
        try:
            return log.read(self._connection, group, first, last, max_bytes, self._empty_head(group))
        except apsw.Error as error:
            raise explain(self._place, error) from error
        except log.BrokenChain as error:
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


def _holds_anything(transaction: Writes) -> bool:
    return transaction.identity is not None or any(
        persist.entries or persist.hard_state is not None or persist.truncate_from is not None
        for _, persist in transaction.writes
    )
