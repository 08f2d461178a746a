"""The replicated log in memory: a tail of entries, the terms of the whole log, and how much of it is durable.

Entries before `tail_first` are on disk only; a leader has them fetched for a follower that needs them. Of
entries up to the base only the base is left. Every question costs O(1) or a binary search, whatever the
length of the log.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from kraft.raft.errors import InvariantViolation, invariant
from kraft.raft.log.configurations import Configurations
from kraft.raft.log.durability import Durability
from kraft.raft.log.terms import TermRuns
from kraft.raft.membership import configuration
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, EntryKind
from kraft.raft.ports import Restored
from kraft.untracked import untracked

# What an entry costs in addition to its data, in memory and roughly on the wire: bounds in bytes must hold
# for entries without data as well.
ENTRY_OVERHEAD_BYTES = 128

_TRIM_SLACK = 8  # trim to 7/8 of the bound: then one move of the remaining list serves many entries


def entry_bytes(entry: Entry) -> int:
    """The size of `entry`, as every bound in bytes counts it."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class Log:
    """Contiguous entries from `first_index`, which follows `base`, to `last_index`.

    Without entries `last_index` is that of the base. `unwritten`: there is a change that no write has
    carried yet.
    """

    __slots__ = (
        "_base_moved",
        "_dropped_bytes",
        "_dropped_stamp",
        "_ends",
        "_entries",
        "_terms",
        "base",
        "configurations",
        "durability",
        "first_index",
        "last_index",
        "last_stamp",
        "last_term",
        "tail_first",
        "unwritten",
    )

    def __init__(self, restored: Restored) -> None:
        tail, base = restored.tail, restored.base
        invariant(
            not tail or tail[-1].index == restored.last_index == tail[0].index + len(tail) - 1,
            "the restored tail is contiguous up to the last index",
        )
        self.base = base
        self._base_moved = False  # and no write has carried the new one yet
        self.unwritten = False
        self.first_index = base.index + 1
        self.last_index = restored.last_index
        self.tail_first = tail[0].index if tail else restored.last_index + 1
        invariant(base.index <= restored.commit <= self.last_index, "the restored commit lies in the log")
        invariant(
            self.first_index <= self.tail_first <= restored.commit + 1,
            "the restored tail lies in the log, and reaches back to the commit",
        )
        self._terms = _terms_after(base)
        for first, term in restored.terms:
            self._terms.append(max(first, self.first_index), term)
        self.last_term = self._terms.term(self.last_index) if self.last_index else 0
        self.last_stamp = restored.last_stamp
        # The stamp of the entry before the tail, needed when all of the tail is replaced. If it is not known,
        # the stamp of the next entry bounds it.
        if self.tail_first == self.first_index:
            self._dropped_stamp = base.stamp
        else:
            self._dropped_stamp = tail[0].stamp if tail else restored.last_stamp
        self._entries: list[Entry] = untracked(list(tail))
        self._dropped_bytes = 0
        self._ends: list[int] = untracked([])  # running total of bytes up to the end of each tail entry
        total = 0
        for entry in tail:
            total += entry_bytes(entry)
            self._ends.append(total)
        self.durability = Durability(self.last_index)
        self.configurations = Configurations(base, restored.configurations)

    def term(self, index: int) -> int:
        """The term at `index`, which is that of the base or one in the log; 0 for index 0."""
        if not self.base.index <= index <= self.last_index:
            raise InvariantViolation("no term is known outside the log")
        position = index - self.tail_first
        return self._entries[position].term if position >= 0 else self._terms.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log, or its base, has an entry with this index and term; index 0 matches term 0."""
        return index <= self.last_index and self._terms.term(index) == term

    def last_at_most(self, index: int, term: int) -> int:
        """The highest index up to `index`, in the log or its base, whose term is at most `term`; else 0."""
        return self._terms.last_at_most(min(index, self.last_index), term)

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log with this last entry is at least as up to date as this one (RP 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def runs(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) runs of the whole log, its base included."""
        return self._terms.runs()

    def append(self, entry: Entry) -> None:
        """Add the entry after the last one."""
        if entry.index != self.last_index + 1:
            raise InvariantViolation("entries are appended without a gap")
        if entry.term < self.last_term:
            raise InvariantViolation("terms never fall along the log")
        if entry.term != self.last_term:
            self._terms.append(entry.index, entry.term)
            self.last_term = entry.term
        ends = self._ends
        end = ends[-1] if ends else self._dropped_bytes
        ends.append(end + len(entry.data) + ENTRY_OVERHEAD_BYTES)
        self._entries.append(entry)
        self.unwritten = True
        self.last_index = entry.index
        self.last_stamp = entry.stamp
        if entry.kind == EntryKind.CONFIGURATION:  # in force from now on, committed or not (RD 4.1)
            self.configurations.append(entry.index, configuration.decode(entry.data))

    def merge(self, prev_index: int, entries: Sequence[Entry], commit: int) -> None:
        """Make the log contain `entries`, which follow a matching `prev_index`.

        Entries that it contains already stay, and so do those after them: as the message may be an old one,
        only a conflict truncates (RP figure 2). Nothing up to `commit` can conflict.
        """
        skip = 0
        if prev_index != self.last_index:
            for entry in entries:
                if not self.matches(entry.index, entry.term):
                    break
                skip += 1
            if skip < len(entries) and entries[skip].index <= self.last_index:
                invariant(entries[skip].index > commit, "a committed entry is never replaced")
                self._truncate(entries[skip].index)
        for entry in entries[skip:]:
            self.append(entry)

    def _truncate(self, index: int) -> None:
        keep = index - self.tail_first
        invariant(keep >= 0, "only entries in memory are ever replaced")
        del self._entries[keep:]
        del self._ends[keep:]
        self._terms.truncate(index)
        self.last_index = index - 1
        self.last_term = self._terms.term(self.last_index) if self.last_index else 0
        self.last_stamp = self._entries[-1].stamp if self._entries else self._dropped_stamp
        self.durability.truncate(index)
        self.unwritten = self.durability.truncate_from is not None or self._base_moved
        self.configurations.truncate(index)

    def entries(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, all of them in the tail."""
        return tuple(self._entries[first - self.tail_first : last + 1 - self.tail_first])

    def entries_within(self, first: int, max_bytes: int) -> tuple[tuple[Entry, ...], int]:
        """As many entries from `first` on, in the tail, as fit `max_bytes`, at least one; and their size."""
        start = first - self.tail_first
        ends = self._ends
        before = ends[start - 1] if start else self._dropped_bytes
        if ends[-1] - before <= max_bytes:
            return tuple(self._entries[start:]), ends[-1] - before
        stop = max(bisect_right(ends, before + max_bytes), start + 1)
        return tuple(self._entries[start:stop]), ends[stop - 1] - before

    def bytes_after(self, index: int) -> int:
        """The size of the entries after `index`, which is in the tail or just before it."""
        if not self._ends:
            return 0
        position = index - self.tail_first
        return self._ends[-1] - (self._ends[position] if position >= 0 else self._dropped_bytes)

    @property
    def tail_bytes(self) -> int:
        """The size of all entries in memory."""
        return self._ends[-1] - self._dropped_bytes if self._ends else 0

    def trim(self, applied: int, bound_bytes: int) -> None:
        """Drop the oldest entries from memory, so that those up to `applied` take at most `bound_bytes`."""
        position = applied - self.tail_first
        if position < 0 or self._ends[position] - self._dropped_bytes <= bound_bytes:
            return
        floor = self._ends[position] - (bound_bytes - bound_bytes // _TRIM_SLACK)
        drop = min(bisect_left(self._ends, floor), position) + 1
        self._drop(drop)

    def _drop(self, count: int) -> None:
        """Drop the first `count` entries of the tail from memory."""
        self._dropped_stamp = self._entries[count - 1].stamp
        self._dropped_bytes = self._ends[count - 1]
        self.tail_first += count
        del self._entries[:count]
        del self._ends[:count]

    # The base

    def base_at(self, index: int) -> Base:
        """The base that a log beginning after `index` would have; `index` is that of the base or in the log.

        Its stamp is exact while the entry is in memory; else it is that of a later entry, which bounds it.
        """
        if index == self.base.index:
            return self.base
        configuration_index, configuration = self.configurations.at(index)
        position = index - self.tail_first
        stamp = self._entries[position].stamp if position >= 0 else self._dropped_stamp
        return Base(index, self.term(index), stamp, configuration_index, configuration)

    def compact(self, base: Base) -> None:
        """Let the log begin after `base`, which is one of its entries; the entries after it stay."""
        count = base.index - self.tail_first + 1
        if count > 0:
            self._drop(count)
        self._terms.compact(base.index)
        self.configurations.compact(base)
        self.durability.skip(base.index)
        self._move_base(base)

    def restart(self, base: Base, agreed: int) -> None:
        """Drop all entries, as they end before `base` or conflict with it: the log begins anew after it.

        If they conflict, the leader has only those up to `agreed`. Else it has all of them, and those that
        were acknowledged may still be on their way to the disk.
        """
        kept = agreed if base.index <= self.last_index else self.last_index
        self.durability.restart(base.index, kept)
        self._entries.clear()
        self._ends.clear()
        self._dropped_bytes = 0
        self._dropped_stamp = self.last_stamp = base.stamp
        self.last_index, self.last_term = base.index, base.term
        self.tail_first = base.index + 1
        self._terms = _terms_after(base)
        self.configurations = Configurations(base, ())
        self._move_base(base)

    def _move_base(self, base: Base) -> None:
        self.base = base
        self.first_index = base.index + 1
        self._base_moved = self.unwritten = True

    def begin_write(self) -> tuple[int, int | None, tuple[Entry, ...], Base | None]:
        """Begin a write of everything new: (sequence, truncate from, entries, the base if it has moved)."""
        first = self.durability.handed + 1
        sequence, truncate_from = self.durability.begin(self.last_index)
        base = self.base if self._base_moved else None
        self._base_moved = self.unwritten = False
        return sequence, truncate_from, self.entries(first, self.last_index), base


def _terms_after(base: Base) -> TermRuns:
    return TermRuns(((base.index, base.term),) if base.index else ())
