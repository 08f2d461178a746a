"""Administrators' commands at a node that has no replica of some groups: their leaders carry them out."""

from typing import Any

import pytest
from msgspec.structs import replace

from kraft.node import admin
from kraft.node.errors import AdminRefused
from tests.host.scattered import Apart

MEMBERS = {0: {"K1", "K2", "K3", "K4", "K5"}, 1: {"K1", "K2"}, 2: {"K3", "K4"}}


@pytest.fixture
def cluster():
    return Apart()


@pytest.mark.parametrize("asked", ["K1", "K3", "K5"])
def test_all_replicas_are_compared_where_they_are(cluster, asked):
    client = cluster.connect(asked)
    for n in range(50):
        client.run("SET", f"key:{n}", "v")
    rows = cluster.carried_out(asked, admin.Verify())
    found = {group: {row["node"] for row in rows if row["group"] == group} for group in MEMBERS}
    assert found == MEMBERS
    assert {row["state"] for row in rows} == {"equal"}


def test_checkpoints_are_taken_in_all_groups(cluster):
    indexes = cluster.carried_out("K5", admin.TakeSnapshot())
    leaders = [cluster.leader_of(group) for group in MEMBERS]

    def taken():
        states = [cluster.host(id_).groups[group] for group, id_ in enumerate(leaders)]
        return [state.checkpoints.last.base.index for state in states] == indexes

    assert cluster.run(10, taken)


def test_leadership_is_transferred_from_a_node_without_the_group(cluster):
    for group in (1, 2):
        leader = cluster.leader_of(group)
        other = next(id_ for id_ in MEMBERS[group] if id_ != leader)
        assert cluster.carried_out("K5", admin.TransferLeadership(other, group)) == other
        assert cluster.run(20, lambda group=group, other=other: cluster.leaders(group) == [other])
    refused = cluster.carried_out("K5", admin.TransferLeadership("K5", 1))
    assert isinstance(refused, AdminRefused)


def test_a_removal_that_ended_half_way_is_told_and_ended_by_the_same_command(cluster):
    """The group that has removed the node can never give it a replica again."""
    done: list[Any] = []
    leader = cluster.leader_of(1)
    [node] = MEMBERS[1] - {leader}
    cluster.host(leader).groups[1].membership.do(admin.Remove(node, force=True), done.append)
    assert cluster.run(10, lambda: bool(done))
    told = {member.id: member.removed_from for member in cluster.host(leader).status().members}
    assert told == {id_: (1,) if id_ == node else () for id_ in MEMBERS[0]}
    assert cluster.carried_out("K5", admin.Remove(node)) == "OK"
    assert node not in [member.id for member in cluster.host(leader).status().members]


def test_an_old_directory_delays_a_command(cluster):
    """Who does not lead, or has no replica, says so, and the command waits for news."""
    host = cluster.host("K5")
    for wrong in (next(id_ for id_ in MEMBERS[1] if id_ != cluster.leader_of(1)), "K3", "K5", "K9"):
        place = host.elsewhere.directory.places[1]
        host.elsewhere.directory.places[1] = replace(place, leader=wrong)
        done: list[Any] = []
        host.admin(admin.Verify(), done.append)
        cluster.run(1)
        assert not done
        host.elsewhere.told(1, replace(place, term=place.term + 1))
        assert cluster.run(20, lambda done=done: bool(done))
        assert {row["state"] for row in done[0]} == {"equal"}
        host.elsewhere.directory.places[1] = place


def test_a_group_without_a_leader_is_named(cluster):
    """Half of its members are down: the command is refused in time, as where the node is a member."""
    cluster.nodes[cluster.leader_of(1)].crash()
    outcome = cluster.carried_out("K5", admin.TransferLeadership("K1", 1))
    assert isinstance(outcome, Exception)
