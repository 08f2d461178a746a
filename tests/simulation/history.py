"""What the clients of a run asked and were told, in the form that the judge explains."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from tests.serializability import Attempt
from tests.simulation.homes import Place
from tests.simulation.linearizability import FLUSH, READ, SET_IF_UNCHANGED, Operation
from tests.simulation.lock_waits import Waits
from tests.simulation.locks import LOCK
from tests.simulation.logged import Logged


class History:
    """The operations of all clients, and the outcome of each marked write by home.

    A refused write is not an operation: it must have had no effect.
    """

    def __init__(self) -> None:
        self._writes: dict[tuple[int, bytes], tuple[bytes, Operation]] = {}  # by home and mark: with its key
        self._flushes: dict[tuple[int, bytes], Operation] = {}  # by home and mark
        self._placed: list[tuple[int, bytes, Operation]] = []  # reads, and what a flush did to each key
        self.attempts: dict[int, list[Attempt]] = {}  # transactions on lists, by home
        self.waits = Waits()  # for the lock
        self.fates: dict[int, dict[bytes, str]] = {}
        self.done = self.refused = self.unknown = 0

    def add(self, home: int, key: bytes, marked: bytes, operation: Operation) -> None:
        """Record an operation that was not refused."""
        if operation.name == READ:
            self._placed.append((home, key, operation))
        elif operation.name == FLUSH:
            self._flushes[(home, marked)] = operation
        else:
            self._writes[(home, marked)] = (key, operation)

    def flushed(self, home: int) -> bool:
        """Whether a flush may have removed what was written to the home."""
        return any(place[0] == home for place in self._flushes)

    @property
    def doubtful(self) -> bool:
        """Whether the log has to say which scripts were in vain: what becomes of each doubles the search."""
        return any(operation.unknown and operation.script for _, operation in self._writes.values())

    def settle(self, home: int, logged: Sequence[Logged]) -> None:
        """Number the writes of each key as in `logged`, those that took effect, in the order of the log.

        Unknown writes that are not in the log had no effect. Without either fact the search would have to try
        every combination of them.
        """
        places: dict[bytes, list[Place]] = {key: [] for id_, key in self.operations() if id_ == home}
        waited = iter(self.waits.operations([entry for entry in logged if entry.asked is not None]))
        for entry in logged:
            if entry.asked is not None:
                before = places.setdefault(LOCK, [])
                before.append(entry.place)
                self._placed.append((home, LOCK, replace(next(waited), number=len(before))))
                continue
            flush = self._flushes.get((home, entry.mark))
            if flush is not None:
                for key, before in places.items():
                    before.append(entry.place)
                    done = replace(flush, number=len(before), stamp=entry.stamp)
                    self._placed.append((home, key, done))
                continue
            found = self._writes.get((home, entry.mark))
            if found is None:
                continue  # a transaction on lists
            key, operation = found
            before = places[key]
            if operation.name == SET_IF_UNCHANGED:
                saw, value = operation.argument
                operation = replace(
                    operation, argument=(saw.value, value), seen=bisect_right(before, saw.place)
                )
            before.append(entry.place)
            vain = entry.in_vain if operation.unknown else None
            operation = replace(operation, number=len(before), stamp=entry.stamp, in_vain=vain)
            self._writes[(home, entry.mark)] = (key, operation)
        for place, (_, operation) in list(self._writes.items()):
            if place[0] == home and not operation.number:
                del self._writes[place]

    def operations(self) -> dict[tuple[int, bytes], list[Operation]]:
        """All operations by (home, key)."""
        found: dict[tuple[int, bytes], list[Operation]] = {}
        for (home, _), (key, operation) in self._writes.items():
            found.setdefault((home, key), []).append(operation)
        for home, key, operation in self._placed:
            found.setdefault((home, key), []).append(operation)
        return found
