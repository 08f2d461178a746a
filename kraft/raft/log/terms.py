"""The terms of a whole log as runs: one (first index, term) pair for each leader that wrote to it.

Runs are few, and answer every question about terms without the entries.
"""

from bisect import bisect_right
from collections.abc import Iterable


class TermRuns:
    """Ascending runs of strictly rising terms. A run extends up to the start of the next one."""

    __slots__ = ("_starts", "_terms")

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._terms: list[int] = []
        for first, term in runs:
            self.append(first, term)

    def append(self, index: int, term: int) -> None:
        """Note that the entry at `index`, after all others, has `term`."""
        if not self._terms or self._terms[-1] != term:
            self._starts.append(index)
            self._terms.append(term)

    def truncate(self, index: int) -> None:
        """Forget the entries from `index` on."""
        while self._starts and self._starts[-1] >= index:
            self._starts.pop()
            self._terms.pop()

    def compact(self, index: int) -> None:
        """Forget the entries before `index`, whose own term stays known."""
        run = bisect_right(self._starts, index) - 1
        del self._starts[:run]
        del self._terms[:run]
        self._starts[0] = index

    def term(self, index: int) -> int:
        """The term at `index`, which must not lie after the log; 0 before the first run."""
        starts = self._starts
        if starts and index >= starts[-1]:
            return self._terms[-1]
        run = bisect_right(starts, index)
        return self._terms[run - 1] if run else 0

    def last_at_most(self, index: int, term: int) -> int:
        """The highest index up to `index` whose term is at most `term`; 0 when there is none.

        Logs that differ at an index agree nowhere after it, so that probing skips a whole term (RP 5.3).
        """
        run = bisect_right(self._terms, term)
        if run < len(self._starts):
            index = min(index, self._starts[run] - 1)
        return index if run and index >= self._starts[0] else 0

    def runs(self) -> tuple[tuple[int, int], ...]:
        """All (first index, term) runs, ascending."""
        return tuple(zip(self._starts, self._terms, strict=True))
