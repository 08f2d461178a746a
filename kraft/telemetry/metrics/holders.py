"""Holders of metric values, cheap enough for the hot path.

A holder keeps plain numbers in a dict by label values. The Prometheus library runs only at a scrape, which
turns the holders into metric families. Counting costs one dict update, observing a duration one bisection.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate, product
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics.declarations import PREFIX, Counter, Declaration, Histogram


class Holder(Protocol):
    """The values of one metric."""

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""


class CounterHolder:
    """The values of one counter."""

    __slots__ = ("_values", "declaration")

    def __init__(self, declaration: Counter, *known: Iterable[str]) -> None:
        """`known` are the values of each label that are known in advance; their combinations start at 0."""
        self.declaration = declaration
        self._values: dict[tuple[str, ...], float] = dict.fromkeys(product(*known), 0)

    def add(self, number: float, *labels: str) -> None:
        """Add `number` to the counter with these label values."""
        values = self._values
        values[labels] = values.get(labels, 0) + number

    def value(self, *labels: str) -> float:
        """The count so far."""
        return self._values.get(labels, 0)

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""
        declared = self.declaration
        family = CounterMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family


class HistogramHolder:
    """The values of one histogram."""

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
        """Record `count` observations of the same `value`."""
        counts = self._counts.get(labels) or self._start(labels)
        counts[bisect_left(self._bounds, value)] += count
        self._sums[labels] += value * count

    def count(self, *labels: str) -> int:
        """The number of observations so far."""
        return sum(self._counts.get(labels, ()))

    def counts(self, *labels: str) -> tuple[int, ...]:
        """Observations so far by bucket; the last bucket has no upper bound. Empty before the first."""
        return tuple(self._counts.get(labels, ()))

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""
        declared = self.declaration
        family = HistogramMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        bounds = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels])
        return family

    def _start(self, labels: tuple[str, ...]) -> list[int]:
        counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        self._sums[labels] = 0.0
        return counts


class Readings:
    """Gauges and counters that are read at a scrape, by declaration."""

    def __init__(self) -> None:
        self._rows: dict[Declaration, list[tuple[tuple[str, ...], float]]] = {}

    def set(self, declaration: Declaration, value: float, *labels: str) -> None:
        """Add one value."""
        self._rows.setdefault(declaration, []).append((labels, float(value)))

    def families(self) -> Iterator[Metric]:
        """One metric family for each declaration that has a value."""
        for declared, rows in self._rows.items():
            kind = CounterMetricFamily if isinstance(declared, Counter) else GaugeMetricFamily
            family = kind(PREFIX + declared.name, declared.meaning, labels=declared.labels)
            for labels, value in rows:
                family.add_metric(labels, value)
            yield family
