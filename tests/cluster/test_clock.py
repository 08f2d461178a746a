"""The machine's clock is set back while a node runs."""

import time

from tests.cluster.wire import Refusal

# Runs at the start of every interpreter that finds it: takes what a file says off the wall clock.
SKEWED = """
import os, time
real, name = time.time, os.environ["KRAFT_TEST_SKEW"]
def skewed():
    try:
        with open(f"{name}.{os.getpid()}") as file:
            return real() + float(file.read())
    except OSError:
        return real()
time.time = skewed
"""


def test_a_clock_that_is_set_back_stops_nobody(make_cluster, tmp_path, monkeypatch):
    """Twisted's own timers would wait until the clock shows the old time again."""
    (tmp_path / "sitecustomize.py").write_text(SKEWED)
    monkeypatch.setenv("KRAFT_TEST_SKEW", str(tmp_path / "skew"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = make_cluster()
    cluster.start()
    cluster.wait_serving(*cluster)
    follower = cluster.followers()[0]
    (tmp_path / f"skew.{follower.pid}").write_text("-40")
    for server in cluster:
        if server is not follower:
            server.kill()

    begun = time.monotonic()
    with follower.client(60) as client:
        assert isinstance(client.call("SET", "x", "1"), Refusal)
    assert time.monotonic() - begun < 10.0  # client.leader_wait is 2 s
