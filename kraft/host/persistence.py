"""Decides what goes into one disk transaction: the writes of all groups that became ready meanwhile.

One transaction is on its way at a time; what arrives while the disk works forms the next one, so load makes
commits larger and never queues them longer. A full disk repeats the very same transaction until there is
room: nothing that depends on it is answered, and the groups neither vote nor lead until then.
"""

from collections.abc import Sequence
from typing import Protocol

from kraft.host.ports import Disk
from kraft.node.ports import Clock
from kraft.node.values import Transaction
from kraft.raft.ready import Outgoing, Persist

RETRY_SECONDS = 1.0  # a full disk: long enough not to spin, short enough that an operator sees the recovery


class Writer(Protocol):
    """A group, as persistence sees it."""

    id: int

    def persisted(self, sequence: int, after: Sequence[Outgoing]) -> None:
        """The write and all before it are durable; send what waited for it."""


Written = tuple[Writer, Persist, Sequence[Outgoing]]


class PersistenceOwner(Protocol):
    """The host, as persistence sees it."""

    def durable(self, written: Sequence[Written]) -> None:
        """A transaction is durable: give each write to its writer."""

    def disk_full(self, full: bool) -> None:
        """The disk has no room, or has room again."""


class Persistence:
    """Gathers the writes of all groups and commits one transaction at a time.

    `waiting` holds the writes of the next transaction. `full`: the disk had no room for the last one.
    """

    def __init__(self, disk: Disk, clock: Clock, owner: PersistenceOwner) -> None:
        self._disk = disk
        self._clock = clock
        self._owner = owner
        self.waiting: list[Written] = []
        self._flying: list[Written] = []
        self.full = False

    def add(self, writer: Writer, persist: Persist, after: Sequence[Outgoing]) -> None:
        """Put a group's write into the next transaction."""
        self.waiting.append((writer, persist, after))

    def flush(self) -> None:
        """Hand the waiting writes to the disk, unless it still works on the last ones."""
        if self.waiting and not self._flying:
            self._flying, self.waiting = self.waiting, []
            self._commit()

    def _commit(self) -> None:
        writes = tuple((writer.id, persist) for writer, persist, _ in self._flying)
        self._disk.commit(Transaction(writes), self._committed)

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
        flying, self._flying = self._flying, []
        self._owner.durable(flying)  # first: others wait for these answers, and the writer would want the GIL
        self.flush()
