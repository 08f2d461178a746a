"""Holders of numbers for the hot path, and their declarations.

A holder is a dict of plain numbers by label values; nothing of the metrics library runs until a scrape turns
the holders into its families. Counting costs one dict update, observing a duration one bisection.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS

PREFIX = "kraft_"
COUNT_BUCKETS = tuple(float(1 << i) for i in range(13))  # 1 to 4096


@dataclass(frozen=True, slots=True)
class Declaration:
    """One metric: its name without the prefix, its meaning and the names of its labels."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counter(Declaration):
    """Only grows; the name ends in `_total`."""


@dataclass(frozen=True, slots=True)
class Gauge(Declaration):
    """Any value at any time."""


@dataclass(frozen=True, slots=True)
class Histogram(Declaration):
    """Observations by upper bound."""

    buckets: tuple[float, ...] = SECONDS_BUCKETS


class Count:
    """The numbers of one counter."""

    __slots__ = ("_values", "declaration")

    def __init__(self, declaration: Counter, *known: Iterable[str]) -> None:
        """`known` are the values of each label that are known in advance; their combinations start at 0."""
        self.declaration = declaration
        self._values: dict[tuple[str, ...], float] = dict.fromkeys(product(*known), 0)

    def add(self, number: float, *labels: str) -> None:
        """Count `number` more."""
        values = self._values
        values[labels] = values.get(labels, 0) + number

    def value(self, *labels: str) -> float:
        """What was counted so far."""
        return self._values.get(labels, 0)

    def family(self) -> Metric:
        """For a scrape."""
        what = self.declaration
        family = CounterMetricFamily(PREFIX + what.name, what.meaning, labels=what.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family


class Spread:
    """The numbers of one histogram."""

    __slots__ = ("_bounds", "_counts", "_sums", "declaration")

    def __init__(self, declaration: Histogram, *known: Iterable[str]) -> None:
        """`known` are the values of each label that are known in advance; their combinations start at 0."""
        self.declaration = declaration
        self._bounds = declaration.buckets
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        for labels in product(*known):
            self._start(labels)

    def observe(self, value: float, *labels: str, count: int = 1) -> None:
        """`count` observations of the same `value`."""
        counts = self._counts.get(labels) or self._start(labels)
        counts[bisect_left(self._bounds, value)] += count
        self._sums[labels] += value * count

    def count(self, *labels: str) -> int:
        """How many observations there were."""
        return sum(self._counts.get(labels, ()))

    def counts(self, *labels: str) -> tuple[int, ...]:
        """Observations so far by bucket, the last one above every bound; empty before the first."""
        return tuple(self._counts.get(labels, ()))

    def family(self) -> Metric:
        """For a scrape."""
        what = self.declaration
        family = HistogramMetricFamily(PREFIX + what.name, what.meaning, labels=what.labels)
        bounds = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels])
        return family

    def _start(self, labels: tuple[str, ...]) -> list[int]:
        counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        self._sums[labels] = 0.0
        return counts


class Readings:
    """Gauges and counters read at scrape time, gathered by declaration."""

    def __init__(self) -> None:
        self._rows: dict[Declaration, list[tuple[tuple[str, ...], float]]] = {}

    def set(self, declaration: Declaration, value: float, *labels: str) -> None:
        """One value."""
        self._rows.setdefault(declaration, []).append((labels, float(value)))

    def families(self) -> Iterator[Metric]:
        """For a scrape."""
        for what, rows in self._rows.items():
            kind = CounterMetricFamily if isinstance(what, Counter) else GaugeMetricFamily
            family = kind(PREFIX + what.name, what.meaning, labels=what.labels)
            for labels, value in rows:
                family.add_metric(labels, value)
            yield family
