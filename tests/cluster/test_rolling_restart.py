"""An orderly restart of every node is no event for clients that reconnect."""

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.load import Load

pytestmark = pytest.mark.slow


def restart_all(cluster: Cluster, rounds: int) -> None:
    """One node after the other, under clients that stay at their node and clients that turn to the next."""
    load = Load(list(cluster), writers=6)
    load.stay_at([*cluster, *cluster])
    with load:
        load.advance(200)
        for server in [*cluster] * rounds:
            server.terminate()
            load.advance(100)
            server.start()
            cluster.wait_serving(server)
            load.advance(100)
    assert set(load.refusals) <= {"UNCERTAIN"}, load.refusals
    for server in cluster:
        load.check(server)


def test_a_rolling_restart_shows_no_error_but_uncertain(cluster):
    """Several clients per node."""
    restart_all(cluster, rounds=1)


@pytest.mark.endurance
@pytest.mark.timeout(900)
def test_rolling_restarts_over_and_over(cluster):
    """A hundred and twenty stops."""
    restart_all(cluster, rounds=40)


def test_a_single_node_is_restarted_without_an_error(make_cluster):
    """It has nobody to hand over to; its clients find a closed port for a while, no error."""
    cluster = make_cluster(1)
    cluster.start()
    [server] = cluster
    with Load([server], writers=4) as load:
        for _ in range(2):
            load.advance(100)
            server.terminate()
            server.start()
            cluster.wait_serving()
    assert set(load.refusals) <= {"UNCERTAIN"}, load.refusals
    load.check(server)
