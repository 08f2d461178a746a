"""Gathers the writes of all groups into disk transactions.

One transaction is on its way at a time. Writes that arrive while the disk works form the next one, so that
load makes commits larger instead of queueing them. When the disk is full the very same transaction is
repeated until there is room. Until then nothing that depends on it is answered, and the groups neither vote
nor lead.
"""

from collections.abc import Sequence
from typing import Protocol

from kraft.host.ports import Disk
from kraft.node.ports import Clock
from kraft.node.values import Transaction
from kraft.raft.ready import Outgoing, Persist

RETRY_SECONDS = 1.0  # between tries on a full disk; short, so that an operator sees the recovery


class PersistingGroup(Protocol):
    """A group, as `Persistence` sees it."""

    id: int

    def persisted(self, sequence: int, messages: Sequence[Outgoing]) -> None:
        """The write `sequence` and all before it are durable: send the messages that waited for it."""


Written = tuple[PersistingGroup, Persist, Sequence[Outgoing]]


class PersistenceOwner(Protocol):
    """The host, as `Persistence` sees it."""

    def durable(self, written: Sequence[Written]) -> None:
        """A transaction is durable: report each write to its group."""

    def disk_full(self, full: bool) -> None:
        """The disk has no room, or has room again."""


class Persistence:
    """Gathers the writes of all groups and commits one transaction at a time.

    It alone decides which writes form a transaction; the disk keeps the order of transactions. `waiting`
    holds the writes of the next transaction. `full`: the disk had no room for the last one.
    """

    def __init__(self, disk: Disk, clock: Clock, owner: PersistenceOwner) -> None:
        self._disk = disk
        self._clock = clock
        self._owner = owner
        self.waiting: list[Written] = []
        self._in_flight: list[Written] = []
        self.full = False

    @property
    def under_way(self) -> object | None:
        """The transaction that the disk works on, None without any. Each one is another object."""
        return self._in_flight or None

    def add(self, group: PersistingGroup, persist: Persist, send_after_persist: Sequence[Outgoing]) -> None:
        """Put a group's write into the next transaction. `send_after_persist` waits until it is durable."""
        self.waiting.append((group, persist, send_after_persist))

    def holds(self, group: PersistingGroup) -> bool:
        """Whether a write of this group waits, or is on its way."""
        return any(each[0] is group for each in (*self.waiting, *self._in_flight))

    def flush(self) -> None:
        """Give the waiting writes to the disk, unless it still works on the last transaction."""
        if self.waiting and not self._in_flight:
            self._in_flight, self.waiting = self.waiting, []
            self._commit()

    def _commit(self) -> None:
        writes = [(group.id, persist) for group, persist, _ in self._in_flight]
        self._disk.commit(Transaction(tuple(writes)), self._committed)

    def _committed(self, durable: bool) -> None:
        if not durable:
            if not self.full:
                self.full = True
                self._owner.disk_full(True)
            self._clock.call_later(RETRY_SECONDS, self._commit)
            return
        if self.full:
            self.full = False
            self._owner.disk_full(False)
        written, self._in_flight = self._in_flight, []
        self._owner.durable(written)  # before the next commit, whose thread wants the GIL
        if self.waiting:
            self.flush()
