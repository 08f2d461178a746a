"""The terms of a whole log as runs: one (first index, term) pair per leader that wrote to it.

Runs answer every term question of the log matching rules without keeping entries, and are few.
"""

from bisect import bisect_right
from collections.abc import Iterable


class TermRuns:
    """Ascending runs, terms strictly rising. An index belongs to the last run that starts at or below it."""

    __slots__ = ("_starts", "_terms")

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._terms: list[int] = []
        for first, term in runs:
            self.append(first, term)

    def append(self, index: int, term: int) -> None:
        """Note that the entry at `index`, behind all earlier ones, has `term`."""
        if not self._terms or self._terms[-1] != term:
            self._starts.append(index)
            self._terms.append(term)

    def truncate(self, index: int) -> None:
        """Forget `index` and everything above it."""
        while self._starts and self._starts[-1] >= index:
            self._starts.pop()
            self._terms.pop()

    def compact(self, index: int) -> None:
        """Forget everything below `index`, whose own term stays known."""
        run = bisect_right(self._starts, index) - 1
        del self._starts[:run]
        del self._terms[:run]
        self._starts[0] = index

    def term(self, index: int) -> int:
        """The term at `index`, which must not lie above the log; 0 below the first run."""
        starts = self._starts
        if starts and index >= starts[-1]:
            return self._terms[-1]
        run = bisect_right(starts, index)
        return self._terms[run - 1] if run else 0

    def last_at_most(self, index: int, term: int) -> int:
        """The highest index up to `index` whose term is at most `term`; 0 when there is none.

        Logs that differ at `index` cannot agree above it, so probing skips a whole term at once (RP 5.3).
        """
        run = bisect_right(self._terms, term)
        if run < len(self._starts):
            index = min(index, self._starts[run] - 1)
        return index if run and index >= self._starts[0] else 0

    def runs(self) -> tuple[tuple[int, int], ...]:
        """All runs, as in `ports.Restored.terms`."""
        return tuple(zip(self._starts, self._terms, strict=True))
