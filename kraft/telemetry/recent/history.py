"""The last minutes, second by second: how often and how fast commands of each class were answered.

Once a second the growth of the histograms that are counted anyway goes into a ring. Kept are buckets, not
quantiles: those of several nodes can be added up, and a quantile of the sum is as exact as any bucket.
Columns are named by the Unix second they tell of, so those of nodes whose clocks agree fit together.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS
from kraft.telemetry.probe import Cancellable, Clock

SECONDS_KEPT = 300  # what an eye can compare; Prometheus has the rest

Column = tuple[int, ...]  # observations of one second by bucket of SECONDS_BUCKETS, zeros at its end left out


@dataclass(frozen=True, slots=True)
class History:
    """`newest` is the Unix second of the last column of each class; the others are those before it."""

    newest: int
    classes: dict[str, tuple[Column, ...]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """One class over some seconds; milliseconds are None when nothing happened."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


class Recorder:
    """Takes a column at the end of each second. `sources` give the observations so far, by bucket."""

    def __init__(
        self, wall_seconds: Callable[[], float], sources: Mapping[str, Callable[[], Column]]
    ) -> None:
        self._wall_seconds = wall_seconds
        self._sources = sources
        self._before = {name: source() for name, source in sources.items()}
        self._ring: deque[tuple[int, dict[str, Column]]] = deque(maxlen=SECONDS_KEPT)
        self._pending: Cancellable | None = None

    def start(self, clock: Clock) -> None:
        """Begin; a second start changes nothing."""
        if self._pending is None:
            self._arm(clock)

    def stop(self) -> None:
        """End; may be called at any time."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def history(self) -> History:
        """What is kept, without gaps: a second in which the reactor was blocked has empty columns."""
        if not self._ring:
            return History(0, dict.fromkeys(self._sources, ()))
        newest = self._ring[-1][0]
        first = max(self._ring[0][0], newest - SECONDS_KEPT + 1)
        kept = dict(self._ring)
        seconds = range(first, newest + 1)
        return History(
            newest, {name: tuple(kept.get(s, {}).get(name, ()) for s in seconds) for name in self._sources}
        )

    def _arm(self, clock: Clock) -> None:
        wall = self._wall_seconds()
        self._pending = clock.call_later(round(wall) + 1 - wall, lambda: self._came(clock))

    def _came(self, clock: Clock) -> None:
        """The call comes about when a second ends, a little early by one clock or late by the other."""
        second = round(self._wall_seconds()) - 1
        if self._ring and second <= self._ring[-1][0]:
            self._ring.clear()  # the clock was set back: what is kept would lie in the future
        self._ring.append((second, {name: self._grown(name) for name in self._sources}))
        self._arm(clock)

    def _grown(self, name: str) -> Column:
        now, before = self._sources[name](), self._before[name]
        self._before[name] = now
        return _trimmed([new - old for new, old in zip_longest(now, before, fillvalue=0)])


def added(columns: Iterable[Column]) -> Column:
    """The observations of all of them."""
    return tuple(map(sum, zip_longest(*columns, fillvalue=0)))


def traffic(columns: Sequence[Column], seconds: int) -> Traffic:
    """The last `seconds` of one class, or those there are."""
    total = added(columns[-seconds:])
    return Traffic(round(sum(total) / seconds, 1), quantile_ms(total, 0.5), quantile_ms(total, 0.99))


def quantile_ms(column: Column, share: float) -> float | None:
    """Below this many milliseconds were `share` of the observations, by linear steps within a bucket.

    As Prometheus' histogram_quantile: what is above every bound counts as the highest bound.
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


def _trimmed(counts: list[int]) -> Column:
    while counts and not counts[-1]:
        counts.pop()
    return tuple(counts)
