"""Groups that are created where nodes have replicas of some groups only: on the nodes that a plan chooses."""

import pytest

from kraft.host.placement.placement_view import PlacementView
from kraft.kv.commands import ChangePlacement
from kraft.node import admin
from kraft.node.errors import AdminRefused
from kraft.raft.membership.replica_number import NEVER
from tests.host.test_moving_replicas import Moving
from tests.host.test_placement import NODES


@pytest.fixture
def cluster():
    return Moving(groups=4)


def grown(cluster, groups):
    """Whether the members of each group run a replica of it, and all nodes know its leader."""
    cluster.group_count = groups
    hosts = [process.host for process in cluster.processes()]
    known = all(host.slots.groups == groups and all(map(host.leader, range(groups))) for host in hosts)
    return known and all(log.configuration.voters for log in cluster.checks.committed) and cluster.narrow()


@pytest.mark.parametrize("asked", ["K1", "K6"])
def test_new_groups_have_replicas_on_their_voters_only(cluster, asked):
    assert cluster.create(8, asked) == 8
    assert cluster.run(30, lambda: grown(cluster, 8))
    assert cluster.wide()  # three voters each, all in different zones
    votes = cluster.votes()
    assert max(votes.values()) - min(votes.values()) <= 1
    for group in range(4, 8):
        assert [cluster.count(group, node) for node in NODES] == [1, 2, 3, 4, 5, 6]


def test_a_node_that_was_down_begins_what_it_is_a_member_of(cluster):
    """It is chosen for nothing while it is down, but learns of the groups."""
    down = next(id_ for id_ in NODES if id_ != cluster.leader)
    cluster.nodes[down].crash()
    cluster.run(15)
    assert cluster.create(8, cluster.leader) == 8
    assert cluster.run(30, lambda: grown(cluster, 8))
    assert not any(down in cluster.voters(group) for group in range(4, 8))
    cluster.nodes[down].start()
    assert cluster.run(30, lambda: grown(cluster, 8))
    assert [cluster.count(group, down) for group in range(4, 8)] == [1] * 4


def test_after_a_restart_a_node_knows_what_it_never_had(cluster):
    cluster.create(6)
    assert cluster.run(30, lambda: grown(cluster, 6))
    for id_ in NODES:
        cluster.nodes[id_].crash()
        cluster.nodes[id_].start()
        assert cluster.run(30, lambda: grown(cluster, 6))
    for id_ in NODES:
        lacked = {group for group in (4, 5) if id_ not in cluster.voters(group)}
        replicas = cluster.host(id_)._lifecycle.replicas
        assert {group for group in (4, 5) if replicas.number(group) == NEVER} == lacked
        assert {group for group in (4, 5) if replicas.has_left(group)} == lacked


def test_a_replica_of_a_new_group_moves_to_a_node_that_never_had_one(cluster):
    cluster.create(6)
    assert cluster.run(30, lambda: grown(cluster, 6))
    assert cluster.count(5, "K1") == 1
    leaving = next(id_ for id_ in cluster.voters(5) if id_ != cluster.leader)
    assert cluster.order(cluster.leader, admin.Remove(leaving)) == "OK"
    cluster.nodes[leaving].crash()  # it keeps its data
    assert cluster.run(90, lambda: leaving not in cluster.voters(5) and cluster.narrow())
    assert len(cluster.voters(5)) == 3
    assert cluster.count(5, cluster.leader) == 2


def test_slots_are_split_to_groups_on_other_nodes(cluster):
    cluster.order("K3", admin.SplitGroup(1, 3))
    cluster.group_count = 6
    assert cluster.run(120, lambda: not any(p.host.moves.status() for p in cluster.processes()))
    assert cluster.run(30, lambda: grown(cluster, 6))
    owners = {group for *_, group in cluster.host("K5").slots.ranges()}
    assert owners == set(range(6))


def test_no_group_is_created_while_members_are_to_get_all_replicas(cluster):
    """A new one would be on all of them at once, and the others are not yet."""
    wide = ChangePlacement(cluster.state.version, 0, False, ())
    assert isinstance(cluster.write(0, wide)[0], list)
    outcome = cluster.create(5)
    assert isinstance(outcome, AdminRefused)
    assert "has not reached all groups" in str(outcome)


def test_without_a_node_that_can_vote_no_group_is_created(cluster, monkeypatch):
    monkeypatch.setattr(PlacementView, "is_able", lambda *_: False)
    outcome = cluster.create(5)
    assert isinstance(outcome, AdminRefused)
    assert "no node can be given votes" in str(outcome)
