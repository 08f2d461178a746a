"""Several groups on the simulator's clock, disks and network: how they form, change members, and are led."""

import dataclasses

import pytest

from kraft.config import ClusterConfig, PeerConfig
from kraft.node import admin
from kraft.node.errors import AdminRefused, NoLeader, Uncertain
from tests.simulation.cluster import SimulatedCluster, Tuning, address_of
from tests.simulation.network import Weather
from tests.simulation.world import World

GROUPS = 3


class Grouped(SimulatedCluster):
    """Three members with three groups each, and machines in reserve."""

    def __init__(self, nodes=3, groups=GROUPS, spares=2):
        super().__init__(World(1), Weather(), nodes, groups, spares, Tuning())
        self.answers = []
        self.start()
        assert self.run(20, self.led)

    def led(self):
        """Whether every group has one leader, which all nodes know and which can commit."""
        ids = range(self.group_count)
        return all(len(self.leaders(g)) == 1 for g in ids) and all(
            p.host.leader(g) in self.leaders(g) for p in self.processes() for g in p.host.groups
        )

    def host(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        return process.host

    def pause(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        process.clock.pause()

    def leader_of(self, group):
        [leader] = self.leaders(group)
        return leader

    def give(self, id_, command):
        """Give a node an administrator's command, and do not wait."""
        self.answers.clear()
        self.host(id_).admin(command, self.answers.append)

    def order(self, id_, command):
        """The outcome of an administrator's command."""
        self.give(id_, command)
        assert self.run(40, lambda: bool(self.answers))
        return self.answers[0]

    def stand_by(self, id_):
        node = self.nodes[id_]
        node.stand_by()
        node.start()
        return node.address

    def members_of(self, group):
        return [member.id for member in self.checks.committed[group].configuration.members]

    def voters(self):
        return [set(self.checks.committed[group].configuration.voters) for group in range(self.group_count)]


@pytest.fixture
def trio():
    return Grouped()


def test_a_node_that_is_added_has_all_groups_and_becomes_a_voter_of_each(trio):
    address = trio.stand_by("K4")
    assert trio.order("K2", admin.Add("K4", address)) == "OK"
    assert all(trio.members_of(group) == ["K1", "K2", "K3", "K4"] for group in range(GROUPS))
    assert trio.run(30, lambda: trio.voters() == [{"K1", "K2", "K3", "K4"}] * GROUPS)
    assert sorted(trio.host("K4").groups) == list(range(GROUPS))
    assert trio.host("K4").slots.groups == GROUPS
    [k4] = [member for member in trio.host("K1").status().members if member.id == "K4"]
    assert k4.voter


def test_the_status_has_the_groups_in_order(trio):
    """Whichever of them was replayed first."""
    groups = trio.host("K1").groups
    backwards = dict(reversed(groups.items()))
    groups.clear()
    groups.update(backwards)
    assert [group.group for group in trio.host("K1").status().groups] == list(range(GROUPS))


def test_a_command_to_a_node_that_waits_to_be_added_changes_nothing(trio):
    """It does not know the number of groups, and must not take it for one when it learns it."""
    early: list[object] = []
    address = trio.stand_by("K4")
    trio.host("K4").admin(admin.Remove("K3"), early.append)
    assert trio.order("K2", admin.Add("K4", address)) == "OK"
    assert trio.run(30, lambda: bool(early))
    assert isinstance(early[0], NoLeader)
    assert all(trio.members_of(group) == ["K1", "K2", "K3", "K4"] for group in range(GROUPS))


def test_a_member_that_is_removed_leaves_all_groups(trio):
    assert trio.order("K1", admin.Remove("K3")) == "OK"
    assert all(trio.members_of(group) == ["K1", "K2"] for group in range(GROUPS))
    assert trio.run(20, lambda: trio.host("K3").status().state == "removed")
    assert trio.run(20, lambda: all(set(trio.leaders(group)) <= {"K1", "K2"} for group in range(GROUPS)))


def test_a_member_is_replaced_in_all_groups(trio):
    address = trio.stand_by("K4")
    trio.nodes["K3"].crash()
    assert trio.order("K1", admin.Replace("K3", "K4", address)) == "OK"
    assert trio.run(60, lambda: trio.voters() == [{"K1", "K2", "K4"}] * GROUPS)


def test_a_change_that_one_group_refuses_changes_none(trio):
    """With K3 down, no group can spare K2."""
    trio.nodes["K3"].crash()
    assert trio.run(20, lambda: all(trio.leaders(group) for group in range(GROUPS)))
    trio.run(5)
    refused = trio.order("K1", admin.Remove("K2"))
    assert isinstance(refused, AdminRefused)
    assert "K3 is down: remove K3 first" in str(refused)
    assert all(trio.members_of(group) == ["K1", "K2", "K3"] for group in range(GROUPS))


def test_the_same_command_finishes_what_is_half_done(trio):
    """Group 0 alone has taken K4 in; all keep their links to it."""
    address = trio.stand_by("K4")
    host = trio.host(trio.leader_of(0))
    host.groups[0].membership.do(admin.Add("K4", address), trio.answers.append)
    assert trio.run(20, lambda: trio.answers == ["OK"])
    trio.run(10)
    assert trio.members_of(1) == ["K1", "K2", "K3"]

    assert trio.order("K3", admin.Add("K4", address)) == "OK"
    assert all("K4" in trio.members_of(group) for group in range(GROUPS))
    again = trio.order("K3", admin.Add("K4", address))
    assert isinstance(again, AdminRefused)
    assert "K4 is a member already" in str(again)


def test_a_node_that_has_left_group_0_only_keeps_its_links(trio):
    host = trio.host(trio.leader_of(0))
    host.groups[0].membership.do(admin.Remove("K3", force=True), trio.answers.append)
    assert trio.run(20, lambda: trio.answers == ["OK"])
    trio.run(10)
    assert "K3" in trio.host("K1").peers.connected
    assert not trio.host("K3").peers.removed
    assert trio.order("K1", admin.Remove("K3")) == "OK"
    assert trio.run(20, lambda: trio.host("K3").peers.removed)


def in_groups(cluster, command, *groups):
    """Let these groups alone carry out a command, as if it had ended half-way after them."""
    for group in groups:
        cluster.answers.clear()
        leader = cluster.host(cluster.leader_of(group))
        leader.groups[group].membership.do(command, cluster.answers.append)
        assert cluster.run(20, lambda: cluster.answers == ["OK"])


def commands_about(cluster, id_):
    """Changes of a member, which is at another address by now."""
    node = cluster.nodes[id_]
    node.crash()
    node.config = dataclasses.replace(node.config, peer=PeerConfig(advertise=address_of(int(id_[1:]), 1)))
    node.start()
    spare = cluster.stand_by("K5")
    demote, readdress = admin.Demote(id_, force=True), admin.Readdress(id_, node.address)
    return [demote, readdress, admin.Replace(id_, "K5", spare, force=True)]


@pytest.mark.parametrize("removed", [(0,), (1, 2)])
def test_a_member_that_some_groups_have_removed_is_not_changed_in_the_others(trio, removed):
    in_groups(trio, admin.Remove("K3", force=True), *removed)
    for command in commands_about(trio, "K3"):
        outcome = trio.order("K1", command)
        assert isinstance(outcome, AdminRefused)
        named = "group 0" if removed == (0,) else "groups 1 and 2"
        end = "K3 was removed, and other groups still have it: end that with KRAFT REMOVE K3"
        assert str(outcome) == f"{named}: {end}"
    assert trio.order("K1", admin.Remove("K3")) == "OK"
    assert trio.voters() == [{"K1", "K2"}] * GROUPS


def test_a_member_whose_place_is_taken_group_by_group_is_not_changed_meanwhile(trio):
    """The node that takes it has caught up in group 1 first."""
    old = next(id_ for id_ in ("K2", "K3") if id_ != trio.leader_of(1))
    assert trio.order("K1", admin.Replace(old, "K4", trio.stand_by("K4"))) == "OK"
    trio.run(1)
    in_groups(trio, admin.Promote("K4", force=True), 1)
    outcome = trio.order("K1", admin.Demote(old))
    assert isinstance(outcome, AdminRefused)
    assert str(outcome) == (
        f"group 1: {old} has left, and K4 is about to take its place in the other groups: wait until K4 "
        f"votes in all of them, or take {old} out with KRAFT REMOVE {old}"
    )
    assert trio.voters()[0] == {"K1", "K2", "K3"}
    left = {"K1", "K2", "K3", "K4"} - {old}
    assert trio.run(20, lambda: trio.voters() == [left] * GROUPS)


def test_a_member_that_some_groups_have_not_added_is_not_changed_in_the_others(trio):
    address = trio.stand_by("K4")
    in_groups(trio, admin.Add("K4", address), 0)
    for command in [admin.Promote("K4", force=True), *commands_about(trio, "K4")]:
        outcome = trio.order("K1", command)
        assert isinstance(outcome, AdminRefused)
        end = "repeat the addition that has ended half-way, or take it out with KRAFT REMOVE K4"
        assert str(outcome) == f"groups 1 and 2: K4 is a member of other groups only: {end}"
    assert trio.order("K1", admin.Remove("K4")) == "OK"
    assert trio.voters() == [{"K1", "K2", "K3"}] * GROUPS


def test_a_member_that_leaves_a_group_between_rehearsal_and_removal_is_removed_there(trio):
    """A move of its replica was under way. Group 0 goes on saying who is no member."""
    leaders = [trio.host(trio.leader_of(group)) for group in (0, 1)]
    gone = next(id_ for id_ in ("K1", "K2", "K3") if id_ not in {host.id for host in leaders})
    for _ in range(2):
        in_groups(trio, admin.Remove(gone), 1)
    outcomes: list[object] = []
    leaders[0].groups[0].membership.do(admin.Remove("K9"), outcomes.append)
    assert trio.run(5, lambda: bool(outcomes))
    assert str(outcomes[0]).startswith("K9 is not a member; the members are ")


def test_a_voter_that_has_left_group_0_is_found_by_one_that_has_moved():
    """Group 0 has a leader all the time. K1 dials K3 by rule, at the address that group 1 has."""
    four = Grouped(nodes=4, groups=2, spares=0)
    demotions = [(1, admin.Demote("K2")), (1, admin.Demote("K4"))]
    for group, command in [*demotions, (0, admin.Remove("K1", force=True))]:
        four.answers.clear()
        four.host(four.leader_of(group)).groups[group].membership.do(command, four.answers.append)
        assert four.run(20, lambda: four.answers == ["OK"])
    assert four.voters() == [{"K2", "K3", "K4"}, {"K1", "K3"}]
    node = four.nodes["K3"]
    node.crash()
    node.config = dataclasses.replace(node.config, peer=PeerConfig(advertise=address_of(3, 1)))
    four.network.block([("K3", "K1"), ("K1", "K3")])
    node.start()
    four.run(5)
    four.network.unblock([("K3", "K1"), ("K1", "K3")])
    assert four.run(20, lambda: bool(four.leaders(1)))


def test_a_leader_that_group_0_has_replaced_gives_way_so_that_the_other_groups_can(trio):
    """K4, which is in group 0 alone, knows K2 as a former member, and refuses its greeting for good."""
    if trio.leader_of(1) != "K2":
        assert trio.order("K1", admin.TransferLeadership("K2", group=1)) == "K2"
    address = trio.stand_by("K4")
    host = trio.host(trio.leader_of(0))
    replace = admin.Replace("K2", "K4", address, force=True)
    host.groups[0].membership.do(replace, trio.answers.append)
    assert trio.run(30, lambda: "OK" in trio.answers)
    assert trio.run(10, lambda: trio.leaders(1) in (["K1"], ["K3"]))
    assert trio.order("K1", replace) == "OK"
    assert trio.run(40, lambda: trio.voters() == [{"K1", "K3", "K4"}] * GROUPS)


def test_a_node_that_leads_a_group_which_has_taken_it_back_is_taken_back_by_the_others(trio):
    """The leader of group 0 is the node that the repeated command names: it would dial itself."""
    node = trio.nodes["K1"]
    node.crash()
    node.wipe()
    address = trio.stand_by("K1")
    assert trio.run(20, trio.led)
    replace = admin.Replace("K1", "K1", address)
    trio.host(trio.leader_of(0)).groups[0].membership.do(replace, trio.answers.append)
    assert trio.run(30, lambda: "OK" in trio.answers and trio.leaders(0) == ["K1"])
    assert trio.order("K2", replace) == "OK"
    assert trio.run(40, lambda: trio.voters() == [{"K1", "K2", "K3"}] * GROUPS)


def test_leadership_of_one_group_or_of_all_is_transferred(trio):
    assert trio.run(40, lambda: spread(trio) == ["K1", "K2", "K3"])
    assert trio.order("K1", admin.TransferLeadership("K3", group=1)) == "K3"
    assert [trio.leader_of(group) for group in range(GROUPS)] == ["K1", "K3", "K3"]
    assert trio.order("K1", admin.TransferLeadership("K2")) == "K2"
    assert [trio.leader_of(group) for group in range(GROUPS)] == ["K2"] * GROUPS
    refused = trio.order("K1", admin.TransferLeadership("K2", group=7))
    assert str(refused) == "there is no group 7: the groups are 0 to 2"


def test_verify_and_snapshot_look_at_all_groups(trio):
    rows = trio.order("K2", admin.Verify())
    assert {(row["group"], row["node"], row["state"]) for row in rows} == {
        (group, f"K{n}", "equal") for group in range(GROUPS) for n in (1, 2, 3)
    }
    assert len(trio.order("K3", admin.TakeSnapshot())) == GROUPS


def spread(trio):
    """The leader of each group, '' for none."""
    return [(trio.leaders(group) or [""])[0] for group in range(GROUPS)]


def test_leaders_spread_over_the_nodes_and_stay_there(trio):
    assert trio.run(60, lambda: spread(trio) == ["K1", "K2", "K3"])
    elected = trio.world.counts["leader elected"]
    trio.run(60)
    assert spread(trio) == ["K1", "K2", "K3"]
    assert trio.world.counts["leader elected"] == elected, "no leadership moves without need"


def test_a_node_that_comes_back_gets_its_groups_back_after_a_while(trio):
    assert trio.run(60, lambda: spread(trio) == ["K1", "K2", "K3"])
    trio.nodes["K2"].crash()
    assert trio.run(20, lambda: spread(trio)[1] in ("K1", "K3"))
    trio.nodes["K2"].start()
    trio.run(9)
    assert spread(trio)[1] in ("K1", "K3"), "it has to be well for 10 s"
    assert trio.run(20, lambda: spread(trio) == ["K1", "K2", "K3"])


def test_a_drained_node_gets_no_group(trio):
    assert trio.run(60, lambda: spread(trio) == ["K1", "K2", "K3"])
    trio.run(0.5)  # the last one to lead knows its followers
    assert trio.order("K2", admin.Drain(True)) == "OK"
    trio.run(40)
    assert spread(trio)[1] in ("K1", "K3")
    assert trio.order("K2", admin.Drain(False)) == "OK"
    assert trio.run(40, lambda: spread(trio) == ["K1", "K2", "K3"])


def test_one_group_stays_where_it_is():
    cluster = Grouped(groups=1, spares=0)
    for _ in range(3):
        other = next(id_ for id_ in ("K1", "K2", "K3") if id_ not in cluster.leaders())
        assert cluster.order(other, admin.TransferLeadership(other)) == other
        cluster.run(30)
        assert cluster.leaders() == [other]


def test_a_founder_with_another_number_keeps_the_cluster_from_forming_until_it_is_corrected():
    cluster = SimulatedCluster(World(1), Weather(), 3, GROUPS, 0, Tuning())
    cluster.start()
    node = cluster.nodes["K2"]
    right = node.config
    node.crash()
    members = right.cluster.members
    node.config = type(right)(right.node, ClusterConfig(members, groups=2), right.peer, right.client)
    node.start()
    cluster.run(10)
    assert not cluster.formed
    node.crash()
    node.config = right
    node.start()
    assert cluster.run(20, lambda: cluster.formed)


def test_an_administrator_hears_soon_of_a_leader_that_is_lost():
    """It hangs, so its links stay open. What it was to do may have been done."""
    trio = Grouped(groups=1)
    leader = trio.leader_of(0)
    asked, other = sorted({"K1", "K2", "K3"} - {leader})
    trio.give(asked, admin.Demote(other))
    trio.pause(leader)
    assert trio.run(3, lambda: bool(trio.answers))
    assert isinstance(trio.answers[0], Uncertain)


def test_a_rehearsal_goes_on_with_the_next_leader(trio):
    address = trio.stand_by("K4")
    assert trio.run(60, lambda: spread(trio) == ["K1", "K2", "K3"])
    trio.give("K1", admin.Add("K4", address, learner=True))
    trio.pause("K2")
    assert trio.run(5, lambda: bool(trio.answers))
    assert trio.answers == ["OK"]
    assert all("K4" in trio.members_of(group) for group in range(GROUPS))
