"""The writer thread: all writes of all groups to `log.db`, in the order in which they were handed over.

*Order.* The host decides what goes into a transaction, and hands over one at a time (`host/persistence.py`).
The thread keeps the order among transactions, fetches, fences and names of state files. Transactions that
wait when it is free, as those of another caller may, share one commit and one fsync, and all their answers go
back to the reactor's thread in one call. WAL checkpoints run between commits, when no commit waits if that is
possible.

*Epochs.* A transaction is made on top of those handed over before it. When the disk is full and one fails,
those made on top of it must fail as well, even if they were handed over before the host learned of the
failure. So each transaction carries the epoch in which it was handed over. A failure ends the epoch: the
writer refuses transactions of earlier epochs, and the reactor's thread enters the next one just before it
runs the callbacks of the refused ones. What the host hands over after that is made on top of what is
durable.

    reactor   commit A(0)   commit B(0)                 enters epoch 1, A False, B False   commit A'(1)
    writer                  A: full, epoch 1 begins     B(0) is stale: refused             A': durable

See docs/design/storage.md.
"""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

from kraft.node.values import Transaction
from kraft.raft.messages import Entry
from kraft.storage.errors import StorageError
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from kraft.storage.reactor_thread import ReactorThread
from kraft.storage.sqlite import PAGE_BYTES

IDLE_SECONDS = 0.05  # without work for so long, the thread gives back free pages
RETRY_SECONDS = 1.0  # until something that found no space is tried again


class _Commit(NamedTuple):
    transaction: Transaction
    done: Callable[[bool], None]
    epoch: int


class _Fetch(NamedTuple):
    group: int
    first: int
    last: int
    max_bytes: int
    done: Callable[[Sequence[Entry]], None]


class _Fence(NamedTuple):
    group: int
    fenced: bool
    done: Callable[[], None]


class _NameFirstState(NamedTuple):
    group: int
    number: int
    answer: SimpleQueue[bool]


class _Ping(NamedTuple):
    done: Callable[[], None]


_Command = _Commit | _Fetch | _Fence | _NameFirstState | _Ping | None  # None: close


class WriterStopped(Exception):
    """The writer thread has ended."""


class LogWriter:
    """The thread around a `LogDatabase`.

    All methods are for the reactor's thread, except `name_first_state`, which the checkpoint thread calls.
    """

    def __init__(self, database: LogDatabase, settings: StorageSettings, reactor: ReactorThread) -> None:
        self._database = database
        self._settings = settings
        self._reactor = reactor
        self._queue: SimpleQueue[_Command] = SimpleQueue()
        self._epoch = 0  # of the reactor's thread
        self._writable_epoch = 0  # of the writer thread: transactions of earlier epochs fail
        self._checkpoint_at = settings.wal_bytes
        self._checkpoint_forced_at = settings.wal_bytes_max
        self._vacuum_above = settings.free_bytes // PAGE_BYTES
        self._fences: list[_Fence] = []  # of the writer thread: those that found no space
        self._thread = Thread(target=self._run, name="kraft-writer", daemon=True)
        self._thread.start()

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        """Make the transaction durable; `done(False)`: the disk is full, and nothing of it was written.

        With a `done(False)`, everything that was handed over before it is refused as well.
        """
        self._queue.put(_Commit(transaction, done, self._epoch))

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """Read entries `first` to at most `last`: about `max_bytes` (`entry_bytes`), at least one entry.

        Empty only when by then the log begins after `first` or ends before it.
        """
        self._queue.put(_Fetch(group, first, last, max_bytes, done))

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        """Remember whether the group's state is known to be wrong. A full disk delays it."""
        self._queue.put(_Fence(group, fenced, done))

    def ping(self, done: Callable[[], None]) -> None:
        """Run `done` once the thread has dealt with what was handed over before."""
        self._queue.put(_Ping(done))

    def close(self) -> None:
        """Do what was handed over, close the database, and wait for the thread."""
        self._queue.put(None)
        self._thread.join()
        if self._reactor.failed:
            self._database.abandon()

    @property
    def waiting(self) -> int:
        """Commands that the thread has not begun."""
        return self._queue.qsize()

    @property
    def wal_bytes(self) -> int:
        """Bytes of the WAL that are not yet in the database."""
        return self._database.wal_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes of unused pages inside the database."""
        return self._database.free_pages * PAGE_BYTES

    def name_first_state(self, group: int, number: int) -> bool:
        """Name the group's first state file, durably, and wait; False as of `LogDatabase.name_first_state`.

        Raises `WriterStopped`.
        """
        answer: SimpleQueue[bool] = SimpleQueue()
        self._queue.put(_NameFirstState(group, number, answer))
        while True:
            try:
                return answer.get(timeout=RETRY_SECONDS)
            except Empty:
                if not self._thread.is_alive():
                    raise WriterStopped from None

    # The thread itself.

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._database.close()
        except StorageError as error:
            self._reactor.fail(error)
        except Exception as error:  # a thread that dies silently would look like a slow disk
            reason = f"the writer thread failed: {type(error).__name__}: {error}"
            self._reactor.fail(StorageError(reason))

    def _turn(self) -> bool:
        """Wait for commands and carry out all that wait; False after the command to close."""
        commands: list[_Command] = []
        while not commands:
            commands = self._wait()
        commands += [self._queue.get() for _ in range(self._queue.qsize())]  # no other thread takes from it
        commits = [command for command in commands if type(command) is _Commit]
        if commits:
            self._commit(commits)
        for command in commands:
            if type(command) is _Fetch:
                entries = self._database.fetch(command.group, command.first, command.last, command.max_bytes)
                self._reactor.run(command.done, entries)
            elif type(command) is _NameFirstState:
                command.answer.put(self._database.name_first_state(command.group, command.number))
            elif type(command) is _Fence:
                self._fences.append(command)
            elif type(command) is _Ping:
                self._reactor.run(command.done)
        self._set_fences()
        self._checkpoint_if_due()
        return None not in commands

    def _wait(self) -> list[_Command]:
        """The next command; without any, one step of the work that can wait for such a moment."""
        vacuum = self._database.free_pages > self._vacuum_above
        if not vacuum and not self._fences:
            return [self._queue.get()]
        try:
            return [self._queue.get(timeout=IDLE_SECONDS if vacuum else RETRY_SECONDS)]
        except Empty:
            if vacuum:
                self._vacuum()
            self._set_fences()
            return []

    def _commit(self, commits: list[_Commit]) -> None:
        stale = [commit for commit in commits if commit.epoch < self._writable_epoch]
        if stale:
            self._reactor.run(self._refused, stale, self._writable_epoch)
        current = commits[len(stale) :]
        if not current:
            return
        failures = self._database.highwater_failures
        began = time.perf_counter()
        durable = self._database.commit([commit.transaction for commit in current])
        seconds = time.perf_counter() - began
        if durable:
            self._drop_fences(current)
            self._reactor.run(self._committed, current, seconds)
        else:
            self._writable_epoch = current[-1].epoch + 1
            self._reactor.run(self._reactor.observer.error, "commit")
            self._reactor.run(self._refused, current, self._writable_epoch)
        if self._database.highwater_failures != failures:
            self._reactor.run(self._reactor.observer.error, "highwater")

    def _drop_fences(self, commits: list[_Commit]) -> None:
        """A fence that still waits for space concerns the state before a switch to another state file."""
        if not self._fences:
            return
        switched = {
            group
            for commit in commits
            for group, persist in commit.transaction.writes
            if persist.state_file is not None
        }
        late = [fence for fence in self._fences if fence.group in switched]
        self._fences = [fence for fence in self._fences if fence.group not in switched]
        for fence in late:
            self._reactor.run(fence.done)

    def _set_fences(self) -> None:
        while self._fences and self._database.fence(self._fences[0].group, self._fences[0].fenced):
            self._reactor.run(self._fences.pop(0).done)

    def _checkpoint_if_due(self) -> None:
        used = self._database.wal_bytes
        if used < self._checkpoint_at or (used < self._checkpoint_forced_at and not self._queue.empty()):
            return
        began = time.perf_counter()
        if self._database.checkpoint_wal():
            self._checkpoint_at = self._settings.wal_bytes
            self._checkpoint_forced_at = self._settings.wal_bytes_max
            self._reactor.run(self._reactor.observer.wal_checkpointed, time.perf_counter() - began)
            if self._database.free_pages > self._vacuum_above:
                self._vacuum()  # one step, even for a thread that is never idle
        else:  # the disk is full: try again when the WAL has grown as much once more, not at every commit
            self._checkpoint_at = self._checkpoint_forced_at = used + self._settings.wal_bytes
            self._reactor.run(self._reactor.observer.error, "checkpoint")

    def _vacuum(self) -> None:
        if self._database.vacuum(self._settings.vacuum_pages):
            self._checkpoint_if_due()
        else:  # no space to do it in: not again before there is more to gain
            self._vacuum_above = self._database.free_pages + self._settings.free_bytes // PAGE_BYTES

    # Calls that the thread sends to the reactor's.

    def _committed(self, commits: list[_Commit], seconds: float) -> None:
        entries = size = 0
        for commit in commits:
            commit.done(True)
            for _, persist in commit.transaction.writes:
                for entry in persist.entries:
                    entries += 1
                    size += len(entry.data)
        self._reactor.observer.committed(seconds, entries, size)

    def _refused(self, commits: list[_Commit], epoch: int) -> None:
        self._epoch = max(self._epoch, epoch)
        for commit in commits:
            commit.done(False)
