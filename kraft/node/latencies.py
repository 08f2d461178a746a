"""Latencies of requests: one count for each of many narrow ranges, from which every other form is made.

To count costs one bisection in C and one addition. INFO takes percentiles from the ranges, the metrics take
their few wide buckets, and the charts take the growth of those.
"""

from bisect import bisect_left
from collections.abc import Sequence

PARTS = 16  # of a doubling, so a bound is 4.4 % above the one before
BOUNDS = tuple(0.0005 * 2.0 ** (n / PARTS) for n in range(-9 * PARTS, 18 * PARTS + 1))
"""Upper ends of the ranges in seconds, from 1 us to 131 s, with every bound of the metrics' buckets."""


class Latencies:
    """`counts` has one number for each range that ends at a bound, and one for what is above all of them.

    `seconds` is the sum of the latencies.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float, number: int) -> None:
        """Count `number` requests that took `seconds` each."""
        self.counts[bisect_left(BOUNDS, seconds)] += number
        self.seconds += seconds * number

    @property
    def number(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def since(self, before: "Latencies") -> "Latencies":
        """What was counted after `before`, an earlier copy of this."""
        later = Latencies()
        later.counts = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        later.seconds = self.seconds - before.seconds
        return later

    def percentile(self, percent: float) -> float:
        """The lower end of the range, in seconds, that so many percent do not exceed; 0 without any."""
        left = self.number * percent / 100
        for place, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return BOUNDS[place - 1] if place else 0.0
        return 0.0

    def within(self, bounds: Sequence[float]) -> list[int]:
        """How many took up to each of the ascending `bounds`, and more than the one before; then the rest."""
        ends = [bisect_left(BOUNDS, bound) + 1 for bound in bounds]
        starts = [0, *ends]
        return [sum(self.counts[start:end]) for start, end in zip(starts, [*ends, None], strict=True)]
