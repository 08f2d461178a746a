"""Groups that are created while the cluster runs, on the simulator's clock, disks and network."""

import pytest

from kraft.kv import commands as kv
from kraft.kv.slots import slot_of
from kraft.kv.versions import MACHINE_VERSION
from kraft.node import admin
from kraft.node.errors import AdminRefused, NoLeader
from kraft.peerwire.codec import GROUPS_MAX
from kraft.peerwire.messages import Admin, AdminReply
from kraft.raft.membership.configuration import decode
from tests.simulation.cluster import LEADER_WAIT_SECONDS, SimulatedCluster, Tuning
from tests.simulation.network import Weather
from tests.simulation.world import World

MEMBERS = ["K1", "K2", "K3"]


class Growing(SimulatedCluster):
    """Three members with one group, and machines in reserve. All commands of a `version` are in force."""

    version = MACHINE_VERSION

    def __init__(self, groups=1, nodes=3, disks="plain", spares=2):
        super().__init__(World(1), Weather(), nodes, groups, spares=spares, tuning=Tuning(), disks=disks)
        self.answers = []
        self.start()
        assert self.run(20, self.in_force)

    def in_force(self):
        hosts = [p.host for p in self.processes()]
        groups = [group for host in hosts for group in host.groups.values()]
        led = all(host.leader(0) for host in hosts)
        return led and all(group.state.machine.version == self.version for group in groups)

    def host(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        return process.host

    @property
    def leader(self):
        [leader] = self.leaders()
        return leader

    @property
    def follower(self):
        return next(id_ for id_ in MEMBERS if id_ != self.leader)

    def give(self, id_, command):
        """Give a node an administrator's command, and do not wait."""
        self.answers.clear()
        self.host(id_).admin(command, self.answers.append)

    def order(self, id_, command):
        """The outcome of an administrator's command."""
        self.give(id_, command)
        assert self.run(40, lambda: bool(self.answers))
        return self.answers[0]

    def create(self, groups, id_="K1"):
        return self.order(id_, admin.CreateGroups(groups))

    def has(self, groups, *ids):
        """Whether these nodes, or all that run, have so many groups, and know a leader of each."""
        hosts = [self.host(id_) for id_ in ids] if ids else [p.host for p in self.processes()]
        return all(
            len(host.groups) == host.slots.groups == groups and all(map(host.leader, host.groups))
            for host in hosts
        )

    def write(self, group, *commands, node="K1"):
        answers: list[object] = []
        self.host(node).write(group, list(commands), 20, answers.append)
        assert self.run(20, lambda: bool(answers))
        return answers[0]

    def members_of(self, group):
        return [member.id for member in self.checks.committed[group].configuration.members]

    def stand_by(self, id_):
        node = self.nodes[id_]
        node.stand_by()
        node.start()
        return node.address


@pytest.fixture
def cluster():
    return Growing()


@pytest.mark.parametrize("asked", ["leader", "follower"])
@pytest.mark.parametrize("disks", ["plain", "real"])
def test_one_group_becomes_three(disks, asked):
    cluster = Growing(disks=disks)
    before = cluster.host("K1").peers.hello()
    assert cluster.create(3, getattr(cluster, asked)) == 3
    assert cluster.run(20, lambda: cluster.has(3))
    after = cluster.host("K1").peers.hello()
    assert (before.cluster, before.groups) == (after.cluster, after.groups)
    assert [cluster.members_of(group) for group in range(3)] == [MEMBERS] * 3
    for group in range(3):
        assert cluster.write(group, kv.Increment(b"n", 1), node="K2") == [1]


def test_a_node_stays_ready_while_a_new_group_has_no_leader(cluster):
    """Nobody asks anything of a group without slots."""
    states: set[str] = set()
    cluster.give("K1", admin.CreateGroups(3))

    def led():
        states.update(p.host.status().state for p in cluster.processes())
        return cluster.has(3)

    assert cluster.run(20, led)
    assert states == {"serving"}


def test_a_created_group_that_gets_no_leader_is_told_after_a_while(cluster):
    """Else the node would say for ever that it is ready."""
    leader = cluster.leader
    host = cluster.host(leader)
    cluster.give(leader, admin.CreateGroups(3))
    assert cluster.run(20, lambda: host.slots.groups == 3)
    for id_ in MEMBERS:
        cluster.nodes[id_].medium.full = id_ != leader  # these cannot begin the groups
    assert cluster.run(20, lambda: len(host.groups) == 3)
    cluster.run(1)
    assert host.status().state == "serving"
    assert cluster.run(20, lambda: host.status().state == "leaderless")
    assert "no leader is known for groups 1 and 2" in host.status().problem
    for id_ in MEMBERS:
        cluster.nodes[id_].medium.full = False
    assert cluster.run(20, lambda: cluster.has(3) and host.status().state == "serving")


def test_groups_that_are_created_later_do_not_end_the_time_of_those_before(cluster):
    """Groups 1 and 2 get no leader for now."""

    def drained(groups):
        for process in cluster.processes():
            for id_ in (1, 2):
                if id_ in process.host.groups:
                    process.host.groups[id_].drain(True)
        return all(len(process.host.groups) == groups for process in cluster.processes())

    host = cluster.host(cluster.leader)
    cluster.give(cluster.leader, admin.CreateGroups(3))
    assert cluster.run(20, lambda: drained(3))
    assert not any(host.groups[id_].raft.state.leader for id_ in (1, 2))
    cluster.give(cluster.leader, admin.CreateGroups(4))
    assert cluster.run(2, lambda: drained(4))
    assert host.status().state == "serving"
    assert cluster.run(20, lambda: host.status().state == "leaderless")
    assert "no leader is known for groups 1 and 2" in host.status().problem


def test_a_created_group_owns_no_slot(cluster):
    cluster.create(3)
    assert cluster.run(20, lambda: cluster.has(3))
    slots = cluster.host("K2").slots
    assert (slots.founded, slots.groups) == (1, 3)
    assert slots.ranges() == [(0, 16383, 0)]
    assert [slots.share(group) for group in range(3)] == [(0, 16383), (0, -1), (0, -1)]
    cluster.nodes["K2"].crash()
    cluster.nodes["K2"].start()
    assert cluster.run(20, lambda: cluster.has(3))
    assert cluster.host("K2").slots.ranges() == [(0, 16383, 0)]


def test_nothing_is_written_before_a_group_is_created(cluster):
    ledger = cluster.host("K1").groups[0].state.machine.keyspace.ledger
    assert not ledger.rows
    assert list(cluster.nodes["K1"].durable.groups) == [0]


@pytest.mark.parametrize(
    "command",
    [admin.Drain(True), admin.Compact(), admin.CloseImage(1), admin.SplitGroup(0), admin.CancelMove(1)],
)
def test_a_command_for_the_node_that_is_asked_is_refused_from_another_node(cluster, command, monkeypatch):
    """No program sends it; a leader must neither do it nor stop."""
    answers: list[AdminReply] = []
    follower, leader = cluster.host(cluster.follower), cluster.host(cluster.leader)
    monkeypatch.setattr(follower._admin, "answered", lambda _, message: answers.append(message))
    leader.peer_receiver.received(follower.id, [(0, Admin(1, 1000, admin.encode(command)))])
    assert cluster.run(5, lambda: bool(answers))
    assert answers[0].refused
    assert not leader.groups[0].drained


def test_the_same_command_again_creates_nothing(cluster):
    assert cluster.create(3) == 3
    assert cluster.create(3, "K2") == 3
    assert cluster.create(2) == 3
    assert cluster.run(20, lambda: cluster.has(3))
    assert cluster.create(4) == 4
    assert cluster.run(20, lambda: cluster.has(4))


def test_a_cluster_of_several_groups_gets_more():
    cluster = Growing(groups=2)
    assert cluster.create(4) == 4
    assert cluster.run(20, lambda: cluster.has(4))
    assert cluster.host("K1").slots.ranges() == [(0, 8191, 0), (8192, 16383, 1)]


def test_more_groups_than_are_supported_are_refused(cluster):
    refused = cluster.create(GROUPS_MAX + 1)
    assert isinstance(refused, AdminRefused)
    assert str(refused) == f"a cluster has at most {GROUPS_MAX} groups"


def test_groups_are_created_only_when_all_members_know_how():
    cluster = SimulatedCluster(World(1), Weather())
    cluster.nodes["K3"].machine_version = kv.AddGroups.since - 1
    cluster.start()
    assert cluster.run(20, lambda: len(cluster.leaders()) == 1)
    cluster.run(10)
    answers: list[object] = []
    process = cluster.nodes[cluster.leaders()[0]].process
    assert process is not None
    process.host.admin(admin.CreateGroups(2), answers.append)
    assert cluster.run(20, lambda: bool(answers))
    assert isinstance(answers[0], AdminRefused)
    assert f"groups can be created from machine version {kv.AddGroups.since} on" in str(answers[0])


def test_no_group_is_created_while_the_groups_have_different_members():
    cluster = Growing(groups=2)
    address = cluster.stand_by("K4")
    cluster.host(cluster.leader).groups[0].membership.do(admin.Add("K4", address), cluster.answers.append)
    assert cluster.run(20, lambda: cluster.answers == ["OK"])
    refused = cluster.create(3)
    assert isinstance(refused, AdminRefused)
    assert "a change of the members is under way, or has not reached all groups" in str(refused)
    assert cluster.order("K1", admin.Add("K4", address)) == "OK"
    assert cluster.run(40, lambda: isinstance(cluster.create(3), int))
    assert cluster.run(30, lambda: cluster.has(3))


def test_a_node_that_was_down_begins_with_the_same_entry(cluster):
    cluster.nodes["K3"].crash()
    cluster.run(3)
    assert cluster.create(3) == 3
    assert cluster.run(20, lambda: cluster.has(3))
    cluster.nodes["K3"].start()
    assert cluster.run(20, lambda: cluster.has(3))
    first = {
        node.durable.groups[2].entries[0].data for node in cluster.nodes.values() if 2 in node.durable.groups
    }
    assert len(first) == 1


def test_a_node_that_was_down_learns_of_groups_by_a_snapshot(cluster):
    cluster.nodes["K3"].crash()
    cluster.run(3)
    assert cluster.create(3) == 3
    for number in range(120):  # until checkpoints have cut the log
        cluster.write(0, kv.Put(b"k%d" % number, b"v" * 200))
    assert cluster.run(20, lambda: cluster.host("K1").groups[0].raft.state.log.base.index > 20)
    cluster.nodes["K3"].start()
    assert cluster.run(40, lambda: cluster.has(3))


def test_a_node_that_is_added_later_has_all_groups(cluster):
    assert cluster.create(3) == 3
    address = cluster.stand_by("K4")
    assert cluster.order("K2", admin.Add("K4", address)) == "OK"
    assert cluster.run(40, lambda: cluster.has(3))
    assert all("K4" in cluster.members_of(group) for group in range(3))
    voters = lambda group: cluster.checks.committed[group].configuration.voters  # noqa: E731
    assert cluster.run(40, lambda: all("K4" in voters(group) for group in range(3)))


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05, 0.1, 0.3])
def test_a_member_that_is_added_meanwhile_is_in_every_group(cluster, delay):
    address = cluster.stand_by("K4")
    added: list[object] = []
    cluster.host("K2").admin(admin.Add("K4", address), added.append)
    cluster.run(delay)
    for _ in range(20):
        if isinstance(cluster.create(3), int):
            break
        cluster.run(1)
    assert cluster.run(40, lambda: bool(added))
    assert added == ["OK"]
    assert cluster.run(40, lambda: cluster.has(3))
    assert cluster.run(40, lambda: all("K4" in cluster.members_of(group) for group in range(3)))


def test_a_member_that_is_added_at_a_node_that_does_not_know_the_groups_is_in_every_group(cluster):
    """The node has not applied the creation of the groups when group 0 has the new member."""
    follower = cluster.follower
    cluster.nodes[follower].medium.full = True
    assert cluster.create(3, cluster.leader) == 3
    address = cluster.stand_by("K4")
    added: list[object] = []
    cluster.host(follower).admin(admin.Add("K4", address), added.append)
    assert cluster.run(20, lambda: "K4" in cluster.members_of(0))
    assert len(cluster.host(follower).groups) == 1
    cluster.run(1)
    assert not added
    cluster.nodes[follower].medium.full = False
    assert cluster.run(40, lambda: bool(added))
    assert added == ["OK"]
    assert all("K4" in cluster.members_of(group) for group in range(3))


@pytest.mark.parametrize("leaver", ["leader", "follower"])
def test_a_node_that_removes_itself_is_told_that_it_is_done(cluster, leaver):
    """It cannot ask anybody afterwards."""
    assert cluster.create(3, cluster.leader) == 3
    assert cluster.run(20, lambda: cluster.has(3))
    leaver = getattr(cluster, leaver)
    assert cluster.order(leaver, admin.Remove(leaver)) == "OK"
    assert all(leaver not in cluster.members_of(group) for group in range(3))


def test_a_member_that_lost_its_data_is_replaced_in_created_groups_too(cluster):
    assert cluster.create(3) == 3
    assert cluster.run(20, lambda: cluster.has(3))
    node = cluster.nodes["K3"]
    node.crash()
    node.wipe()
    node.lost = True
    address = cluster.stand_by("K3")
    assert cluster.order("K1", admin.Replace("K3", "K3", address)) == "OK"
    assert cluster.run(60, lambda: cluster.has(3))
    incarnation = node.durable.identity.incarnation
    assert all(
        incarnation in [member.incarnation for member in self_.members]
        for self_ in (cluster.checks.committed[group].configuration for group in range(3))
    )


@pytest.mark.parametrize("victim", ["leader", "follower", "all"])
@pytest.mark.parametrize("delay", [0.0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03])
@pytest.mark.parametrize("disks", ["plain", "real"])
def test_a_crash_at_any_moment_leaves_no_half_made_group(disks, delay, victim):
    """Identity and first entries are one transaction, so a node has all of the groups or none."""
    cluster = Growing(disks=disks)
    cluster.give("K1", admin.CreateGroups(3))
    cluster.run(delay)
    ids = MEMBERS if victim == "all" else [getattr(cluster, victim)]
    for id_ in ids:
        cluster.nodes[id_].crash()
    cluster.run(0.5)
    for id_ in ids:
        cluster.nodes[id_].start()
    assert cluster.run(20, lambda: all(p.host.groups and p.host.leader(0) for p in cluster.processes()))
    assert cluster.run(40, lambda: cluster.create(3) == 3)
    assert cluster.run(40, lambda: cluster.has(3))


def test_a_full_disk_delays_the_groups_of_its_node_alone(cluster):
    follower = cluster.follower
    cluster.nodes[follower].medium.full = True
    assert cluster.create(3, cluster.leader) == 3
    assert cluster.run(20, lambda: cluster.has(3, *(id_ for id_ in MEMBERS if id_ != follower)))
    assert len(cluster.host(follower).groups) == 1
    cluster.nodes[follower].medium.full = False
    assert cluster.run(20, lambda: cluster.has(3))


def test_a_drained_node_leads_no_created_group(cluster):
    assert cluster.order("K1", admin.Drain(True)) == "OK"
    assert cluster.create(4, "K2") == 4
    assert cluster.run(20, lambda: cluster.has(4))
    cluster.run(20)
    assert all("K1" not in cluster.leaders(group) for group in range(4))


def test_a_command_in_the_first_moments_of_a_group_waits_though_a_member_is_down(cluster):
    """The cluster has the version that the command needs, and the group follows."""
    away = next(id_ for id_ in MEMBERS if id_ not in (cluster.leader, "K1"))
    cluster.nodes[away].crash()
    cluster.give("K1", admin.CreateGroups(3))
    assert cluster.run(20, lambda: 2 in cluster.host("K1").groups)
    assert cluster.host("K1").groups[2].state.machine.version == 1
    assert cluster.host("K1").version_obstacle(2, kv.SetRange.since) == ""
    assert cluster.write(2, kv.Put(b"k", b"v"), kv.SetRange(b"k", 1, b"w")) == ["OK", 2]


def test_a_command_waits_for_the_version_of_a_new_group_for_a_while_only(cluster):
    """No member holds it back: so it is refused as in a group that has no leader."""
    cluster.give("K1", admin.CreateGroups(3))
    assert cluster.run(20, lambda: 2 in cluster.host("K1").groups)
    for process in cluster.processes():
        process.disk.hangs = True
    began = cluster.world.now
    assert isinstance(cluster.write(2, kv.SetRange(b"k", 0, b"v")), NoLeader)
    assert cluster.world.now - began == pytest.approx(LEADER_WAIT_SECONDS, abs=0.1)


def test_leaders_of_created_groups_spread_over_the_nodes(cluster):
    assert cluster.create(3) == 3
    assert cluster.run(60, lambda: [cluster.leaders(group) for group in range(3)] == [["K1"], ["K2"], ["K3"]])


def test_a_slot_moves_into_a_created_group_and_no_increment_is_lost(cluster):
    key = b"{a}1"
    assert cluster.write(0, kv.Increment(key, 1)) == [1]
    assert cluster.create(2) == 2
    assert cluster.run(20, lambda: cluster.has(2))
    cluster.host("K1").moves.plan(slot_of(key), slot_of(key), 1, cluster.answers.append)
    assert cluster.run(20, lambda: all(p.host.slots.version == 1 for p in cluster.processes()))
    assert cluster.host("K3").slots.group_of(slot_of(key)) == 1
    assert cluster.write(1, kv.Increment(key, 1), node="K3") == [2]


def test_the_group_begins_with_the_members_of_group_0(cluster):
    assert cluster.order("K1", admin.Demote("K3" if cluster.leader != "K3" else "K2")) == "OK"
    assert cluster.create(2, cluster.leader) == 2
    assert cluster.run(20, lambda: cluster.has(2))
    [first] = {decode(node.durable.groups[1].entries[0].data) for node in cluster.nodes.values()
               if 1 in node.durable.groups}  # fmt: skip
    assert first == cluster.checks.committed[0].configuration
