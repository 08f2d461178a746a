"""The figures of the benchmark: what is divided by what, how outputs of load clients are read."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmark, which is not installed. Last on the path: kraft stays as it is."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return module


def sample(number, system, rate, load="SET 50", cost=0.1):
    return {
        "round": number,
        "system": system,
        "load": load,
        "rate": rate,
        "cpu_seconds_per_1000": cost,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "other_cores": 0.1,
        "idle_mb": [50.0, 51.0],
        "rss_mb": [60.0, 61.0],
    }


ROUNDS = [
    sample(0, "sketch", 100.0),
    sample(0, "kraft-3", 50.0),
    sample(1, "kraft-3", 200.0, cost=0.3),
    sample(1, "sketch", 200.0),
    sample(2, "sketch", 50.0),
    sample(2, "kraft-3", 40.0),
]


def test_ratios_are_taken_within_a_round(bench):
    """A round that was slow for both does not change their ratio."""
    report = bench("report")
    assert report.ratios(ROUNDS, "SET 50", "kraft-3", "sketch") == [0.5, 1.0, 0.8]


def test_a_round_without_one_of_the_two_gives_no_ratio(bench):
    report = bench("report")
    assert (
        report.ratios([sample(0, "kraft-3", 1.0), sample(1, "sketch", 1.0)], "SET 50", "kraft-3", "sketch")
        == []
    )


def test_the_table_shows_the_spread_and_the_goal(bench):
    report = bench("report")
    text = report.ratio_table(ROUNDS)
    assert "| kraft-3 / sketch | SET 50 | 0.80 (0.50..1.00) | 0.6 | 0.9 | met |" in text


def test_a_missed_goal_is_said(bench):
    report = bench("report")
    assert "**missed**" in report.ratio_table([sample(0, "sketch", 100.0), sample(0, "kraft-3", 10.0)])


def test_a_page_says_what_was_skipped_and_what_failed(bench):
    report = bench("report")
    machine = dict.fromkeys(
        ("commit", "time", "cores", "memory_gb", "kernel", "python", "twisted", "sqlite"), "x"
    )
    page = report.comparison_page({
        "machine": {**machine, "changed": True},
        "plan": {"rounds": 3, "seconds": 1.0},
        "skipped": ["etcd, as it is not installed"],
        "failures": ["kraft-3 has no leader\nand a long log"],
        "samples": ROUNDS,
        "failover": [{"system": "kraft-3", "trial": 0, "seconds": 0.25}],
    })  # fmt: skip
    assert "Skipped: etcd, as it is not installed." in page
    assert "**Failed**: kraft-3 has no leader\n" in page
    assert "| kraft-3 | 1 | 0.250 | 0.250 | 0.250 |" in page
    assert "`x` with uncommitted changes" in page


def test_a_percentile_is_one_of_the_samples(bench):
    measure = bench("measure")
    samples = list(range(100, 0, -1))
    assert measure.percentile(samples, 0.5) == 51
    assert measure.percentile(samples, 0.99) == 100
    assert measure.percentile([7], 0.99) == 7


def test_the_result_of_redis_benchmark_is_read(bench):
    loads = bench("loads")
    text = (
        "WARNING: something\n"
        '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"\n'
        '"SET","1234.50","0.5","0.1","0.400","0.9","1.500","2.0"\n'
    )
    assert loads.parse_redis_benchmark(text, 10) == loads.Outcome(10, 1234.5, 0.4, 1.5)


def test_no_result_is_an_error(bench):
    loads = bench("loads")
    processes = bench("processes")
    with pytest.raises(processes.BenchError, match="no result"):
        loads.parse_redis_benchmark("", 10)


def test_the_log_of_h2load_is_read(bench):
    etcd = bench("etcd")
    outcome = etcd.parse_h2load_log("1000000\t200\t500000\n1500000\t200\t500000\n", 2)
    assert (outcome.rate, outcome.p50_ms) == (2.0, 500.0)


def test_a_failed_answer_in_the_log_of_h2load_is_an_error(bench):
    etcd, processes = bench("etcd"), bench("processes")
    with pytest.raises(processes.BenchError):
        etcd.parse_h2load_log("1000000\t503\t500000\n", 1)


def test_loads_have_the_names_of_the_goals(bench):
    """A goal for a load that does not exist would never be missed."""
    loads, report = bench("loads"), bench("report")
    names = {load.name for load in loads.LOADS}
    assert {name for goals in report.GOALS.values() for name in goals} <= names
