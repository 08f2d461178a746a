"""The figures of the benchmark: what is divided by what, how outputs of load clients are read."""

import pytest


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


def test_what_tls_and_users_cost_is_shown(bench):
    """In throughput, and in CPU time relative to the nodes without."""
    figures = {"kraft-3": (100.0, 2.0), "tls-3": (74.0, 2.4), "users-3": (99.0, 2.02)}
    figures |= {"redis-server": (200.0, 1.0), "redis-server-tls": (140.0, 1.75)}
    taken = [
        {"round": 0, "system": system, "load": "GET 50", "rate": rate, "cpu_seconds_per_1000": cost}
        for system, (rate, cost) in figures.items()
    ]
    report = bench("report")
    rates = report.ratio_table(taken)
    assert "| tls-3 / kraft-3 | GET 50 | 0.74 | 0.75 |  | **missed** |" in rates
    assert "| users-3 / kraft-3 | GET 50 | 0.99 | 0.97 |  | met |" in rates
    assert "| redis-server-tls / redis-server | GET 50 | 0.70 |  |  |  |" in rates
    costs = report.relative_table(taken, "cpu_seconds_per_1000")
    assert "| load | tls-3 / kraft-3 | users-3 / kraft-3 | redis-server-tls / redis-server |" in costs
    assert "| GET 50 | 1.20 | 1.01 | 1.75 |" in costs


def test_the_table_shows_the_spread_and_the_goal(bench):
    report = bench("report")
    text = report.ratio_table(ROUNDS)
    assert "| kraft-3 / sketch | SET 50 | 0.80 (0.50..1.00) | 0.6 | 0.9 | met |" in text


def test_a_missed_goal_is_said(bench):
    report = bench("report")
    assert "**missed**" in report.ratio_table([sample(0, "sketch", 100.0), sample(0, "kraft-3", 10.0)])


MACHINE = {
    **dict.fromkeys(("commit", "time", "cores", "memory_gb", "kernel", "twisted", "sqlite"), "x"),
    "python": "Python 3.11.2, optimised build (a sign)",
    "changed": True,
}
RESULT = {
    "machine": MACHINE,
    "interpreters": {},
    "peers": [],
    "plan": {"rounds": 3, "seconds": 1.0},
    "skipped": [],
    "failures": [],
    "samples": [],
    "failover": [],
}


def test_a_page_says_what_was_skipped_and_what_failed(bench):
    report = bench("report")
    page = report.comparison_page({
        **RESULT,
        "skipped": ["etcd, as it is not installed"],
        "failures": ["kraft-3 has no leader\nand a long log"],
        "samples": ROUNDS,
        "failover": [{"system": "kraft-3", "trial": 0, "seconds": 0.25}],
    })  # fmt: skip
    assert "Skipped: etcd, as it is not installed." in page
    assert "**Failed**: kraft-3 has no leader\n" in page
    assert "| kraft-3 | 1 | 0.250 | 0.250 | 0.250 |" in page
    assert "`x` with uncommitted changes" in page
    assert "Python 3.11.2, optimised build (a sign)" in page


def test_a_cluster_of_unknown_processes_has_no_cost_and_no_noise(bench):
    """It is compared in throughput, and held to the goals of its name."""
    report = bench("report")
    peer = {**sample(0, "redisraft", 100.0, cost=None), "other_cores": None, "idle_mb": [], "rss_mb": []}
    samples = [peer, sample(0, "kraft-3", 50.0)]
    page = report.comparison_page({
        **RESULT,
        "samples": samples,
        "peers": ["redisraft"],
        "interpreters": {"other-python-3": "Python 3.13"},
    })  # fmt: skip
    assert "| kraft-3 / redisraft | SET 50 | 0.50 | 0.8 | 0.9 | **missed** |" in page
    assert "| redisraft | - | - |" in page
    assert "other-python-3 runs on Python 3.13." in page
    assert "| SET 50 | - | 0.100 |" in page


def test_the_page_of_an_open_loop_says_who_did_not_keep_up(bench):
    report = bench("report")
    more = {"p999_ms": 3.0, "asked": 100.0, "client_cores": 0.25, "late_p99_ms": 0.04}
    good = {**sample(0, "kraft-3", 99.0, load="SET 50 at 80 %"), **more, "kept_up": True}
    bad = {**sample(0, "redisraft", 90.0, load="SET 50 at 80 %"), **more, "kept_up": False}
    page = report.open_loop_page({**RESULT, "samples": [good, bad], "peers": ["redisraft"]})
    assert "| SET 50 at 80 % | 1.00 / 2.00 / 3.00 | 1.00 / 2.00 / 3.00, **did not keep up** |" in page
    assert "| SET 50 at 80 % | 100: 99 | 100: 90 |" in page
    assert "| SET 50 at 80 % | 0.25; 0.04 | 0.25; 0.04 |" in page


def test_the_page_of_idle_systems_shows_the_largest_process(bench):
    report = bench("report")
    full = {"cores": [0.002, 0.004], "mb": [300.0, 395.4]}
    one = {"system": "kraft-3", "keys": 1_000_000, "empty": {"cores": [0.001], "mb": [55.0]}, "full": full}
    other = {"system": "etcd", "keys": 1_000_000, "empty": {"cores": [0.01], "mb": [31.0]}}
    sizes = {"keys": 1_000_000, "key_bytes": 16, "value_bytes": 100}
    page = report.idle_page({**RESULT, **sizes, "samples": [one, other]})
    assert "| kraft-3 | 0.10 | 55 | 0.40 | 395 |" in page
    assert "| etcd | 1.00 | 31 | - | - |" in page


LARGE = ("restart", "checkpoint", "scan", "backup", "moves")


def test_all_commands_run_with_the_options_that_they_take(bench, monkeypatch):
    main = bench("__main__")
    seen = []

    def ran(arguments):
        seen.append(arguments)
        return 0

    monkeypatch.setattr(main, "main", ran)
    assert main.every(["--quick", "--systems", "kraft-3", "--out", "there"]) == 0
    assert seen == [
        *([name, "--quick", "--systems", "kraft-3", "--out", "there"] for name in main.COMPARING),
        *([name, "--keys", "5000", "--out", "there"] for name in LARGE),
    ]


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


def test_a_run_of_less_than_a_millisecond_has_a_finite_rate(bench):
    text = '"test","rps","p50_latency_ms","p99_latency_ms"\n"SET","inf","0.100","0.100"\n'
    assert bench("loads").parse_redis_benchmark(text, 10).rate == 10_000


def test_no_result_is_an_error(bench):
    loads = bench("loads")
    processes = bench("processes")
    with pytest.raises(processes.BenchError, match="no result"):
        loads.parse_redis_benchmark("", 10)


def test_the_log_of_h2load_is_read(bench):
    etcd = bench("etcd")
    outcome = etcd.parse_h2load_log("1000000\t200\t500000\n1500000\t200\t500000\n", 2)
    assert (outcome.rate, outcome.p50_ms) == (2.0, 500.0)


@pytest.mark.parametrize(
    ("number", "encoded"), [(1, b"\x01"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_lengths_for_etcd_are_encoded(bench, number, encoded):
    """The examples of protobuf's documentation of its encoding."""
    assert bench("etcd").varint(number) == encoded


def test_a_failed_answer_in_the_log_of_h2load_is_an_error(bench):
    etcd, processes = bench("etcd"), bench("processes")
    with pytest.raises(processes.BenchError):
        etcd.parse_h2load_log("1000000\t503\t500000\n", 1)


def test_loads_have_the_names_of_the_goals(bench):
    """A goal for a load that does not exist would never be missed."""
    loads, report = bench("loads"), bench("report")
    names = {load.name for load in (*loads.LOADS, *loads.MIXED)}
    assert len(names) == len(loads.LOADS) + len(loads.MIXED)
    assert {name for goals in report.GOALS.values() for name in goals} <= names
