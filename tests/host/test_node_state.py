"""The state of a node in one word, with real hosts on the simulator's network."""

import pytest

from kraft.kv import commands as kv
from kraft.node.admin import Drain, Remove
from kraft.node.status import STATES
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.network import Weather
from tests.simulation.world import World


@pytest.fixture
def trio():
    """Three nodes, one of which leads."""
    trio = SimulatedCluster(World(1), Weather(), spares=1)
    trio.start()
    assert trio.run(10, lambda: len(trio.leaders()) == 1 and set(states(trio)) == {"serving"})
    return trio


def host(cluster, id_):
    return cluster.nodes[id_].process.host


def status(cluster, id_):
    """The status, whose word and problem belong together."""
    found = host(cluster, id_).status()
    assert found.state in STATES
    assert (found.state == "serving") == (found.problem == "")
    return found


def states(cluster):
    return [status(cluster, process.id).state for process in cluster.processes()]


def order(cluster, id_, command):
    """The outcome of a command."""
    told: list[object] = []
    host(cluster, id_).admin(command, told.append)
    assert cluster.run(40, lambda: bool(told))
    return told[0]


def cut_off(cluster, id_):
    """Block every path to and from a node; returns what heals them."""
    paths = [pair for other in cluster.nodes if other != id_ for pair in ((id_, other), (other, id_))]
    cluster.network.block(paths)
    return lambda: cluster.network.unblock(paths)


def test_the_last_node_of_three_is_leaderless_and_says_which_links_it_lacks(trio):
    [leader] = trio.leaders()
    for id_ in sorted({"K1", "K2", "K3"} - {leader}):
        trio.nodes[id_].crash()
    assert trio.run(20, lambda: states(trio) == ["leaderless"])
    others = " and ".join(sorted({"K1", "K2", "K3"} - {leader}))
    assert status(trio, leader).problem == f"no leader is known for group 0: no link to {others}"
    assert host(trio, leader).obstacle(0) == f"no link to {others}"


def test_the_lag_of_a_node_that_died_before_the_election_is_unknown(trio):
    """It has answered no message of the new leader, which knows nothing of its log."""
    [dead] = trio.leaders()
    trio.nodes[dead].crash()
    assert trio.run(20, lambda: len(trio.leaders()) == 1 and set(states(trio)) == {"serving"})
    [leader] = trio.leaders()
    [follower] = {"K1", "K2", "K3"} - {leader, dead}

    def lags():
        return {member.id: member.lag_entries for member in status(trio, leader).members}

    assert trio.run(5, lambda: lags() == {leader: None, dead: None, follower: 0})


def test_a_node_that_was_removed_while_it_was_cut_off_says_so(trio):
    """Its log does not have the change: the members that refuse its links tell it."""
    removed = sorted({"K1", "K2", "K3"} - set(trio.leaders()))[-1]
    heal = cut_off(trio, removed)
    assert trio.run(30, lambda: status(trio, removed).state == "leaderless")
    assert order(trio, trio.leaders()[0], Remove(removed)) == "OK"
    heal()
    assert trio.run(30, lambda: status(trio, removed).state == "removed")
    problem = status(trio, removed).problem
    assert problem.startswith(f"{removed} was removed from the cluster: wipe its data directory")
    assert f"KRAFT ADD {removed} " in problem
    assert host(trio, removed).obstacle(0) == problem
    assert trio.run(1, lambda: trio.world.counts["node_removed"] == 1)


def test_a_removed_node_that_starts_again_says_so_at_once(trio):
    """Its log has the change, and no member talks to it. Its log tells it once in each run."""
    removed = sorted({"K1", "K2", "K3"} - set(trio.leaders()))[-1]
    assert order(trio, trio.leaders()[0], Remove(removed)) == "OK"
    assert trio.run(30, lambda: trio.world.counts["node_removed"] == 1)
    trio.nodes[removed].crash()
    trio.nodes[removed].start()
    assert trio.run(5, lambda: trio.world.counts["node_removed"] == 2)
    assert status(trio, removed).state == "removed"
    trio.run(10)
    assert trio.world.counts["node_removed"] == 2


def test_a_node_that_its_cluster_gave_up_is_refused_and_says_why(trio):
    """Whatever the reason of the members is: here its directory is an old copy."""
    node = trio.nodes["K3"]
    node.crash()
    backup = node.backup()
    node.start()
    assert trio.run(30, lambda: set(states(trio)) == {"serving"})
    node.crash()
    node.put_back(backup)
    node.start()
    assert trio.run(30, lambda: node.process is not None and status(trio, "K3").state == "refused")
    problem = status(trio, "K3").problem
    assert "this node: the data directory of K3 is an old copy" in problem
    assert "KRAFT REPLACE K3 K3" in problem


def test_a_node_in_standby_names_the_command_that_lets_it_in(trio):
    """KRAFT ADD for a new one; KRAFT REPLACE for a member that has lost its directory."""
    spare = trio.nodes["K4"]
    spare.start()
    trio.run(5)
    assert status(trio, "K4").state == "standby"
    assert status(trio, "K4").problem == f"standby: waiting to be added with KRAFT ADD K4 {spare.address}"

    lost = trio.nodes["K3"]
    lost.crash()
    lost.wipe()
    lost.stand_by()
    lost.start()
    wanted = f"standby: waiting to be added with KRAFT REPLACE K3 K3 {lost.address}"
    assert trio.run(20, lambda: status(trio, "K3").problem == wanted)


def test_nodes_that_are_all_drained_say_so(trio):
    """No one campaigns any more: the reason is not a missing link."""
    for id_ in ("K1", "K2", "K3"):
        order(trio, id_, Drain(on=True))
    trio.run(5)
    [leader] = trio.leaders()  # it cannot give its leadership away
    trio.nodes[leader].crash()
    trio.nodes[leader].start()
    order(trio, leader, Drain(on=True))
    assert trio.run(30, lambda: status(trio, "K1").problem.endswith(": drained: K1, K2 and K3"))
    assert set(states(trio)) == {"leaderless"}


def test_a_cluster_whose_majority_has_full_disks_names_them(trio):
    """On every node, whether it leads or not."""
    [leader] = trio.leaders()
    full = sorted({"K1", "K2", "K3"} - {leader})
    for id_ in full:
        trio.nodes[id_].medium.full = True
    told: list[object] = []
    host(trio, leader).write(0, [kv.Delete((b"k",))], 10, told.append)
    text = f"disk full on {full[0]} and {full[1]}"
    assert trio.run(30, lambda: {host(trio, id_).obstacle(0) for id_ in trio.nodes if id_ != "K4"} == {text})
    assert status(trio, leader).state in ("serving", "leaderless")
    for id_ in full:
        trio.nodes[id_].medium.full = False
    assert trio.run(30, lambda: set(states(trio)) == {"serving"})
    assert trio.run(10, lambda: {host(trio, id_).obstacle(0) for id_ in trio.nodes if id_ != "K4"} == {""})
