"""Wall clocks of running nodes that are set, back and ahead."""

import time
import urllib.request

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.wire import Refusal

# Runs at the start of every interpreter that finds it: adds what a file says to the wall clock.
SKEWED = """
import os, time
seconds, nanoseconds, name = time.time, time.time_ns, os.environ["KRAFT_TEST_SKEW"]
def skew():
    try:
        with open(f"{name}.{os.getpid()}") as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0
time.time = lambda: seconds() + skew()
time.time_ns = lambda: nanoseconds() + int(skew() * 1e9)
"""
HOUR, DAY = 3_600, 86_400


@pytest.fixture
def set_clock(tmp_path, monkeypatch):
    """`set_clock(server, seconds)`: from now on its wall clock is so far ahead."""
    (tmp_path / "sitecustomize.py").write_text(SKEWED)
    monkeypatch.setenv("KRAFT_TEST_SKEW", str(tmp_path / "skew"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def set_clock(server, seconds):
        new = tmp_path / "new"
        new.write_text(str(seconds))
        new.replace(tmp_path / f"skew.{server.pid}")

    return set_clock


def lead_ms(cluster):
    return cluster.leader().group()["log_time_lead_ms"]


def metric(server, name):
    """The value of the first series of that name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_clock_that_is_set_back_stops_nobody(make_cluster, set_clock):
    """Twisted's own timers would wait until the clock shows the old time again."""
    cluster = make_cluster()
    cluster.start()
    cluster.wait_serving(*cluster)
    follower = cluster.followers()[0]
    set_clock(follower, -40)
    for server in cluster:
        if server is not follower:
            server.kill()

    begun = time.monotonic()
    with follower.client(60) as client:
        assert isinstance(client.call("SET", "x", "1"), Refusal)
    assert time.monotonic() - begun < 35.0  # client.leader_wait is 2 s; the clock went back 40 s


@pytest.mark.slow
def test_a_leader_whose_clock_is_a_day_ahead_stamps_by_the_others(make_cluster, set_clock):
    """It is named, and no key expires early, neither during that nor afterwards."""
    cluster = make_cluster()
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()
    set_clock(leader, DAY)
    wait_until(lambda: leader.events("clock_off"), "the leader names its own clock")
    assert leader.events("clock_off")[0]["peer"] == leader.id

    def a_day_ahead() -> bool:
        return bool(abs(leader.group()["clock_offset_ms"] - DAY * 1000) < 5000)

    wait_until(a_day_ahead, "its status has the offset")  # /status is shared for a moment
    assert abs(metric(leader, "kraft_clock_offset_seconds") - DAY) < 5
    assert abs(lead_ms(cluster)) < 1000
    assert leader.ask("SET", "k", "v", "EXAT", int(time.time()) + HOUR) == "OK"
    cluster.order("TRANSFER", cluster.followers()[0].id)
    wait_until(lambda: cluster.leader() is not leader, "another node leads")
    set_clock(leader, 0)
    for server in cluster:
        assert server.ask("GET", "k") == b"v"
        assert HOUR - 60 < server.ask("TTL", "k") <= HOUR
    assert abs(lead_ms(cluster)) < 1000


@pytest.mark.slow
def test_after_all_clocks_were_a_day_ahead_no_expiry_is_answered_ok_and_deleted(make_cluster, set_clock):
    """Log time is a day ahead then: near absolute expiries are refused, all others hold."""
    cluster = make_cluster()
    cluster.start()
    cluster.wait_serving(*cluster)
    for server in cluster:
        set_clock(server, DAY)
    cluster.order("TRANSFER", cluster.followers()[0].id)  # a new term begins with the clocks
    cluster.wait_serving(*cluster)
    assert cluster.leader().ask("SET", "kept", "v") == "OK"
    for server in cluster:
        set_clock(server, 0)
    wait_until(lambda: lead_ms(cluster) > DAY * 900, "the leader finds log time ahead")
    leader = cluster.leader()
    assert leader.events("log_time_off")
    assert metric(leader, "kraft_log_time_lead_seconds") > DAY - HOUR
    soon = int(time.time()) + HOUR
    for server in cluster:
        for words in (
            ("SET", "k", "v", "EXAT", soon),
            ("SET", "k", "v", "PXAT", soon * 1000),
            ("EXPIREAT", "kept", soon),
            ("PEXPIREAT", "kept", soon * 1000),
        ):
            refusal = server.ask(*words)
            assert isinstance(refusal, Refusal), (words, refusal)
            assert "log time is ahead" in str(refusal)
        assert server.ask("GET", "kept") == b"v"
        assert server.ask("TTL", "kept") == -1
        assert server.ask("SET", "short", "v", "EX", 100) == "OK"
        assert server.ask("TTL", "short") in (99, 100)
        assert server.ask("SET", "late", "v", "EXAT", int(time.time()) + 3 * DAY) == "OK"
        assert server.ask("SET", "past", "v", "EXAT", int(time.time()) - HOUR) == "OK"
        assert server.ask("GET", "past") is None
    before = lead_ms(cluster)
    wait_until(lambda: lead_ms(cluster) <= before - 500, "it is worked off")
