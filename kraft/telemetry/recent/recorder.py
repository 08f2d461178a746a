"""Records the history of one node: once a second, the growth of the existing histograms goes into rings.

Each ring belongs to one time range. A second is added to the open column of every ring, so that the memory is
fixed: a few thousand small tuples.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import zip_longest

from kraft.node.ports import Cancellable, Clock
from kraft.telemetry.recent.history import RANGES, Column, History, TimeRange, added


class Recorder:
    """Records what each source counted, at the end of each second."""

    def __init__(
        self, wall_seconds: Callable[[], float], sources: Mapping[str, Callable[[], Column]]
    ) -> None:
        """`wall_seconds` returns Unix time; each source returns all observations so far, by bucket."""
        self._wall_seconds = wall_seconds
        self._sources = sources
        self._before = {name: source() for name, source in sources.items()}
        self._rings = tuple(Ring(range_, tuple(sources)) for range_ in RANGES)
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
        """The last minutes, second by second."""
        return self._rings[0].history()

    def longer(self) -> tuple[History, ...]:
        """The histories of the longer ranges, as in RANGES."""
        return tuple(ring.history() for ring in self._rings[1:])

    def _schedule(self, clock: Clock) -> None:
        wall = self._wall_seconds()
        self._pending = clock.call_later(round(wall) + 1 - wall, partial(self._record, clock))

    def _record(self, clock: Clock) -> None:
        """Record the second that ends about now: timers and the wall clock do not agree exactly."""
        second = round(self._wall_seconds()) - 1
        growth = {name: self._growth(name) for name in self._sources}
        for ring in self._rings:
            ring.add(second, growth)
        self._schedule(clock)

    def _growth(self, name: str) -> Column:
        now, before = self._sources[name](), self._before[name]
        self._before[name] = now
        return _trimmed([new - old for new, old in zip_longest(now, before, fillvalue=0)])


class Ring:
    """The newest columns of one time range."""

    def __init__(self, range_: TimeRange, names: Collection[str]) -> None:
        self._range = range_
        self._names = names
        self._columns: deque[tuple[int, dict[str, Column]]] = deque(maxlen=range_.count)
        self._since = self._until = 0
        self._history: History | None = None

    def add(self, second: int, growth: Mapping[str, Column]) -> None:
        """Add the growth of one Unix second to its column."""
        step = self._range.step
        begin = second - second % step
        if self._columns and begin < self._columns[-1][0] - step:
            self._columns.clear()  # the clock was set back, so the columns would lie in the future
        if not self._columns:
            self._since, self._until = second, second
        if self._columns and begin <= self._columns[-1][0]:
            column = self._columns[-1][1]
            for name in self._names:
                column[name] = added((column[name], growth[name]))
        else:
            self._columns.append((begin, dict(growth)))
        self._until = max(self._until, second + 1)
        self._history = None

    def history(self) -> History:
        """The columns without gaps: while the reactor was blocked, nothing was answered."""
        if self._history is None:
            self._history = self._made()
        return self._history

    def _made(self) -> History:
        step = self._range.step
        if not self._columns:
            return History(0, dict.fromkeys(self._names, ()), step)
        newest = self._columns[-1][0]
        first = max(self._columns[0][0], newest - (self._range.count - 1) * step)
        kept = dict(self._columns)
        begins = range(first, newest + 1, step)
        classes = {name: tuple(kept.get(at, {}).get(name, ()) for at in begins) for name in self._names}
        return History(newest, classes, step, max(self._since, first), self._until)


def _trimmed(counts: list[int]) -> Column:
    while counts and not counts[-1]:
        counts.pop()
    return tuple(counts)
