"""The fault "change cut off" does what it is for: a successor undoes a change that one leader alone has."""

import pytest

from kraft.raft.log.configurations import Configurations
from tests.simulation.cluster import SimulatedCluster, Tuning
from tests.simulation.faults import Faults
from tests.simulation.network import Weather
from tests.simulation.plan import draw
from tests.simulation.world import World


@pytest.mark.parametrize("demote", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_change_is_logged_before_its_leader_is_cut_off_and_is_undone(monkeypatch, demote, groups):
    undone = []
    truncate = Configurations.truncate

    def watched(configurations, index):
        before = configurations.index
        truncate(configurations, index)
        undone.append(configurations.index < before)

    monkeypatch.setattr(Configurations, "truncate", watched)
    cluster = SimulatedCluster(World(3), Weather(), nodes=3, groups=groups, tuning=Tuning())
    faults = Faults(cluster, draw(0).without(fault.index for fault in draw(0).faults))
    cluster.start()
    assert cluster.run(10, lambda: all(len(cluster.leaders(group)) == 1 for group in range(groups)))
    assert cluster.run(10, lambda: all(process.ready for process in cluster.processes()))
    cluster.run(3)
    assert faults.cut_off({"demote": demote, "seconds": 5.0})
    assert cluster.run(30, lambda: any(undone))
