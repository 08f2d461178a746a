"""The last minutes, second by second: how many commands of each class were answered, and how fast.

Once a second the growth of the existing histograms goes into a ring. It holds buckets rather than quantiles:
buckets of several nodes can be added up, and a quantile of the sum is as exact as one of a single node.
Each column belongs to one Unix second, so the columns of nodes whose clocks agree line up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, zip_longest

from kraft.node.ports import Cancellable, Clock
from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS

SECONDS_KEPT = 300  # as much as one chart can show; Prometheus has the rest

Column = tuple[int, ...]  # observations of one second by bucket of SECONDS_BUCKETS, without trailing zeros


@dataclass(frozen=True, slots=True)
class History:
    """Columns by class, one per second. `newest` is the Unix second of the last column of each class."""

    newest: int
    classes: dict[str, tuple[Column, ...]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """One class of commands over some seconds. The quantiles are None if there were no commands."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


class Recorder:
    """Records one column per source at the end of each second."""

    def __init__(
        self, wall_seconds: Callable[[], float], sources: Mapping[str, Callable[[], Column]]
    ) -> None:
        """`wall_seconds` returns Unix time; each source returns all observations so far, by bucket."""
        self._wall_seconds = wall_seconds
        self._sources = sources
        self._before = {name: source() for name, source in sources.items()}
        self._ring: deque[tuple[int, dict[str, Column]]] = deque(maxlen=SECONDS_KEPT)
        self._pending: Cancellable | None = None

    def start(self, clock: Clock) -> None:
        """Start recording. Does nothing if it has started."""
        if self._pending is None:
            self._schedule(clock)

    def stop(self) -> None:
        """Stop recording. May be called at any time."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def history(self) -> History:
        """The recorded columns without gaps: seconds in which the reactor was blocked have empty columns."""
        if not self._ring:
            return History(0, dict.fromkeys(self._sources, ()))
        newest = self._ring[-1][0]
        first = max(self._ring[0][0], newest - SECONDS_KEPT + 1)
        kept = dict(self._ring)
        seconds = range(first, newest + 1)
        return History(
            newest, {name: tuple(kept.get(s, {}).get(name, ()) for s in seconds) for name in self._sources}
        )

    def _schedule(self, clock: Clock) -> None:
        wall = self._wall_seconds()
        self._pending = clock.call_later(round(wall) + 1 - wall, partial(self._record, clock))

    def _record(self, clock: Clock) -> None:
        """Record the second that ends about now: timers and the wall clock do not agree exactly."""
        second = round(self._wall_seconds()) - 1
        if self._ring and second <= self._ring[-1][0]:
            self._ring.clear()  # the clock was set back, so the recorded seconds would lie in the future
        self._ring.append((second, {name: self._growth(name) for name in self._sources}))
        self._schedule(clock)

    def _growth(self, name: str) -> Column:
        now, before = self._sources[name](), self._before[name]
        self._before[name] = now
        return _trimmed([new - old for new, old in zip_longest(now, before, fillvalue=0)])


def added(columns: Iterable[Column]) -> Column:
    """The sum of several columns."""
    return tuple(map(sum, zip_longest(*columns, fillvalue=0)))


def traffic(columns: Sequence[Column], seconds: int) -> Traffic:
    """Traffic of one class over the last `seconds` columns; missing columns count as empty."""
    total = added(columns[-seconds:])
    return Traffic(round(sum(total) / seconds, 1), quantile_ms(total, 0.5), quantile_ms(total, 0.99))


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


def _trimmed(counts: list[int]) -> Column:
    while counts and not counts[-1]:
        counts.pop()
    return tuple(counts)
