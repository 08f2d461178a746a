"""How many commands of each class were answered in the last minutes, hour and day, and how fast.

A column holds buckets rather than quantiles: buckets of several nodes and of several seconds can be added up,
and a quantile of the sum is as exact as one of a single node. Columns begin at multiples of their length in
Unix time, so the columns of nodes whose clocks agree line up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, zip_longest
from typing import Annotated

from msgspec import Meta

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS

SECONDS_KEPT = 300  # second by second

# Observations by bucket of SECONDS_BUCKETS, without trailing zeros. Bounded, as other nodes send them too.
Column = tuple[Annotated[int, Meta(ge=0, le=1 << 53)], ...]
UnixSecond = Annotated[int, Meta(ge=0, le=1 << 40)]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A length of time: `count` columns of `step` seconds each, and its length in words."""

    name: str
    words: str
    step: int
    count: int

    @property
    def seconds(self) -> int:
        """The whole length."""
        return self.step * self.count


# As many columns as a chart can show; Prometheus has the rest.
RANGES = (
    TimeRange("5min", "5 minutes", 1, SECONDS_KEPT),
    TimeRange("1h", "1 hour", 15, 240),
    TimeRange("24h", "24 hours", 300, 288),
)


@dataclass(frozen=True, slots=True)
class History:
    """Columns by class, one for each `step` seconds.

    newest: Unix second at which the last column of each class begins.
    since, until: Unix seconds between which observations were recorded, `until` excluded. A node remembers
        nothing from before its start, and the last column may not be complete. 0 from an earlier version.
    """

    newest: UnixSecond
    classes: dict[str, tuple[Column, ...]]
    step: int = 1
    since: UnixSecond = 0
    until: UnixSecond = 0

    @property
    def first(self) -> int:
        """The Unix second from which something is known."""
        return self.since or self.newest - self.step * (max(map(len, self.classes.values()), default=0) - 1)

    @property
    def end(self) -> int:
        """The Unix second up to which something is known, excluded."""
        return self.until or self.newest + self.step


@dataclass(frozen=True, slots=True)
class Traffic:
    """One class of commands over some seconds. The quantiles are None if there were no commands."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


def added(columns: Iterable[Column]) -> Column:
    """The sum of several columns."""
    return tuple(map(sum, zip_longest(*columns, fillvalue=0)))


def traffic(columns: Sequence[Column], seconds: int) -> Traffic:
    """Traffic of one class over the last `seconds` columns; missing columns count as empty."""
    total = added(columns[-seconds:])
    return Traffic(round(sum(total) / seconds, 1), quantile_ms(total, 0.5), quantile_ms(total, 0.99))


@lru_cache(maxsize=4096)  # a chart shows almost the same columns every second
def quantile_ms(column: Column, share: float) -> float | None:
    """The `share` quantile in milliseconds, interpolated within its bucket; None without observations.

    Works as Prometheus' histogram_quantile: an observation above all bounds counts as the highest bound.
    """
    sums = list(accumulate(column))
    if not sums or not sums[-1]:
        return None
    rank = share * sums[-1]
    place = bisect_left(sums, rank)
    if place >= len(SECONDS_BUCKETS):
        return _rounded_ms(SECONDS_BUCKETS[-1])
    low, high = (SECONDS_BUCKETS[place - 1] if place else 0.0), SECONDS_BUCKETS[place]
    below = sums[place - 1] if place else 0
    return _rounded_ms(low + (high - low) * (rank - below) / column[place])


def _rounded_ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
