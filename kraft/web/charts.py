"""The last minutes of the whole cluster as columns of numbers, for the charts of the page.

The histories of the nodes are added up second by second. A node that does not answer any more counts with its
last report. The newest seconds are left out, because not every node has reported them yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kraft.telemetry.recent.history import (
    SECONDS_KEPT,
    Column,
    History,
    Traffic,
    added,
    quantile_ms,
    traffic,
)
from kraft.web.view import ClusterView

SETTLE_SECONDS = 2  # a round of requests takes up to one second, and clocks differ a little
CLASSES = ("read", "write")  # the classes of commands that have charts
WINDOWS = (10, 60, SECONDS_KEPT)  # seconds that the table below the charts sums up


@dataclass(frozen=True, slots=True)
class Charts:
    """Columns of numbers, one number per second. `newest` is the Unix second of the last number of each
    column.

    `read` and `write` are commands per second; `read_p50`, `read_p99` and so on are milliseconds, None for a
    second without commands.
    """

    newest: int
    columns: dict[str, tuple[float | None, ...]]

    def since(self, newest: int) -> "Charts":
        """The numbers after the second `newest`."""
        count = max(0, min(self.newest - newest, SECONDS_KEPT))
        return Charts(self.newest, {name: col[len(col) - count :] for name, col in self.columns.items()})


def charts(view: ClusterView) -> Charts:
    """The charts of all nodes that have reported, up to `SETTLE_SECONDS` before this node's newest second."""
    histories = _histories(view)
    newest = _newest(view)
    columns: dict[str, tuple[float | None, ...]] = {}
    for name in CLASSES:
        total = summed(histories, name, newest)
        columns[name] = tuple(sum(column) for column in total)
        columns[f"{name}_p50"] = tuple(quantile_ms(column, 0.5) for column in total)
        columns[f"{name}_p99"] = tuple(quantile_ms(column, 0.99) for column in total)
    return Charts(newest, columns)


def averages(view: ClusterView) -> Mapping[str, tuple[Traffic, ...]]:
    """The traffic of each class over each of `WINDOWS`, including the classes without a chart."""
    histories, newest = _histories(view), _newest(view)
    names = {name: None for history in histories for name in history.classes}
    sums = {name: summed(histories, name, newest) for name in names}
    return {name: tuple(traffic(columns, seconds) for seconds in WINDOWS) for name, columns in sums.items()}


def summed(histories: Iterable[History], name: str, newest: int) -> Sequence[Column]:
    """The sum of one class over all `histories`: one column for each of the `SECONDS_KEPT` up to `newest`."""
    seconds: list[list[Column]] = [[] for _ in range(SECONDS_KEPT)]
    for history in histories:
        columns = history.classes.get(name, ())
        start = history.newest - len(columns) + 1 - (newest - SECONDS_KEPT + 1)
        for place, column in enumerate(columns, start):
            if column and 0 <= place < SECONDS_KEPT:
                seconds[place].append(column)
    return [added(columns) if columns else () for columns in seconds]


def _histories(view: ClusterView) -> list[History]:
    told = (answer.last.facts.history for answer in view.answers if answer.last is not None)
    return [history for history in told if history is not None]


def _newest(view: ClusterView) -> int:
    own = view.own.facts.history
    return own.newest - SETTLE_SECONDS if own is not None else 0
