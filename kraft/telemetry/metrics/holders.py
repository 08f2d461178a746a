"""Holders of metric values, cheap enough for the hot path.

A holder keeps a plain number, or a list of them, for each combination of label values. Whoever counts often
looks its combination up once (`of`), and then adds to it. The Prometheus library runs only at a scrape, which
turns the holders into metric families.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from operator import add
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics.declarations import ALL_GROUPS, PREFIX, Counter, Declaration, Histogram

_Row = tuple[tuple[str, ...], float]  # the values of the labels, and that of the metric


_FOLDS: Mapping[str, Callable[[float, float], float]] = {"sum": add, "min": min, "max": max}


class Holder(Protocol):
    """The values of one metric."""

    def family(self, *, folded: bool = False) -> Metric:
        """The values as a metric family of the Prometheus library; `folded`: those of all groups as one."""


class Count:
    """A number that only grows."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0.0


class Distribution:
    """The number of observations for each of the ascending `bounds`, and above all of them; their `total`."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Record one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class CounterHolder:
    """The values of one counter."""

    __slots__ = ("_values", "declaration")

    def __init__(self, declaration: Counter, *known: Iterable[str]) -> None:
        """`known` are the values of each label that are known in advance; their combinations start at 0."""
        self.declaration = declaration
        self._values: dict[tuple[str, ...], Count] = {labels: Count() for labels in product(*known)}

    def of(self, *labels: str) -> Count:
        """The counter with these label values."""
        count = self._values.get(labels)
        if count is None:
            count = self._values[labels] = Count()
        return count

    def add(self, number: float, *labels: str) -> None:
        """Add `number` to the counter with these label values."""
        count = self._values.get(labels) or self.of(*labels)
        count.number += number

    def value(self, *labels: str) -> float:
        """The value with these labels; 0 if nothing was counted yet."""
        count = self._values.get(labels)
        return 0 if count is None else count.number

    def family(self, *, folded: bool = False) -> Metric:
        """The values as a metric family of the Prometheus library; `folded`: those of all groups as one."""
        declared = self.declaration
        family = CounterMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        rows = [(labels, count.number) for labels, count in self._values.items()]
        for labels, number in _folded(declared, rows) if folded else rows:
            family.add_metric(labels, number)
        return family


class HistogramHolder:
    """The values of one histogram."""

    __slots__ = ("_values", "declaration")

    def __init__(self, declaration: Histogram, *known: Iterable[str]) -> None:
        """`known` are the values of each label that are known in advance; their combinations start at 0."""
        self.declaration = declaration
        bounds = declaration.buckets
        self._values = {labels: Distribution(bounds) for labels in product(*known)}

    def of(self, *labels: str) -> Distribution:
        """The histogram with these label values."""
        values = self._values.get(labels)
        if values is None:
            values = self._values[labels] = Distribution(self.declaration.buckets)
        return values

    def observe(self, value: float, *labels: str) -> None:
        """Record one observation."""
        self.of(*labels).observe(value)

    def add(self, counts: Sequence[int], total: float, *labels: str) -> None:
        """Add observations that were counted elsewhere, by bucket; `total` is the sum of their values."""
        values = self.of(*labels)
        values.counts = [old + new for old, new in zip(values.counts, counts, strict=True)]
        values.total += total

    def count(self, *labels: str) -> int:
        """The number of observations so far."""
        return sum(self.counts(*labels))

    def counts(self, *labels: str) -> tuple[int, ...]:
        """Observations so far by bucket; the last bucket has no upper bound. Empty before the first."""
        return tuple(self._values[labels].counts) if labels in self._values else ()

    def family(self, *, folded: bool = False) -> Metric:
        """The values as a metric family of the Prometheus library; `folded`: those of all groups as one."""
        declared = self.declaration
        family = HistogramMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        bounds = [f"{bound:g}" for bound in declared.buckets] + ["+Inf"]
        for labels, values in (self._folded() if folded else self._values).items():
            buckets = list(zip(bounds, accumulate(values.counts), strict=True))
            family.add_metric(labels, buckets, values.total)
        return family

    def _folded(self) -> dict[tuple[str, ...], Distribution]:
        """The values, those of all groups as one."""
        folded = HistogramHolder(self.declaration)
        for labels, values in self._values.items():
            folded.add(values.counts, values.total, *_of_all_groups(self.declaration, labels))
        return folded._values


class Readings:
    """Gauges and counters that are read at a scrape, by declaration."""

    def __init__(self) -> None:
        self._rows: dict[Declaration, list[tuple[tuple[str, ...], float]]] = {}

    def set(self, declaration: Declaration, value: float, *labels: str) -> None:
        """Add one value."""
        self._rows.setdefault(declaration, []).append((labels, float(value)))

    def families(self, *, folded: bool = False) -> Iterator[Metric]:
        """One metric family for each declaration that has a value; `folded`: all groups as one."""
        for declared, rows in self._rows.items():
            kind = CounterMetricFamily if isinstance(declared, Counter) else GaugeMetricFamily
            family = kind(PREFIX + declared.name, declared.meaning, labels=declared.labels)
            for labels, value in _folded(declared, rows) if folded else rows:
                family.add_metric(labels, value)
            yield family


def _folded(declared: Declaration, rows: list[_Row]) -> Iterable[_Row]:
    """The rows, those of all groups as one."""
    folded: dict[tuple[str, ...], float] = {}
    fold = _FOLDS.get(declared.fold)
    if fold is None:
        return ()
    for labels, value in rows:
        labels = _of_all_groups(declared, labels)
        folded[labels] = fold(folded[labels], value) if labels in folded else value
    return folded.items()


def _of_all_groups(declared: Declaration, labels: tuple[str, ...]) -> tuple[str, ...]:
    return (ALL_GROUPS, *labels[1:]) if declared.labels[:1] == ("group",) else labels
