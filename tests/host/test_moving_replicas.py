"""Replicas that follow the votes: only voters have one, on the simulator's clock, disks and network."""

from functools import partial

import pytest

from kraft.host.membership import invitations
from kraft.host.placement.placer import INCOMING_MAX
from kraft.kv import commands as kv
from kraft.node import admin
from kraft.node.errors import NoLeader, Uncertain
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.replica_number import UNNUMBERED
from tests.host.test_placement import NODES, ZONES, Placed


class Moving(Placed):
    """Six nodes in three zones, with three voters in each group, and no other replicas but of group 0."""

    def __init__(self, groups=8, nodes=6):
        super().__init__(groups, nodes)
        self.place(3)
        assert self.run(60, self.narrow)

    def holders(self, group):
        """The nodes that run a replica of a group."""
        return tuple(sorted(p.id for p in self.processes() if group in p.host.groups))

    def members_in(self, group):
        return tuple(self.members_of(group))

    def narrow(self):
        """Whether the members of each group are its voters, and only they have a replica."""
        running = {p.id for p in self.processes()}
        return all(
            self.members_in(group) == self.voters(group)
            and self.holders(group) == tuple(id_ for id_ in self.voters(group) if id_ in running)
            for group in range(1, self.group_count)
        )

    def count(self, group, node):
        """Raise a counter of the group by a client of `node`."""
        [reply] = self.write(group, kv.Increment(b"n", 1), node=node)
        return reply

    def number(self, group, node):
        return self.host(node).groups[group].numbers.own


@pytest.fixture
def cluster():
    return Moving()


def test_only_voters_keep_a_replica(cluster):
    for group in range(8):
        assert [cluster.count(group, node) for node in NODES] == [1, 2, 3, 4, 5, 6], group
    for process in cluster.processes():
        status = process.host.status()
        known = {group.group for group in (*status.groups, *status.elsewhere)}
        assert known == set(range(status.group_count)) == set(range(8))
        assert {group.group for group in status.groups} == set(process.host.groups)


def test_a_node_that_is_added_gets_replicas_when_votes_are_rebalanced(cluster):
    for group in range(1, 8):
        assert cluster.count(group, "K1") == 1
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    assert cluster.run(20, lambda: 0 in cluster.host("K7").groups)
    assert sorted(cluster.host("K7").groups) == [0]
    assert cluster.run(20, lambda: bool(cluster.host("K7").leader(7)))
    assert [cluster.count(group, "K7") for group in range(1, 8)] == [2] * 7
    assert cluster.order("K1", admin.RebalanceReplicas())

    def shown():
        led = [group for p in cluster.processes() for group in p.host.status().groups if group.replicas]
        return any(group.replaced.get("K7") in group.voters and "K7" in group.joining for group in led)

    assert cluster.run(20, shown), "whose place a new replica takes"
    assert cluster.run(60, lambda: cluster.settled() and cluster.narrow())
    assert cluster.wide()
    mine = [group for group in range(1, 8) if "K7" in cluster.voters(group)]
    assert 2 <= len(mine) <= 4
    assert all(cluster.number(group, "K7") > UNNUMBERED for group in mine)
    assert [cluster.count(group, "K7") for group in range(1, 8)] == [3] * 7


def test_a_replica_that_no_group_knows_of_is_dropped(cluster, monkeypatch):
    """A node that was invited by a leader which had not applied what is in force has such replicas."""
    invited = partial(Invitation, first_only=False)
    monkeypatch.setattr(invitations, "Invitation", lambda *values: invited(*values[:3]))
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    assert cluster.run(20, lambda: len(cluster.host("K7").groups) == 8)
    for _ in range(2):
        assert cluster.run(60, lambda: sorted(cluster.host("K7").groups) == [0])
        cluster.nodes["K7"].crash()
        cluster.nodes["K7"].start()
        assert cluster.run(20, lambda: len(cluster.host("K7").groups) == 8)
    assert cluster.run(20, lambda: len(cluster.host("K7").peers.connected) == 6)
    assert cluster.carried_out(admin.RebalanceReplicas())
    assert cluster.votes()["K7"] > 0
    assert cluster.run(60, cluster.narrow)
    assert [cluster.count(group, "K7") for group in range(1, 8)] == [1] * 7


def test_a_node_that_is_added_where_every_member_votes_begins_each_replica_when_it_is_told():
    cluster = Placed()
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    everyone = (*NODES, "K7")
    assert cluster.run(60, lambda: all(cluster.voters(group) == everyone for group in range(8)))
    assert sorted(cluster.host("K7").groups) == list(range(8))
    assert {cluster.host("K7").groups[group].numbers.own for group in range(8)} == {UNNUMBERED}


def test_a_node_gets_votes_if_all_members_are_to_vote_by_the_time_it_is_added(cluster):
    before = cluster.state
    cluster.place(0)
    address = cluster.stand_by("K7")
    commands = cluster.host("K2")._placer.commands
    answers: list[object] = []
    proceed = cluster.host("K2")._admin._change_all
    proceed = partial(proceed, 8, cluster.host("K2")._clock.seconds() + 20)
    commands._admit(admin.Add("K7", address), before, proceed, answers.append)
    assert cluster.run(30, lambda: answers == ["OK"])
    everyone = (*NODES, "K7")
    assert cluster.run(60, lambda: all(cluster.voters(group) == everyone for group in range(8)))
    assert cluster.run(20, lambda: not cluster.state.active)


@pytest.mark.parametrize("part", ["_read", "write"])
def test_a_node_that_was_added_too_late_gets_votes_though_group_0_has_no_leader_for_a_moment(
    monkeypatch, part
):
    """If that lasts, nobody is told that all is done."""
    cluster = Moving(groups=2, nodes=4)
    before = cluster.state
    cluster.place(0)
    commands = cluster.host("K2")._placer.commands
    owner = commands if part == "_read" else commands._requests
    carry_out, failures = getattr(owner, part), [3]
    answers: list[object] = []

    def fail(*arguments):
        failures[0] -= 1
        if failures[0] < 0:
            carry_out(*arguments)
        else:
            arguments[-1](NoLeader(0))

    def added(_command, done, **_):
        done("OK")

    monkeypatch.setattr(owner, part, fail)
    commands._admit(admin.Add("K5", "h:1"), before, added, answers.append)
    assert cluster.run(3, lambda: answers == ["OK"])
    assert cluster.state.settling
    assert cluster.run(30, cluster.settled)
    failures[0] = 1_000
    commands._admit(admin.Add("K5", "h:1"), before, added, answers.append)
    assert cluster.run(10, lambda: len(answers) == 2)
    assert isinstance(answers[1], Uncertain)


@pytest.mark.parametrize(("gap", "late"), [(0.0, 0.0), (0.1, 0.0), (2.0, 0.0), (0.1, 1.0), (0.1, 4.5)])
def test_a_node_that_is_added_while_all_members_get_every_replica_gets_them_as_well(gap, late):
    """The two commands meet `gap` seconds apart; or the node starts so `late` that all votes have moved."""
    cluster = Moving(groups=2, nodes=4)
    node = cluster.nodes["K5"]
    node.stand_by()
    commands = [("K2", admin.SetReplication(0)), ("K3", admin.Add("K5", node.address))]
    answers: list[object] = []
    if not late:
        node.start()
        cluster.run(1)
    for asked, command in reversed(commands) if late else commands:
        cluster.host(asked).admin(command, answers.append)
        cluster.run(gap)
    cluster.run(late)
    if late:
        assert cluster.state.active == (late < 3)
        node.start()
    assert cluster.run(20, lambda: answers == ["OK", "OK"])
    everyone = ("K1", "K2", "K3", "K4", "K5")
    assert cluster.run(60, lambda: [cluster.voters(0), cluster.voters(1)] == [everyone, everyone])
    assert cluster.run(20, lambda: not cluster.state.active)
    assert all(sorted(process.host.groups) == [0, 1] for process in cluster.processes())


@pytest.mark.parametrize("down", [False, True])
def test_a_node_that_is_removed_hands_over_its_replicas_first(cluster, down):
    node = "K4" if cluster.leader != "K4" else "K3"
    if down:
        cluster.nodes[node].crash()
    cluster.seen = {group: [cluster.voters(group)] for group in range(8)}
    cluster.give("K1", admin.Remove(node))
    assert cluster.run(40, lambda: cluster.note() or bool(cluster.answers))
    assert cluster.answers == ["OK"]
    assert cluster.wide()
    assert all(node not in cluster.members_in(group) for group in range(8))
    assert all(len(voters) >= 3 for seen in cluster.seen.values() for voters in seen), "never fewer"
    assert cluster.run(20, lambda: not cluster.state.leaving)
    cluster.nodes[node].crash()
    assert cluster.run(20, cluster.narrow)


def test_a_replica_comes_back_with_a_number(cluster):
    """To the nodes that had one at first, when all members are to vote again."""
    had = {group: cluster.holders(group) for group in range(1, 8)}
    cluster.place(0, "K5")
    assert all(cluster.voters(group) == tuple(NODES) for group in range(8))
    assert all(cluster.holders(group) == tuple(NODES) for group in range(8))
    for group, first in had.items():
        assert {id_: cluster.number(group, id_) > UNNUMBERED for id_ in NODES} == {
            id_: id_ not in first for id_ in NODES
        }
    assert not cluster.state.active
    cluster.place(3)
    assert cluster.run(60, cluster.narrow)


def test_another_node_takes_the_replicas_of_one_that_is_replaced(cluster):
    before = {group: cluster.voters(group) for group in range(8)}
    node = "K3" if cluster.leader != "K3" else "K4"
    cluster.nodes[node].crash()
    address = cluster.stand_by("K8")
    assert cluster.order(cluster.leader, admin.Replace(node, "K8", address)) == "OK"
    expected = {
        group: tuple(sorted("K8" if id_ == node else id_ for id_ in voters))
        for group, voters in before.items()
    }
    assert cluster.run(60, lambda: {group: cluster.voters(group) for group in range(8)} == expected)
    assert cluster.run(20, cluster.narrow)


def test_a_spare_node_takes_the_replicas_of_one_that_is_replaced(cluster):
    """It is a member already, and has a replica of group 0 only."""
    before = {group: cluster.voters(group) for group in range(8)}
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    cluster.run(5)
    node = next(id_ for id_ in cluster.voters(0) if id_ != cluster.leader)
    cluster.nodes[node].crash()
    assert cluster.order(cluster.leader, admin.Replace(node, "K7", "")) == "OK"
    expected = {
        group: tuple(sorted("K7" if id_ == node else id_ for id_ in voters))
        for group, voters in before.items()
    }
    assert cluster.run(60, lambda: {group: cluster.voters(group) for group in range(8)} == expected)
    assert cluster.run(20, cluster.narrow)


def test_a_node_that_lost_its_data_gets_its_replicas_back(cluster):
    before = {group: cluster.voters(group) for group in range(8)}
    node = cluster.nodes["K3" if cluster.leader != "K3" else "K4"]
    node.crash()
    node.wipe()
    node.lost = True
    address = cluster.stand_by(node.id)
    assert cluster.order(cluster.leader, admin.Replace(node.id, node.id, address)) == "OK"
    assert cluster.run(90, lambda: {group: cluster.voters(group) for group in range(8)} == before)
    assert cluster.run(20, cluster.narrow)


def test_a_group_does_not_wait_for_a_new_replica_on_a_node_that_died(cluster):
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    assert cluster.run(20, lambda: 0 in cluster.host("K7").groups)
    assert cluster.order("K1", admin.RebalanceReplicas())

    def coming():
        return any(cluster.checks.committed[group].configuration.joining for group in range(1, 8))

    assert cluster.run(20, coming)
    cluster.nodes["K7"].crash()
    cluster.run(5)
    held = [group for group in range(1, 8) if cluster.checks.committed[group].configuration.joining]
    assert cluster.run(90, lambda: not coming() and all("K7" not in cluster.members_in(g) for g in held))
    assert cluster.run(30, lambda: all(len(cluster.voters(group)) == 3 for group in range(1, 8)))
    cluster.nodes["K7"].start()
    assert cluster.run(120, lambda: cluster.settled() and cluster.narrow())
    assert cluster.votes()["K7"] > 0


def test_the_next_leader_of_group_0_goes_on(cluster):
    """While nodes restart in the middle of everything."""
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    assert cluster.order("K1", admin.RebalanceReplicas())
    for _ in range(4):
        cluster.run(1.05)
        leader = cluster.leaders()[0] if cluster.leaders() else ""
        if leader:
            cluster.nodes[leader].crash()
            cluster.run(3)
            cluster.nodes[leader].start()
    assert cluster.run(120, lambda: cluster.wide() and cluster.settled() and cluster.narrow())


def test_no_node_gets_many_replicas_at_once():
    """Here it is to have at least three."""
    cluster = Moving(groups=12)
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    most = [0]
    version = cluster.state.version
    assert cluster.order("K1", admin.RebalanceReplicas())

    def watched():
        led = [g for p in cluster.processes() for g in p.host.groups.values() if g.raft.state.leads]
        most[0] = max(most[0], sum(len(g.raft.state.configuration.joining) for g in led))
        return cluster.state.version > version and cluster.settled()

    assert cluster.run(120, watched)
    assert most[0] == INCOMING_MAX
    assert sum("K7" in cluster.voters(group) for group in range(1, 12)) > INCOMING_MAX


def test_an_administrator_moves_a_member_to_another_address(cluster):
    """Groups of which it is no member have nothing to do."""
    assert any("K3" not in cluster.members_in(group) for group in range(1, 8))
    address = "10.0.9.3:10001"
    assert cluster.order("K1", admin.Readdress("K3", address, force=True)) == "OK"
    for group in range(8):
        members = cluster.checks.committed[group].configuration.members
        assert all(member.peer == address for member in members if member.id == "K3")


def test_zones_stay_apart_when_a_zone_gets_a_node(cluster):
    assert {ZONES[id_] for id_ in NODES} == set("abc")
    address = cluster.stand_by("K8")
    assert cluster.order("K2", admin.Add("K8", address)) == "OK"
    cluster.run(5)
    assert cluster.carried_out(admin.RebalanceReplicas())
    assert cluster.run(60, cluster.narrow)
    assert cluster.wide()
