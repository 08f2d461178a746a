"""What keeps a node from leading is named before a transfer is tried."""

import pytest

from kraft.node.admin import Add, Demote, Drain, StepDown, TransferLeadership
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.network import Weather
from tests.simulation.world import World


def make(nodes=3):
    """A cluster that has a leader, and all its links."""
    cluster = SimulatedCluster(World(1), Weather(), nodes=nodes, spares=1)
    cluster.start()
    assert cluster.run(10, lambda: all(p.host.status().state == "serving" for p in cluster.processes()))
    return cluster


@pytest.fixture
def trio():
    return make()


def host(cluster, id_):
    return cluster.nodes[id_].process.host


def order(cluster, id_, command):
    """The outcome of a command, as text."""
    told: list[object] = []
    host(cluster, id_).admin(command, told.append)
    assert cluster.run(40, lambda: bool(told))
    return str(told[0])


def followers(cluster):
    return sorted(p.id for p in cluster.processes() if p.id not in cluster.leaders())


def test_a_drained_node_does_not_take_over(trio):
    """It says what to do; the leader stays, without a pause."""
    [leader] = trio.leaders()
    to = followers(trio)[0]
    assert order(trio, to, Drain(on=True)) == "OK"
    trio.run(1)
    asked = trio.world.now
    assert order(trio, leader, TransferLeadership(to)).startswith(f"{to} is drained: KRAFT DRAIN OFF on {to}")
    assert trio.world.now - asked < 0.2
    assert trio.leaders() == [leader]
    assert order(trio, to, Drain(on=False)) == "OK"
    trio.run(1)
    assert order(trio, leader, TransferLeadership(to)) == to


def test_a_node_without_a_link_or_with_a_full_disk_does_not_take_over(trio):
    """Each for its reason; KRAFT STEPDOWN names all of them."""
    [leader] = trio.leaders()
    dead, full = followers(trio)
    trio.nodes[full].medium.full = True
    assert trio.run(20, lambda: host(trio, full).status().disk_full or not order(trio, leader, Add("x", "")))
    trio.run(1)
    assert order(trio, leader, TransferLeadership(full)) == f"the disk of {full} is full"
    trio.nodes[dead].crash()
    trio.run(0.3)
    assert order(trio, leader, TransferLeadership(dead)) == f"{dead} has no link to {leader}"
    told = order(trio, leader, StepDown())
    assert told.startswith("no other voter can take over: ")
    assert f"{dead} has no link to {leader}" in told
    assert f"the disk of {full} is full" in told


def test_a_learner_and_a_stranger_do_not_take_over(trio):
    """Nor does a node that leads already: that is done."""
    [leader] = trio.leaders()
    learner = followers(trio)[0]
    assert order(trio, leader, Demote(learner)) == "OK"
    told = order(trio, leader, TransferLeadership(learner))
    assert told == f"{learner} is a learner, without a vote: KRAFT PROMOTE {learner} first"
    assert order(trio, leader, TransferLeadership("K9")) == "K9 is not a member; the members are K1, K2, K3"
    assert order(trio, leader, TransferLeadership(leader)) == leader


def test_the_only_voter_is_not_drained():
    """No other node could lead, so that it would lead nothing after its next election."""
    alone = make(nodes=1)
    assert order(alone, "K1", Drain(on=True)) == "K1 is the only voter: no other node could lead"
    assert not host(alone, "K1").groups[0].drained


def test_the_last_node_that_may_lead_says_why_it_goes_on(trio):
    """The other voters are drained."""
    [leader] = trio.leaders()
    for id_ in followers(trio):
        assert order(trio, id_, Drain(on=True)) == "OK"
    trio.run(1)
    told = order(trio, leader, Drain(on=True))
    assert told.startswith("still leads group 0: no other voter can take over: ")
    for id_ in followers(trio):
        assert f"{id_} is drained" in told
