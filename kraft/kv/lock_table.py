"""Who holds which locks of a group: transactions over several groups that have prepared, by key.

A lock is taken by Prepare and let go by Resolve, so the table follows from the rows of the ledger. These are
not the locks of clients (`KRAFT LOCK`), which are keys.
"""

from collections.abc import Iterable

from kraft.kv.footprint import Footprint, Name, Whole
from kraft.kv.slots import slot_of

_NOBODY: frozenset[bytes] = frozenset()


class LockTable:
    """The locks by name: `exclusive` ones have one holder, `shared` ones any number. `whole` has those who
    hold all keys at once, with how they do. A holder is the name of a transaction (`TransactionId.name`).

    Treat all three as read-only outside this class.
    """

    __slots__ = ("exclusive", "shared", "whole")

    def __init__(self) -> None:
        self.exclusive: dict[Name, bytes] = {}
        self.shared: dict[Name, set[bytes]] = {}
        self.whole: dict[bytes, int] = {}

    def add(self, holder: bytes, footprint: Footprint) -> None:
        """Give `holder` the locks, which must be free."""
        self.exclusive.update(dict.fromkeys(footprint.written, holder))
        for name in footprint.read:
            self.shared.setdefault(name, set()).add(holder)
        if footprint.whole:
            self.whole[holder] = footprint.whole

    def remove(self, holder: bytes, footprint: Footprint) -> None:
        """Take back what `add` gave."""
        for name in footprint.written:
            del self.exclusive[name]
        for name in footprint.read:
            holders = self.shared[name]
            holders.discard(holder)
            if not holders:
                del self.shared[name]
        self.whole.pop(holder, None)

    def obstacle(self, footprint: Footprint, own: bytes = b"") -> bytes | None:
        """A transaction other than `own` whose locks keep out who has this footprint; None for none."""
        found = self._obstacles(footprint, own)
        return min(found) if found else None

    def _obstacles(self, footprint: Footprint, own: bytes) -> set[bytes]:
        exclusive, shared = self.exclusive, self.shared
        found = {exclusive[name] for name in (*footprint.written, *footprint.read) if name in exclusive}
        if shared:
            found.update(*[shared.get(name, _NOBODY) for name in footprint.written])
        if self.whole:
            writes = bool(footprint.written) or footprint.whole == Whole.WRITE
            found.update([holder for holder, how in self.whole.items() if writes or how == Whole.WRITE])
        if footprint.whole:
            found.update(exclusive.values())
        if footprint.whole == Whole.WRITE:
            found.update(*shared.values())
        found.discard(own)
        return found

    def holds(self, key: bytes) -> bool:
        """Whether a key is locked in any way, so that it does not expire."""
        return key in self.exclusive or key in self.shared or bool(self.whole)

    def in_slots(self, first: int, last: int) -> bool:
        """Whether any key whose slot is from `first` to `last` is locked."""
        names = (name for names in (self.exclusive, self.shared) for name in names)
        return bool(self.whole) or any(
            isinstance(name, bytes) and first <= slot_of(name) <= last for name in names
        )

    def hiding(self, names: Iterable[Name]) -> set[bytes]:
        """Who lets a read of these wait; nobody if nothing `hides` them."""
        found = {self.exclusive[name] for name in names if name in self.exclusive}
        return found.union(holder for holder, how in self.whole.items() if how == Whole.WRITE)

    def hides(self, names: Iterable[Name]) -> bool:
        """Whether a read of these has to wait: what they hold may be out of date."""
        return Whole.WRITE in self.whole.values() or not self.exclusive.keys().isdisjoint(names)
