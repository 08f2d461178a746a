"""What the ledger says of transactions over several groups, as tables in memory.

Everything here follows from the rows of the ledger: a replica that starts from a checkpoint or a snapshot
builds the same tables from them.
"""

from heapq import heapify, heappop, heappush

import msgspec

from kraft.kv.commands.transaction import NUMBER_BYTES, TransactionId, transaction_name
from kraft.kv.footprint import Footprint
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.lock_table import LockTable

HOLD_BYTES = 1000  # of a transaction in memory, beside its rows
FORGOTTEN_MIN = 64  # so few names that are not finished any more are not worth a look at all of them
LOCK_BYTES = 400  # of a lock: two slots of dictionaries, a name, and a set


class Hold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A transaction that has prepared in this group, at the stamp `since` (Unix ms): what it locks."""

    id: TransactionId
    home: int
    since: int
    footprint: Footprint


class Decision(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A transaction that this group, its home, has committed. These groups have not confirmed that yet."""

    id: TransactionId
    waiting: tuple[int, ...]


class TransactionIndex:
    """The transactions of one group that are not over: those that are `prepared`, with their `locks`, and
    `decisions` that participants have not confirmed. Both are by `TransactionId.name`.

    `prepared` is the same dictionary as long as the index exists: while it is empty nothing is locked.
    """

    __slots__ = ("_numbers", "_remembered", "decisions", "locks", "prepared")

    def __init__(self) -> None:
        self.prepared: dict[bytes, Hold] = {}
        self.decisions: dict[bytes, Decision] = {}
        self.locks = LockTable()
        self._numbers: dict[bytes, list[int]] = {}  # a heap for each session, of what is finished
        self._remembered = 0  # how many these are together; some may be forgotten by time

    def obstacle(self, footprint: Footprint, own: bytes = b"") -> Hold | None:
        """A transaction other than `own` whose locks keep out who has this footprint; None for none."""
        holder = self.locks.obstacle(footprint, own)
        return None if holder is None else self.prepared[holder]

    @property
    def memory(self) -> int:
        """An estimate of the memory of these tables, in bytes."""
        locks = len(self.locks.exclusive) + len(self.locks.shared)
        return HOLD_BYTES * (len(self.prepared) + len(self.decisions)) + LOCK_BYTES * locks

    def hold(self, hold: Hold) -> None:
        """A transaction has prepared, and takes its locks."""
        self.prepared[hold.id.name] = hold
        self.locks.add(hold.id.name, hold.footprint)

    def release(self, name: bytes) -> Hold:
        """A transaction that has prepared is over."""
        hold = self.prepared.pop(name)
        self.locks.remove(name, hold.footprint)
        return hold

    def finish(self, name: bytes) -> None:
        """There is a row that says that this transaction is finished."""
        session, number = _parts(name)
        heappush(self._numbers.setdefault(session, []), number)
        self._remembered += 1

    def cut(self, session: bytes, mark: int) -> list[int]:
        """Numbers of the session below `mark` that may be finished; they are not in the index any more."""
        heap, gone = self._numbers.get(session, []), []
        while heap and heap[0] < mark:
            gone.append(heappop(heap))
        if not heap:
            self._numbers.pop(session, None)
        self._remembered -= len(gone)
        return gone

    def prune(self, ledger: Ledger) -> None:
        """Let go of what log time has removed from `ledger`, when that is more than what is there."""
        if self._remembered > 2 * ledger.counts[LedgerKind.FINISHED] + FORGOTTEN_MIN:
            names = [
                transaction_name(session, number)
                for session, numbers in self._numbers.items()
                for number in numbers
            ]
            self.fill_finished([name for name in names if ledger.get(LedgerKind.FINISHED, name) is not None])

    def fill_finished(self, names: list[bytes]) -> None:
        """There are rows for exactly these finished transactions."""
        self._numbers = {}
        for name in names:
            session, number = _parts(name)
            self._numbers.setdefault(session, []).append(number)
        for numbers in self._numbers.values():
            heapify(numbers)
        self._remembered = len(names)


def _parts(name: bytes) -> tuple[bytes, int]:
    return name[:-NUMBER_BYTES], int.from_bytes(name[-NUMBER_BYTES:], "big")
