"""Latencies in narrow ranges, against a plain list of them."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.node.latencies import BOUNDS, Latencies
from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS

SECONDS = st.one_of(st.floats(0, 200), st.sampled_from(SECONDS_BUCKETS), st.sampled_from(BOUNDS))


def counted(values: list[float]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value, 1)
    return latencies


def test_the_bounds_of_the_metrics_are_among_ours() -> None:
    assert set(SECONDS_BUCKETS) <= set(BOUNDS)
    assert BOUNDS[0] < 1e-6 < BOUNDS[1]
    assert BOUNDS[-1] > 131


@given(st.lists(SECONDS))
def test_wide_buckets_are_exact(values: list[float]) -> None:
    """Although they are made of counts, and not of the values."""
    edges = [float("-inf"), *SECONDS_BUCKETS, float("inf")]
    wanted = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
    assert counted(values).within(SECONDS_BUCKETS) == wanted


@pytest.mark.parametrize("percent", [50.0, 99.0, 99.9])
def test_percentiles_are_little_too_low(percent: float) -> None:
    """At most by the width of a range."""
    dice = random.Random(percent)
    values = sorted(dice.lognormvariate(-7, 1.5) for _ in range(5000))
    right = values[-(-int(len(values) * percent) // 100) - 1]
    assert right / 1.05 <= counted(values).percentile(percent) <= right


def test_percentiles_without_requests_with_one_and_beyond_the_bounds() -> None:
    assert Latencies().percentile(50) == 0
    assert 0.00095 <= counted([0.001]).percentile(99.9) <= 0.001
    assert counted([1e9]).percentile(50) == BOUNDS[-1]
    assert counted([0.0]).percentile(50) == 0


def test_many_at_once_and_what_came_since() -> None:
    latencies = counted([0.001])
    before = counted([0.001])
    latencies.add(0.25, 40)
    assert latencies.number == 41
    later = latencies.since(before)
    assert (later.number, later.seconds) == (40, 10.0)
