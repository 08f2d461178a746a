"""Holders of numbers against prometheus_client's own."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as TheirHistogram
from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS
from kraft.telemetry.metrics.declarations import Counter, Gauge, Histogram
from kraft.telemetry.metrics.holders import CounterHolder, HistogramHolder, Readings


def test_durations_have_fifteen_buckets_from_half_a_millisecond() -> None:
    assert len(SECONDS_BUCKETS) == 15
    assert (SECONDS_BUCKETS[0], SECONDS_BUCKETS[-1]) == (0.0005, 8.192)


def test_known_combinations_start_at_zero() -> None:
    count = CounterHolder(Counter("a_total", "A.", ("x", "y")), ("1", "2"), ("3",))

    samples = [(sample.labels, sample.value) for sample in count.family().samples]

    assert samples == [({"x": "1", "y": "3"}, 0), ({"x": "2", "y": "3"}, 0)]


def test_a_counter_without_labels_starts_at_zero() -> None:
    assert [sample.value for sample in CounterHolder(Counter("a_total", "A.")).family().samples] == [0]


def test_counts_add_up_by_label() -> None:
    count = CounterHolder(Counter("a_total", "A.", ("x",)), ())

    count.add(2, "1")
    count.add(3, "1")

    assert (count.value("1"), count.value("2")) == (5, 0)


@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(SECONDS_BUCKETS))))
def test_a_histogram_equals_the_librarys(values: list[float]) -> None:
    ours = HistogramHolder(Histogram("d_seconds", "D."))
    theirs = TheirHistogram("kraft_d_seconds", "D.", buckets=SECONDS_BUCKETS, registry=CollectorRegistry())
    for value in values:
        ours.observe(value)
        theirs.observe(value)

    def samples(metric: Metric) -> dict[tuple[str, float], float]:
        return {
            (sample.name, float(sample.labels.get("le", 0))): sample.value
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }

    assert samples(ours.family()) == samples(next(iter(theirs.collect())))


def test_observations_that_were_counted_elsewhere_are_added() -> None:
    durations = HistogramHolder(Histogram("d_seconds", "D.", ("class",)), ("read",))
    durations.observe(0.25, "read")

    durations.add([2, *[0] * len(SECONDS_BUCKETS)], 0.75, "read")

    assert durations.counts("read")[0] == 2
    assert durations.count("read") == 3
    assert durations.count("write") == 0
    assert {s.name: s.value for s in durations.family().samples}["kraft_d_seconds_sum"] == 1.0


def test_a_combination_that_was_looked_up_once_is_that_of_the_holder() -> None:
    count = CounterHolder(Counter("a_total", "A.", ("x",)))
    one = count.of("1")
    one.number += 2
    count.add(1, "1")

    assert (one.number, count.value("1")) == (3, 3)


def test_readings_make_one_family_for_each_declaration() -> None:
    readings = Readings()
    gauge, counter = Gauge("g", "G.", ("x",)), Counter("c_total", "C.")
    readings.set(gauge, True, "1")
    readings.set(counter, 4)
    readings.set(gauge, 2, "2")

    families = {family.name: [s.value for s in family.samples] for family in readings.families()}

    assert families == {"kraft_g": [1.0, 2.0], "kraft_c": [4.0]}
