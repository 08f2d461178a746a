"""Columns of observations: sums, quantiles, and what is known of a history."""

from itertools import pairwise

import pytest

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS
from kraft.telemetry.recent.history import RANGES, History, Traffic, added, quantile_ms, traffic


def test_quantiles_are_those_of_prometheus() -> None:
    """histogram_quantile over the same buckets: linear within one, from 0 below the first."""
    assert quantile_ms((), 0.5) is None
    assert quantile_ms((0, 0), 0.5) is None
    assert quantile_ms((10,), 0.5) == 0.25
    assert quantile_ms((0, 100), 0.99) == 0.995
    assert quantile_ms((50, 50), 0.5) == 0.5
    above = (0,) * len(SECONDS_BUCKETS) + (1,)
    assert quantile_ms(above, 0.5) == 1000 * SECONDS_BUCKETS[-1]


def test_columns_of_any_length_add_up() -> None:
    assert added([(1, 2), (), (0, 0, 3)]) == (1, 2, 3)
    assert added([]) == ()


def test_traffic_is_over_the_last_seconds_only() -> None:
    assert traffic([(100,), (2,), (4,)], 2) == Traffic(3.0, 0.25, 0.495)
    assert traffic([], 10) == Traffic(0.0, None, None)


@pytest.mark.parametrize(
    ("history", "first", "end"),
    [
        (History(1000, {"read": ((1,),)}, 1, 1000, 1001), 1000, 1001),
        (History(990, {"read": ((1,), ())}, 15, 981, 994), 981, 994),
        (History(1000, {"read": ((1,), (2,)), "write": ()}), 999, 1001),  # of an earlier version
        (History(1000, {}), 1001, 1001),
    ],
)
def test_a_history_knows_from_when_to_when_it_is(history: History, first: int, end: int) -> None:
    assert (history.first, history.end) == (first, end)


def test_the_ranges_are_what_their_names_say() -> None:
    assert [range_.seconds for range_ in RANGES] == [300, 3600, 86_400]
    assert all(longer.step % shorter.step == 0 for shorter, longer in pairwise(RANGES))
