"""A leader whose disk or event loop is slow gives way to a faster majority.

The disks here are delayed syncs, the event loops are blocked by a handler of a signal.
"""

import os
import signal
import subprocess
import time

import pytest

from tests.cluster.harness import TWISTD, wait_until
from tests.cluster.load import Load
from tests.cluster.slow_disk import SlowDisk

pytestmark = pytest.mark.slow

SLOW, HANGS = 3.0, 600.0
# Runs at the start of every interpreter that finds it.
BLOCKED = """
import signal, time
free_at = 0.0
def block(*_):
    global free_at
    if time.monotonic() > free_at:
        free_at = time.monotonic() + 1.3
        time.sleep(1.2)
signal.signal(signal.SIGRTMIN + 1, block)
"""


@pytest.fixture
def slow(need, tmp_path, monkeypatch):
    disk = SlowDisk(need("cc"), tmp_path)
    for name, value in disk.environment.items():
        monkeypatch.setenv(name, value)
    return disk


@pytest.fixture
def cluster(slow, make_cluster):
    cluster = make_cluster()
    cluster.start()
    cluster.wait_serving(*cluster)
    return cluster


def says(server):
    """What `kraft status` prints about the cluster of a node."""
    command = [str(TWISTD.parent / "kraft"), "status", f"127.0.0.1:{server.http_port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("seconds", [SLOW, HANGS], ids=["slow", "hangs"])
def test_a_leader_with_a_slow_disk_gives_way_and_stays_away(cluster, slow, seconds):
    """Clients of the others notice a pause, and no refusal but of what was under way."""
    leader = cluster.leader()
    others = cluster.followers()
    load = Load(others, writers=3)
    load.stay_at(others)
    with load:
        load.advance(100)
        slow.delay(leader, seconds)
        begun = time.monotonic()
        wait_until(lambda: cluster.leader() is not leader, "another node leads")
        load.advance(200)
        ended = time.monotonic()
        assert load.longest_gap(begun, ended) < 4.0
        assert (leader.status() or {})["disk_slow"]
        assert f"{leader.id}: its disk is slow" in " ".join(says(others[0]).split())
        assert leader.events("node_slow")[0]["cause"] == "disk"
        assert cluster.leader() is not leader
        slow.delay(leader, 0)
        load.advance(100)
    load.check(leader)
    assert len({event["term"] for event in others[0].events("role_changed") if event["leader"]}) == 2


def test_where_all_disks_are_slow_nobody_moves(cluster, slow):
    """An election would wait for the disks of a majority. Each node is named."""
    leader = cluster.leader()
    for server in cluster:
        slow.delay(server, 1.5)
    with leader.client(30) as client:
        for number in range(4):
            assert client.call("SET", "k", str(number)) == "OK"
    for server in cluster:
        assert (server.status() or {})["disk_slow"], server.id
    assert cluster.leader() is leader
    assert "it leads, as no majority of the others is faster" in " ".join(says(leader).split())


def test_a_follower_with_a_slow_disk_is_named_and_does_not_succeed(cluster, slow):
    leader, [victim, healthy] = cluster.leader(), cluster.followers()
    slow.delay(victim, SLOW)
    with leader.client() as client:
        assert client.call("SET", "k", "v") == "OK"
        wait_until(lambda: (victim.status() or {})["disk_slow"], "the follower is named")
        assert client.call("SET", "k", "w") == "OK"
    assert f"{victim.id}: its disk is slow" in " ".join(says(leader).split())
    leader.terminate()
    wait_until(lambda: cluster.leader() is healthy, "the other follower leads")


def test_slow_checkpoints_alone_move_nobody(cluster, slow):
    """State files have a thread of their own."""
    leader = cluster.leader()
    slow.delay(leader, SLOW, "state-")
    leader.order("SNAPSHOT")
    begun = time.monotonic()
    with leader.client() as client:
        while time.monotonic() < begun + 4.0:
            assert client.call("SET", "k", "v") == "OK"
    assert cluster.leader() is leader
    assert not (leader.status() or {})["disk_slow"]


def test_a_leader_with_a_starved_event_loop_gives_way(make_cluster, tmp_path, monkeypatch):
    """It is blocked again and again for less than an election timeout, so that its followers keep it."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = make_cluster(raft={"election_timeout": "2s"})
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()

    def named():
        os.kill(leader.pid, signal.SIGRTMIN + 1)
        return leader.events("node_slow")

    wait_until(named, "the slow node is named", deadline=90.0)
    assert leader.events("node_slow")[0]["cause"] == "event_loop"
    wait_until(lambda: cluster.leader() is not leader, "another node leads")
