"""Nodes are killed under load: the cluster goes on, and what was acknowledged stays."""

import time

import pytest

from tests.cluster.harness import ELECTION_TIMEOUT_MAX, crowding, wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow


def test_killing_the_leader_under_load_costs_two_election_timeouts_at_most(cluster):
    """kill -9 of the leader: writes again in time, nothing acknowledged lost, nothing counted twice."""
    leader = cluster.leader()
    with Load(list(cluster)) as load:
        load.advance(300)
        leader.kill()
        killed = time.monotonic()
        served = wait_until(lambda: load.first_acknowledged_after(killed), "writes again")
        load.advance(300)
    assert served - killed <= 2 * ELECTION_TIMEOUT_MAX * crowding()
    load.check(cluster.leader())


def test_a_killed_leader_comes_back_and_agrees(cluster):
    """Kill, start again, kill the next one: each returns with its old log and catches up."""
    with Load(list(cluster)) as load:
        for _ in range(3):
            leader = cluster.leader()
            load.advance(100)
            leader.kill()
            load.advance(100)
            leader.start()
            cluster.wait_serving(leader)
    for server in cluster:
        load.check(server)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [6, pytest.param(20, marks=pytest.mark.endurance)])
def test_killing_all_nodes_at_once_again_and_again_loses_nothing(cluster, times):
    """The whole cluster dies and returns, over and over, in the middle of writes."""
    with Load(list(cluster)) as load:
        for _ in range(times):
            load.advance(50)
            cluster.kill_all()
            cluster.start()
    for server in cluster:
        load.check(server)


def test_a_single_node_keeps_what_it_acknowledged(make_cluster):
    """A cluster of one is durable too."""
    cluster = make_cluster(1)
    cluster.start()
    with Load(list(cluster), writers=3) as load:
        for _ in range(3):
            load.advance(50)
            cluster.kill_all()
            cluster.start()
    load.check(cluster["K1"])
