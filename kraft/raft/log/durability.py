"""Which part of the log is on stable storage: a pure account of the writes begun and finished.

A write may finish after some of its entries were replaced by those of a newer leader. Its completion must not
make the replacements count as durable (the ABA trap), so a truncation clamps every write still in flight.
"""

from collections import deque


class Durability:
    """The log is on disk up to `durable`, and was handed to writes up to `handed`.

    The next write deletes the rows of earlier ones from `truncate_from` on, if that is set.
    """

    __slots__ = ("_sequence", "_writes", "durable", "handed", "truncate_from")

    def __init__(self, last_index: int) -> None:
        self.durable = last_index
        self.handed = last_index
        self._sequence = 0
        self.truncate_from: int | None = None
        self._writes: deque[tuple[int, int]] = deque()

    @property
    def writing(self) -> bool:
        """Whether a write is in flight."""
        return bool(self._writes)

    def truncate(self, index: int) -> None:
        """The log loses the entries from `index` on."""
        if index > self.handed:
            return
        self.truncate_from = index if self.truncate_from is None else min(index, self.truncate_from)
        self.handed = index - 1
        self.durable = min(self.durable, index - 1)
        self._writes = deque((sequence, min(last, index - 1)) for sequence, last in self._writes)

    def restart(self, base_index: int, kept: int) -> None:
        """The log begins anew after `base_index`; of the old one only entries up to `kept` count."""
        if self.handed > base_index:  # the base deletes the rows up to it; those after it must be named
            beyond = base_index + 1
            self.truncate_from = beyond if self.truncate_from is None else min(beyond, self.truncate_from)
        self.handed = base_index
        self.durable = min(self.durable, kept)
        self._writes = deque((sequence, min(last, kept)) for sequence, last in self._writes)

    def skip(self, base_index: int) -> None:
        """Entries up to `base_index` need not be written: the base replaces them."""
        self.handed = max(self.handed, base_index)

    def begin(self, last_index: int) -> tuple[int, int | None]:
        """Begin a write up to `last_index`: its sequence, and the index from which it truncates first."""
        self._sequence += 1
        truncate_from, self.truncate_from = self.truncate_from, None
        self.handed = last_index
        self._writes.append((self._sequence, last_index))
        return self._sequence, truncate_from

    def finish(self, sequence: int) -> None:
        """The write `sequence`, and all before it, are on disk; to repeat that changes nothing."""
        writes = self._writes
        while writes and writes[0][0] <= sequence:
            self.durable = max(self.durable, writes.popleft()[1])
