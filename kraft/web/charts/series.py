"""The numbers that the charts show: the histories of all nodes, added up column by column.

A node that does not answer any more counts with its last report. The newest seconds are left out, because not
every node has reported them yet. A time that no node remembers has no number, which is not the same as 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kraft.telemetry.recent.history import (
    RANGES,
    SECONDS_KEPT,
    Column,
    History,
    TimeRange,
    Traffic,
    added,
    quantile_ms,
    traffic,
)
from kraft.web.view import ClusterView

SETTLE_SECONDS = 2  # a round of requests takes up to one second, and clocks differ a little
CLASSES = ("read", "write")  # the classes of commands that have charts
WINDOWS = (10, 60, SECONDS_KEPT)  # seconds that the table below the charts sums up

Numbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Columns of numbers of one time range. `newest` is the Unix second at which the last column begins.

    columns: `read` and `write` are commands per second, None for a time that no node remembers; `read_p50`,
        `read_p99` and so on are milliseconds, None for a time without commands.
    begins: the Unix second from which each node remembers; None if it told nothing about this range.
    """

    range: TimeRange
    newest: int
    columns: dict[str, Numbers]
    begins: dict[str, int | None]

    @property
    def start(self) -> int:
        """The Unix second at which the first column begins."""
        return self.newest - (self.range.count - 1) * self.range.step

    def since(self, newest: int) -> dict[str, Numbers]:
        """The numbers from the column that begins at `newest` on: that one may not have been complete."""
        count = max(0, min((self.newest - newest) // self.range.step + 1, self.range.count))
        return {name: column[len(column) - count :] for name, column in self.columns.items()}


def series(view: ClusterView, range_: TimeRange = RANGES[0]) -> Series:
    """The numbers of all nodes that have reported, up to `SETTLE_SECONDS` ago by this node's clock."""
    histories = _histories(view, range_)
    newest = _newest(view)
    newest -= newest % range_.step
    seconds = _seconds_known(list(histories.values()), newest, range_)
    columns: dict[str, Numbers] = {}
    for name in CLASSES:
        total = summed(histories.values(), name, newest, range_)
        columns[name] = tuple(
            round(sum(column) / known, 3) if known else None
            for column, known in zip(total, seconds, strict=True)
        )
        columns[f"{name}_p50"] = tuple(quantile_ms(column, 0.5) for column in total)
        columns[f"{name}_p99"] = tuple(quantile_ms(column, 0.99) for column in total)
    begins = {node.id: histories[node.id].first if node.id in histories else None for node in view.answers}
    return Series(range_, newest, columns, begins)


def averages(view: ClusterView) -> Mapping[str, tuple[Traffic, ...]]:
    """The traffic of each class over each of `WINDOWS`, including the classes without a chart."""
    histories, newest = list(_histories(view, RANGES[0]).values()), _newest(view)
    names = {name: None for history in histories for name in history.classes}
    sums = {name: summed(histories, name, newest) for name in names}
    return {name: tuple(traffic(columns, seconds) for seconds in WINDOWS) for name, columns in sums.items()}


def summed(
    histories: Iterable[History], name: str, newest: int, range_: TimeRange = RANGES[0]
) -> Sequence[Column]:
    """The sum of one class over all `histories`: one column for each of the range up to `newest`."""
    places: list[list[Column]] = [[] for _ in range(range_.count)]
    for history in histories:
        columns = history.classes.get(name, ())
        start = (history.newest - newest) // range_.step + range_.count - len(columns)
        for place, column in enumerate(columns, start):
            if column and 0 <= place < range_.count:
                places[place].append(column)
    return [added(columns) if columns else () for columns in places]


def _histories(view: ClusterView, range_: TimeRange) -> dict[str, History]:
    """What each node remembers of this range, by its id."""
    found = {}
    for answer in view.answers:
        if answer.last is not None:
            facts = answer.last.facts
            held = (facts.history, *facts.longer)
            fits = (each for each in held if each is not None and each.step == range_.step and each.newest)
            if (history := next(fits, None)) is not None:
                found[answer.id] = history
    return found


def _newest(view: ClusterView) -> int:
    """The newest second that is shown."""
    own = view.own.facts
    newest = own.history.newest if own.history is not None else 0
    return (newest or int(own.wall_seconds)) - SETTLE_SECONDS


def _seconds_known(histories: Sequence[History], newest: int, range_: TimeRange) -> list[int]:
    """For each column, how many of its seconds some node remembers."""
    first = min((history.first for history in histories), default=0)
    end = max((history.end for history in histories), default=0)
    starts = range(newest - (range_.count - 1) * range_.step, newest + 1, range_.step)
    return [max(0, min(end, at + range_.step) - max(first, at)) for at in starts]
