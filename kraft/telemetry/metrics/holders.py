"""Holders of metric values, cheap enough for the hot path.

A holder keeps a plain number, or a list of them, for each combination of label values. Whoever counts often
looks its combination up once (`of`), and then adds to it. The Prometheus library runs only at a scrape, which
turns the holders into metric families.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, product
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics.declarations import PREFIX, Counter, Declaration, Histogram


class Holder(Protocol):
    """The values of one metric."""

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""


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

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""
        declared = self.declaration
        family = CounterMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        for labels, count in self._values.items():
            family.add_metric(labels, count.number)
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

    def family(self) -> Metric:
        """The values as a metric family of the Prometheus library."""
        declared = self.declaration
        family = HistogramMetricFamily(PREFIX + declared.name, declared.meaning, labels=declared.labels)
        bounds = [f"{bound:g}" for bound in declared.buckets] + ["+Inf"]
        for labels, values in self._values.items():
            buckets = list(zip(bounds, accumulate(values.counts), strict=True))
            family.add_metric(labels, buckets, values.total)
        return family


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
