"""Replicas that come and go in the simulator: the checks of them, and runs in which clients meet them."""

import pytest

from kraft.node.values import Identity, LastReplica, Transaction
from kraft.raft.membership.replica_number import NEVER, UNNUMBERED, ReplicaNumber
from kraft.raft.messages import HardState
from kraft.raft.ready import Persist
from tests.serializability import DONE
from tests.simulation import cross_groups
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.durable_state import DurableState
from tests.simulation.network import Weather
from tests.simulation.plan import draw
from tests.simulation.run import run_plan, run_replicas
from tests.simulation.violation import Violation
from tests.simulation.world import World

NUMBER = ReplicaNumber(3, 9)


def replaced(durable, *replicas):
    for last in replicas:
        durable.write(Transaction(replicas=((1, last),)))


def test_a_directory_with_a_replica_that_begins_twice_is_found():
    durable = DurableState(Identity("K1", "a" * 32))
    replaced(durable, LastReplica(NUMBER, held=True), LastReplica(NUMBER, held=False))
    with pytest.raises(Violation, match="begins again"):
        replaced(durable, LastReplica(NUMBER, held=True))


def test_a_replica_without_a_number_begins_again_unless_it_has_promised_something():
    durable = DurableState(Identity("K1", "a" * 32))
    begun = LastReplica(UNNUMBERED, held=True)
    replaced(durable, LastReplica(NEVER, held=False), begun, begun)
    durable.write(Transaction(((1, Persist(0, HardState(1, "K2"), None, (), commit=0)),)))
    with pytest.raises(Violation, match="begins again"):
        replaced(durable, begun)


def test_a_member_that_destroys_its_replica_is_found():
    cluster = SimulatedCluster(World(1), Weather(), groups=2)
    cluster.start()
    assert cluster.run(20, lambda: all(cluster.checks.committed[group].entries for group in (0, 1)))
    with pytest.raises(Violation, match="K2 has destroyed its replica of group 1"):
        replaced(cluster.nodes["K2"].durable, LastReplica(UNNUMBERED, held=False))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "moving"), [(801_004, True), (800_000, False)])
def test_transactions_over_groups_meet_nodes_without_some_of_them(seed, moving):
    counts = cross_groups.run(seed, moving=moving, replicas=True).counts
    assert counts["replica_left"] > 3
    assert counts["replica_begun"] > 1
    assert counts[DONE] > 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seed",
    [
        807_027,
        # a node was replaced while its new replica was to take a vote: the voter could never come back
        # -> host/membership/test_replica_steps: who_replaces_a_node_with_a_new_replica_takes_the_place_of_...
        930_002,
        # two steps of one group were under way, and the end of the second one was an error
        # -> host/test_placement: a_group_has_one_step_under_way
        961_322,
    ],
)
def test_the_placement_moves_replicas_in_runs_with_faults(seed):
    counts = run_plan(draw(seed, placing=True, replicas=True)).counts
    assert counts["replica_left"] > 0
    assert counts["replica_begun"] > 0
    assert counts["read elsewhere"] > 0


@pytest.mark.timeout(300)
def test_an_answer_of_the_replica_before_does_not_count_for_the_next_one():
    """Seed 911002: it came between the entry that adds the next one and the turn of the group."""
    run_plan(draw(911_002, moving=True, replicas=True))


@pytest.mark.timeout(300)
def test_a_report_of_a_place_is_not_lost_while_its_connection_lasts():
    """Seed 960488: the path was blocked for a moment, and a node asked who had led the group for ever."""
    run_plan(draw(960_488, moving=True, replicas=True))


def test_clients_meet_nodes_without_a_replica_in_runs_with_faults():
    """So that the checks see something. Which seeds these are does not matter."""
    counts = run_replicas(800_000).counts + run_replicas(800_001).counts + run_replicas(800_002).counts
    assert counts["replica_left"] > 5
    assert counts["replica_begun"] > 5
    assert counts["read elsewhere"] > 5
    assert counts["write elsewhere"] > 5
