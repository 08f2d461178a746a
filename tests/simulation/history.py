"""What the clients of a run asked and were told, in the form that the judge explains."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from tests.serializability import Attempt
from tests.simulation.linearizability import FLUSH, READ, SET_IF_UNCHANGED, Operation
from tests.simulation.lock_waits import Waits
from tests.simulation.locks import LOCK
from tests.simulation.logged import Logged


class History:
    """The operations of all clients, and the outcome of each marked write by group.

    A refused write is not an operation: it must have had no effect.
    """

    def __init__(self) -> None:
        self._writes: dict[tuple[int, bytes], tuple[bytes, Operation]] = {}  # by group and mark: with its key
        self._flushes: dict[tuple[int, bytes], Operation] = {}  # by group and mark
        self._placed: list[tuple[int, bytes, Operation]] = []  # reads, and what a flush did to each key
        self.attempts: dict[int, list[Attempt]] = {}  # transactions on lists, by group
        self.waits = Waits()  # for the lock
        self.fates: dict[int, dict[bytes, str]] = {}
        self.done = self.refused = self.unknown = 0

    def add(self, group: int, key: bytes, marked: bytes, operation: Operation) -> None:
        """Record an operation that was not refused."""
        if operation.name == READ:
            self._placed.append((group, key, operation))
        elif operation.name == FLUSH:
            self._flushes[(group, marked)] = operation
        else:
            self._writes[(group, marked)] = (key, operation)

    def flushed(self, group: int) -> bool:
        """Whether a flush may have removed what was written to the group."""
        return any(place[0] == group for place in self._flushes)

    def settle(self, group: int, logged: Sequence[Logged]) -> None:
        """Number the writes of each key as in `logged`, the marked entries in the order of the log.

        Unknown writes that are not in the log had no effect. Without either fact the search would have to try
        every combination of them.
        """
        indexes: dict[bytes, list[int]] = {key: [] for id_, key in self.operations() if id_ == group}
        waited = iter(self.waits.operations([entry for entry in logged if entry.asked is not None]))
        for entry in logged:
            if entry.asked is not None:
                before = indexes.setdefault(LOCK, [])
                before.append(entry.index)
                self._placed.append((group, LOCK, replace(next(waited), number=len(before))))
                continue
            flush = self._flushes.get((group, entry.mark))
            if flush is not None:
                for key, before in indexes.items():
                    before.append(entry.index)
                    done = replace(flush, number=len(before), stamp=entry.stamp)
                    self._placed.append((group, key, done))
                continue
            found = self._writes.get((group, entry.mark))
            if found is None:
                continue  # a transaction on lists
            key, operation = found
            before = indexes[key]
            if operation.name == SET_IF_UNCHANGED:
                saw, value = operation.argument
                operation = replace(
                    operation, argument=(saw.value, value), seen=bisect_right(before, saw.index)
                )
            before.append(entry.index)
            operation = replace(operation, number=len(before), stamp=entry.stamp)
            self._writes[(group, entry.mark)] = (key, operation)
        for place, (_, operation) in list(self._writes.items()):
            if place[0] == group and not operation.number:
                del self._writes[place]

    def operations(self) -> dict[tuple[int, bytes], list[Operation]]:
        """All operations by (group, key)."""
        found: dict[tuple[int, bytes], list[Operation]] = {}
        for (group, _), (key, operation) in self._writes.items():
            found.setdefault((group, key), []).append(operation)
        for group, key, operation in self._placed:
            found.setdefault((group, key), []).append(operation)
        return found
