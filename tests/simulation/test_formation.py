"""The formation of a cluster, and its reaction to an empty or foreign directory, under load."""

import pytest

from tests.simulation.clients import SimulatedClient
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.history import History
from tests.simulation.network import Weather
from tests.simulation.operator import Operator
from tests.simulation.process import Process
from tests.simulation.world import World


def cluster_of(seed: int) -> SimulatedCluster:
    return SimulatedCluster(World(seed), Weather())


def formed(cluster: SimulatedCluster) -> set[str]:
    """The cluster id in each directory; '' for a node that belongs to none."""
    return {node.durable.identity.cluster for node in cluster.nodes.values()}


def serving(cluster: SimulatedCluster, first_client: int = 0) -> None:
    """Whether clients get thirty answers within a minute."""
    history = History()
    clients = [SimulatedClient(cluster, history, first_client + number) for number in range(2)]
    for client in clients:
        client.start()
    assert cluster.run(60, lambda: history.done >= 30), "no progress"
    for client in clients:
        client.stop()


def wipe(cluster: SimulatedCluster, id_: str) -> None:
    """Crash the node and empty its directory."""
    node = cluster.nodes[id_]
    node.crash()
    node.wipe()


SEEDS = pytest.mark.parametrize("seed", range(4))


@SEEDS
def test_three_empty_directories_become_one_cluster(seed):
    cluster = cluster_of(seed)
    cluster.start()
    serving(cluster)
    assert len(formed(cluster)) == 1
    assert formed(cluster) != {""}


@SEEDS
def test_two_of_three_do_not_form_and_the_third_makes_them(seed):
    cluster = cluster_of(seed)
    for id_ in ("K1", "K2"):
        cluster.nodes[id_].start()
    cluster.run(60)
    assert formed(cluster) == {""}
    cluster.nodes["K3"].start()
    serving(cluster)
    assert len(formed(cluster)) == 1


@SEEDS
@pytest.mark.parametrize("late", ["K1", "K2", "K3"])
def test_a_node_that_could_not_write_its_identity_adopts_the_cluster_of_the_others(seed, late):
    cluster = cluster_of(seed)
    cluster.start()
    process = cluster.nodes[late].process
    assert process is not None
    process.disk.full = True
    serving(cluster)
    assert cluster.nodes[late].durable.identity.cluster == ""
    cluster.nodes[late].crash()
    cluster.nodes[late].mend()
    cluster.run(5)
    cluster.nodes[late].start()
    assert cluster.run(60, lambda: len(formed(cluster)) == 1), "the late node did not adopt the cluster"
    assert not cluster.nodes[late].failures
    serving(cluster)


def unformed(cluster: SimulatedCluster) -> Process:
    """Start a cluster, and end the process of K1 before it has formed."""
    cluster.start()
    node = cluster.nodes["K1"]
    process = node.process
    assert process is not None
    process.disk.full = True
    assert cluster.run(60, lambda: cluster.formed)
    node.crash()
    node.mend()
    return process


@SEEDS
def test_a_founder_that_is_removed_before_it_forms_gives_up_rightly(seed):
    """Nothing is wrong with its program: the cluster is without it, and only an administrator can help."""
    cluster = cluster_of(seed)
    founder, node = unformed(cluster), cluster.nodes["K1"]
    assert Operator(cluster).remove(founder, fewest=1)
    assert cluster.run(60, lambda: "K1" not in cluster.members())
    node.start()
    assert cluster.run(60, lambda: node.process is None), "it waits for a cluster that has removed it"
    assert not node.durable.identity.cluster
    assert not node.failures
    serving(cluster)


def test_a_founder_gives_up_wrongly_until_its_removal_is_decided_and_without_a_way_back():
    cluster = cluster_of(0)
    founder, node = unformed(cluster), cluster.nodes["K1"]
    node.fatal("too early: KRAFT ADD")
    assert Operator(cluster).remove(founder, fewest=1)
    assert cluster.run(60, lambda: cluster.checks.committed[0].configuration.joint)
    node.fatal("decided: KRAFT ADD")
    node.fatal("without a way back")
    assert node.failures == ["too early: KRAFT ADD", "without a way back"]


@SEEDS
@pytest.mark.parametrize("dead", [("K1", "K2"), ("K1", "K3"), ("K2", "K3")])
def test_one_dead_path_does_not_keep_a_cluster_from_forming(seed, dead):
    cluster = cluster_of(seed)
    cluster.network.block([dead, dead[::-1]])
    cluster.start()
    assert cluster.run(60, lambda: len(formed(cluster)) == 1 and formed(cluster) != {""})
    serving(cluster)


def both(one: str, two: str) -> list[tuple[str, str]]:
    """The paths between two nodes."""
    return [(one, two), (two, one)]


@SEEDS
def test_a_founder_that_lost_the_leader_learns_from_the_follower_that_there_is_a_cluster(seed):
    """Otherwise it would form another one as soon as it met the leader with an empty directory."""
    cluster = cluster_of(seed)
    block, nodes = cluster.network.block, cluster.nodes
    block(both("K1", "K3"))
    cluster.start()
    assert cluster.run(30, lambda: nodes["K2"].durable.identity.cluster != "")
    block(both("K2", "K3"))
    cluster.network.unblock(both("K1", "K3"))
    cluster.network.reset("K2", "K3")
    serving(cluster)
    wipe(cluster, "K2")
    nodes["K2"].start()
    cluster.network.unblock(both("K2", "K3"))
    cluster.run(10)
    assert nodes["K1"].durable.identity.cluster == nodes["K3"].durable.identity.cluster
    assert "KRAFT REPLACE" in nodes["K2"].failures[0]
    serving(cluster)


@pytest.mark.parametrize("seed", range(1, 5))  # of which the link to K1 lasts long enough
def test_a_founder_does_not_rely_on_a_link_that_has_died(seed):
    """K1 and K2 form a cluster. K3 still has a link to K1 from before, and K2 comes back without its data."""
    cluster = cluster_of(seed)
    network, nodes = cluster.network, cluster.nodes
    network.block(both("K2", "K3") + both("K1", "K2"))
    cluster.start()
    third = nodes["K3"].process
    assert third is not None
    assert cluster.run(30, lambda: "K1" in third.host.peers.connected)
    network.unblock(both("K1", "K2"))
    assert cluster.run(30, lambda: nodes["K1"].durable.identity.cluster != "")
    network.block(both("K1", "K3"))
    assert cluster.run(30, lambda: nodes["K2"].durable.identity.cluster != "")
    wipe(cluster, "K2")
    network.block(both("K1", "K2"))
    network.unblock(both("K2", "K3"))
    nodes["K2"].start()
    assert cluster.run(2, lambda: third.host.peers.connected == {"K1", "K2"}), "the link ended too early"
    cluster.run(10)
    assert [nodes[id_].durable.identity.cluster for id_ in ("K2", "K3")] == ["", ""]
    network.unblock(both("K1", "K2") + both("K1", "K3"))
    cluster.run(10)
    assert nodes["K1"].durable.identity.cluster == nodes["K3"].durable.identity.cluster
    assert "KRAFT REPLACE" in nodes["K2"].failures[0]
    serving(cluster)


@SEEDS
def test_a_founder_whose_disk_was_full_forms_no_cluster_with_a_directory_that_is_gone(seed):
    """Only K3 meets all members. One of them loses its directory before K3 can write anything."""
    cluster = cluster_of(seed)
    nodes = cluster.nodes
    cluster.network.block(both("K1", "K2"))
    cluster.start()
    third = nodes["K3"].process
    assert third is not None
    third.disk.full = True
    assert cluster.run(30, lambda: cluster.world.counts["disk_full"] > 0)
    wipe(cluster, "K2")
    cluster.run(1)
    third.disk.full = False
    cluster.run(5)
    assert formed(cluster) == {""}
    nodes["K2"].start()
    serving(cluster)
    assert len(formed(cluster)) == 1


@SEEDS
def test_two_wiped_nodes_never_form_a_cluster_beside_the_third(seed):
    """Two empty directories are a majority of ids, not of members."""
    cluster = cluster_of(seed)
    cluster.start()
    serving(cluster)
    kept = cluster.nodes["K1"]
    kept.crash()
    for id_ in ("K2", "K3"):
        wipe(cluster, id_)
        cluster.nodes[id_].start()
    cluster.run(120)
    assert all(not cluster.nodes[id_].durable.groups for id_ in ("K2", "K3"))
    rows = len(kept.durable.groups[0].entries)
    kept.start()
    cluster.run(60)
    for id_ in ("K2", "K3"):
        assert cluster.nodes[id_].process is None, "it must leave, as the cluster knows another incarnation"
        assert "KRAFT REPLACE" in cluster.nodes[id_].failures[0]
    assert cluster.leaders() == []
    assert len(kept.durable.groups[0].entries) == rows


@SEEDS
@pytest.mark.parametrize("wiped", ["K1", "K2", "K3"])
def test_a_wiped_node_leaves_and_the_other_two_go_on(seed, wiped):
    """It may have voted and acknowledged entries, so nothing it says now may count."""
    cluster = cluster_of(seed)
    cluster.start()
    serving(cluster)
    wipe(cluster, wiped)
    cluster.nodes[wiped].start()
    serving(cluster)
    assert cluster.nodes[wiped].process is None
    assert "KRAFT REPLACE" in cluster.nodes[wiped].failures[0]
    assert not cluster.nodes[wiped].durable.groups


@SEEDS
def test_the_operator_spares_a_directory_that_alone_knows_the_cluster(seed):
    """If it were wiped, the other two would form another cluster with the new directory, not re-admit it."""
    cluster = cluster_of(seed)
    operator = Operator(cluster)
    deaf = [cluster.nodes[id_] for id_ in ("K2", "K3")]
    cluster.start()
    for node in deaf:
        assert node.process is not None
        node.process.disk.full = True
    assert cluster.run(60, lambda: cluster.formed)
    alone = cluster.nodes["K1"].process
    assert not operator.destroyable(alone)
    for node in deaf:
        assert node.process is not None
        node.process.disk.full = False
    serving(cluster)
    assert operator.destroyable(alone)


@SEEDS
def test_the_last_founder_joins_the_cluster_although_another_one_is_wiped_before(seed):
    """It would otherwise form another cluster with the new directory, beside the first."""
    cluster = cluster_of(seed)
    operator = Operator(cluster)
    cluster.start()
    late = cluster.nodes["K3"].process
    assert late is not None
    late.disk.full = True
    serving(cluster)
    wiped = cluster.nodes["K2"]
    assert formed(cluster) > {""}
    assert operator.destroyable(wiped.process)
    wipe(cluster, "K2")
    wiped.start()
    late.disk.full = False
    serving(cluster)
    assert cluster.nodes["K1"].durable.identity.cluster == cluster.nodes["K3"].durable.identity.cluster
    assert "KRAFT REPLACE" in wiped.failures[0]


@SEEDS
@pytest.mark.parametrize("stranger", ["K1", "K2", "K3"])
def test_the_directory_of_another_cluster_is_refused_and_stays_as_it_is(seed, stranger):
    cluster, other = cluster_of(seed), cluster_of(seed + 100)
    for each, first_client in ((cluster, 0), (other, 10)):
        each.start()
        serving(each, first_client)
    cluster.world.after_step = lambda: None  # the checks speak of one cluster
    cluster.checks.acknowledged = lambda *_: None  # type: ignore[method-assign]
    committed = cluster.checks.committed[0]
    committed.entry_of = lambda marked: committed.entries[0]  # type: ignore[method-assign]
    node = cluster.nodes[stranger]
    node.crash()
    node.durable = other.nodes[stranger].durable
    rows = len(node.durable.groups[0].entries)
    node.start()
    serving(cluster)
    assert cluster.world.counts["link refused"] > 0
    assert len(node.durable.groups[0].entries) == rows
