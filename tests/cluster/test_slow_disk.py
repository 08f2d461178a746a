"""A leader whose disk or event loop is slow gives way to a faster majority.

The disks here are delayed syncs; a process without a processor is one that is stopped for a while.
"""

import subprocess
import time
from functools import partial

import pytest

from tests.cluster.harness import TWISTD, wait_until
from tests.cluster.load import PAUSE_SECONDS, Load
from tests.cluster.slow_disk import SlowDisk

pytestmark = pytest.mark.slow

SLOW, HANGS = 3.0, 600.0
GAP_MAX = 20.0  # a second or two on a quiet machine
STARVED, BETWEEN = 1.3, 0.4  # seconds: without the processor, and with it


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


def is_slow(server):
    """Its word about its own disk, None without an answer. An answer is shared for up to a second."""
    return (server.status() or {}).get("disk_slow")


def led(server):
    """The times when it became leader."""
    return [event for event in server.events("role_changed") if event["role"] == "leader"]


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
        reigns = len(led(leader))
        begun = time.monotonic()
        wait_until(lambda: cluster.leader() is not leader, "another node leads")
        load.advance(200)
        ended = time.monotonic()
        assert load.longest_gap(begun, ended) < GAP_MAX
        wait_until(lambda: is_slow(leader), "its status names it")
        assert f"{leader.id}: its disk is slow" in " ".join(says(others[0]).split())
        assert leader.events("node_slow")[0]["cause"] == "disk"
        assert len(led(leader)) == reigns
        slow.delay(leader, 0)
        load.advance(100)
    load.check(leader)


def test_where_all_disks_are_slow_nobody_moves(slow, make_cluster):
    """An election would wait for the disks of a majority. Each node is named."""
    cluster = make_cluster(raft={"election_timeout": "1s"}, client={"write_timeout": "60s"})
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()
    for server in cluster:
        slow.delay(server, SLOW)
    with leader.client(60) as client:
        for number in range(3):
            assert client.call("SET", "k", str(number)) == "OK"
    for server in cluster:
        wait_until(partial(is_slow, server), f"{server.id} is named")
    assert "it leads, as no majority of the others is faster" in " ".join(says(leader).split())


def test_a_follower_with_a_slow_disk_is_named_and_does_not_succeed(cluster, slow):
    leader, [victim, healthy] = cluster.leader(), cluster.followers()
    slow.delay(victim, SLOW)
    with leader.client() as client:
        assert client.call("SET", "k", "v") == "OK"
        wait_until(lambda: is_slow(victim), "the follower is named")
        assert client.call("SET", "k", "w") == "OK"
    assert f"{victim.id}: its disk is slow" in " ".join(says(leader).split())
    leader.terminate()
    wait_until(lambda: cluster.leader() is healthy, "the other follower leads")


def test_slow_checkpoints_alone_make_no_node_slow(slow, make_cluster):
    """State files have a thread of their own: the log does not wait for them."""
    cluster = make_cluster(raft={"election_timeout": "2s"}, snapshot={"checkpoint_entries": 10})
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()
    slow.delay(leader, HANGS, "state-")
    with leader.client(60) as client:
        begun = time.monotonic()
        while time.monotonic() < begun + 6.0:
            assert client.call("SET", "k", "v") == "OK"
            time.sleep(PAUSE_SECONDS)
    wait_until(lambda: leader.group().get("checkpoint_busy"), "a checkpoint is written")
    assert is_slow(leader) is False


@pytest.mark.timeout(300)  # half a minute on a quiet machine
def test_a_leader_with_a_starved_event_loop_gives_way(make_cluster):
    """It is stopped again and again for less than an election timeout, so that its followers keep it."""
    cluster = make_cluster(raft={"election_timeout": "2s"})
    cluster.start()
    cluster.wait_serving(*cluster)
    leader = cluster.leader()

    def named():
        leader.pause()
        time.sleep(STARVED)
        leader.resume()
        time.sleep(BETWEEN)
        return leader.events("node_slow")

    wait_until(named, "the slow node is named", deadline=180.0)
    assert leader.events("node_slow")[0]["cause"] == "event_loop"
    wait_until(lambda: cluster.leader() is not leader, "another node leads", deadline=60.0)
