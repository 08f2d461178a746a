"""The machine version of a cluster: raised when every member supports it, and what is refused until then."""

from dataclasses import replace
from typing import Any

import pytest

from kraft.kv.commands import Put, SetRange
from kraft.kv.versions import MACHINE_VERSION, MACHINE_VERSION_MIN
from kraft.node import admin
from kraft.node.errors import AdminRefused, VersionTooLow
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import NOT_PROPOSED, Forward, ForwardReply
from kraft.raft.messages import EntryKind
from tests.simulation.cluster import SimulatedCluster, Tuning
from tests.simulation.network import Weather
from tests.simulation.world import World

UNKNOWN = b"\x01\x91\x92\x7f\xc4\x01a"  # a batch of one command that no version has yet


class Mixed(SimulatedCluster):
    """Nodes of which `old` run a program of the first machine version."""

    def __init__(self, *old, nodes=3, groups=1, spares=0):
        tuning = Tuning(checkpoint_entries=5, keep_entries=0)
        super().__init__(World(1), Weather(), nodes, groups, spares, tuning)
        for id_ in old:
            self.nodes[id_].machine_version = MACHINE_VERSION_MIN
        self.answers = []
        self.start()
        assert self.run(10, self.ready)

    def ready(self):
        hosts = [p.host for p in self.processes()]
        known = all(len(h.groups) == self.group_count and h.leader(0) for h in hosts)
        return known and any(h.groups[0].raft.state.leads_with_commit for h in hosts)

    def host(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        return process.host

    def versions(self, group=0):
        return {p.host.groups[group].state.machine.version for p in self.processes() if p.host.groups}

    def raised(self):
        there = all(len(p.host.groups) == self.group_count for p in self.processes())
        return there and all(self.versions(group) == {MACHINE_VERSION} for group in range(self.group_count))

    @property
    def leader(self):
        [leader] = self.leaders()
        return leader

    def ask(self, id_, *commands):
        """The outcome of a write through a node."""
        self.answers.clear()
        self.host(id_).write(0, list(commands), 20, self.answers.append)
        assert self.answers == []
        assert self.run(10, lambda: bool(self.answers))
        return self.answers[0]

    def order(self, command):
        """The outcome of an administrator's command."""
        self.answers.clear()
        self.host(self.leader).admin(command, self.answers.append)
        assert self.run(30, lambda: bool(self.answers))
        return self.answers[0]

    def restart(self, id_, version):
        self.nodes[id_].crash()
        self.nodes[id_].machine_version = version
        self.nodes[id_].start()


@pytest.mark.parametrize("groups", [1, 2])
def test_members_of_one_program_raise_the_version_at_once(groups):
    """Every group with an entry of its own: a group's state says what its log may hold."""
    cluster = Mixed(groups=groups)
    assert cluster.run(3, cluster.raised)
    for group in range(groups):
        kinds = [e.kind for e in cluster.checks.committed[group].entries]
        assert kinds.count(EntryKind.VERSION) == 1


def test_a_command_of_a_later_version_is_refused_until_the_last_node_supports_it():
    """On whatever node, by name of those to upgrade, and with no effect; then it works without a restart."""
    cluster = Mixed("K3")
    cluster.run(5)
    assert cluster.versions() == {1}
    for id_ in cluster.nodes:
        refused = cluster.ask(id_, SetRange(b"k", 0, b"v"))
        assert isinstance(refused, VersionTooLow)
        assert str(refused) == "needs machine version 2, but version 1 is in force: upgrade K3"
        assert cluster.ask(id_, Put(b"k", b"v")) == ["OK"]

    cluster.restart("K3", MACHINE_VERSION)

    assert cluster.run(10, cluster.raised)
    for id_ in cluster.nodes:
        assert cluster.ask(id_, SetRange(b"k", 1, b"w")) == [2]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_command_in_the_first_moments_of_a_cluster_waits_for_the_raise(groups):
    """On whatever node, as every member supports it; and what follows it keeps its order."""
    cluster = Mixed(groups=groups)
    last = groups - 1
    assert cluster.versions(last) == {1}
    for id_ in cluster.nodes:
        assert cluster.host(id_).version_obstacle(last, 2) == ""
        cluster.host(id_).write(
            last, [Put(id_.encode(), b"v"), SetRange(id_.encode(), 1, b"w")], 20, cluster.answers.append
        )
    assert cluster.run(2, lambda: len(cluster.answers) == 3)
    assert cluster.answers == [["OK", 2]] * 3


def test_a_command_waits_for_a_raise_for_a_while_only():
    cluster = Mixed()
    for process in cluster.processes():
        process.disk.hangs = True
    began = cluster.world.now
    refused = cluster.ask("K1", SetRange(b"k", 0, b"v"))
    assert cluster.world.now - began == pytest.approx(2.0, abs=0.1)  # client.leader_wait
    assert isinstance(refused, VersionTooLow)
    assert str(refused).endswith("the leader is about to raise it, try again")
    assert cluster.versions() == {1}


def test_a_node_that_stops_refuses_what_waits_for_a_raise():
    cluster = Mixed()
    host = cluster.host("K1")
    host.write(0, [SetRange(b"k", 0, b"v")], 20, cluster.answers.append)
    host.abandon()
    assert isinstance(cluster.answers[0], VersionTooLow)


def test_a_member_that_is_away_holds_the_raise_back():
    """It may come back as an older program."""
    cluster = Mixed("K3")
    cluster.run(3)
    cluster.nodes["K3"].crash()
    cluster.run(10)
    assert cluster.versions() == {1}
    refused = cluster.ask(cluster.leader, SetRange(b"k", 0, b"v"))
    assert str(refused).endswith("in force: connect K3")


def test_a_learner_counts():
    """It applies the same log."""
    cluster = Mixed("K3", "K4", spares=1)
    cluster.nodes["K4"].start()
    assert cluster.order(admin.Add("K4", cluster.nodes["K4"].address, learner=True)) == "OK"
    cluster.restart("K3", MACHINE_VERSION)
    cluster.run(10)
    assert cluster.versions() == {1}

    cluster.restart("K4", MACHINE_VERSION)

    assert cluster.run(10, cluster.raised)


def test_a_node_may_go_back_until_the_version_is_raised():
    cluster = Mixed("K3")
    cluster.run(3)
    cluster.restart("K1", MACHINE_VERSION_MIN)
    cluster.run(5)
    cluster.restart("K3", MACHINE_VERSION)
    cluster.run(10)
    assert cluster.versions() == {1}
    assert cluster.world.counts["program too old"] == 0


def test_after_the_raise_an_older_program_ends_in_one_line(monkeypatch):
    """It finds the version in its own directory, in a checkpoint or in the log."""
    cluster = Mixed()
    assert cluster.run(3, cluster.raised)
    said = []
    node = cluster.nodes["K2"]
    monkeypatch.setattr(node, "fatal", lambda reason, *, outdated=False: said.append((reason, outdated)))
    cluster.restart("K2", MACHINE_VERSION_MIN)
    cluster.run(1)
    assert said[0][1]
    assert said[0][0].endswith(
        f"K2 supports machine version 1, but version {MACHINE_VERSION} is in force in the cluster: "
        "install a newer kraft on K2"
    )
    node.crash()
    cluster.restart("K2", MACHINE_VERSION)
    assert cluster.run(10, cluster.raised)


def test_an_older_program_cannot_be_added_after_the_raise(monkeypatch):
    """It refuses to join in one line, and the administrator hears why."""
    cluster = Mixed("K4", spares=1)
    assert cluster.run(3, cluster.raised)
    said = []
    monkeypatch.setattr(cluster.nodes["K4"], "fatal", lambda reason, *, outdated=False: said.append(reason))
    cluster.nodes["K4"].start()

    refused = cluster.order(admin.Add("K4", cluster.nodes["K4"].address))

    assert isinstance(refused, AdminRefused)
    assert "install a newer kraft on K4" in str(refused)
    assert said[0].startswith(f"K4 supports machine version 1, but version {MACHINE_VERSION} is in force")


def test_the_version_survives_restarts_and_comes_with_a_snapshot():
    """By log, by checkpoint, and by the copy that a new member gets."""
    cluster = Mixed(spares=1)
    assert cluster.run(3, cluster.raised)
    for number in range(20):
        cluster.ask("K1", Put(b"%d" % number, b"v"))
    cluster.run(3)
    cluster.nodes["K4"].start()
    assert cluster.order(admin.Add("K4", cluster.nodes["K4"].address)) == "OK"
    assert cluster.run(20, lambda: cluster.raised() and len(cluster.processes()) == 4)
    assert cluster.world.counts["snapshot receive done"]
    for id_ in ("K1", "K2", "K3", "K4"):
        cluster.restart(id_, MACHINE_VERSION)
    assert cluster.run(10, cluster.raised)
    assert cluster.checks.committed[0].version == MACHINE_VERSION


@pytest.mark.parametrize(
    ("commands", "old"), [(UNKNOWN, False), (b"\x02", False), (None, True)], ids=["tag", "format", "early"]
)
def test_a_forwarded_command_that_the_leader_cannot_take_is_given_back(monkeypatch, commands, old):
    """Neither a lost link nor an uncertain write: the sender knows that nothing was proposed."""
    cluster = Mixed("K3") if old else Mixed()
    cluster.run(3)
    data = commands or b"\x01\x91\x94\x0a\xc4\x01k\x00\xc4\x01v"
    leader = cluster.leader
    sender = next(id_ for id_ in cluster.nodes if id_ != leader)
    sent: list[Any] = []
    checked = cluster.checks.sent

    def note(process, peer, messages):
        sent.extend(messages)
        checked(process, peer, messages)

    monkeypatch.setattr(cluster.checks, "sent", note)

    cluster.host(leader).peer_receiver.received(sender, [(0, Forward(7, 1000, data))])

    assert (0, ForwardReply(7, NOT_PROPOSED, b"")) in sent
    assert cluster.nodes[leader].failures == []


def test_the_leader_refuses_older_nodes_from_the_moment_when_it_logs_the_raise():
    """A node that went back in that very moment would be sent what it does not know."""
    cluster = Mixed("K3")
    cluster.run(3)
    cluster.restart("K3", MACHINE_VERSION)
    own = [p.host.peers.formation.version for p in cluster.processes()]
    assert cluster.run(10, lambda: any(version.raising for version in own))
    [version] = [version for version in own if version.raising]
    assert version.in_force == 1
    assert version.objection(Hello("K2", "", machine_max=MACHINE_VERSION)) is None
    assert "install a newer kraft on K2" in (version.objection(Hello("K2", "", machine_max=1)) or "")
    assert cluster.run(10, cluster.raised)
    assert not any(version.raising for version in own)


def test_an_operator_may_hold_the_raise_back():
    """One node that announces less is enough; without the key it announces all, and the version is raised."""
    cluster = Mixed("K1", "K2", "K3")
    node = cluster.nodes["K2"]
    free = node.config
    node.config = replace(free, cluster=replace(free.cluster, machine_version_max=1))
    for id_ in cluster.nodes:
        cluster.restart(id_, MACHINE_VERSION)
        cluster.run(2)
    cluster.run(5)
    assert cluster.versions() == {1}
    assert str(cluster.ask("K1", SetRange(b"k", 0, b"v"))).endswith("in force: upgrade K2")

    node.config = free
    cluster.restart("K2", MACHINE_VERSION)

    assert cluster.run(10, cluster.raised)


def test_the_status_says_what_is_in_force_and_what_each_member_supports():
    cluster = Mixed("K3")
    cluster.run(3)
    status = cluster.host("K1").status()
    assert (status.machine_version, status.machine_version_supported) == (1, MACHINE_VERSION)
    assert {m.id: m.machine_version for m in status.members} == {
        "K1": MACHINE_VERSION,
        "K2": MACHINE_VERSION,
        "K3": 1,
    }
    assert cluster.host("K3").status().machine_version_supported == 1
    cluster.nodes["K3"].crash()
    cluster.run(3)
    assert {m.id: m.machine_version for m in cluster.host("K1").status().members}["K3"] == 0
    cluster.nodes["K3"].machine_version = MACHINE_VERSION
    cluster.nodes["K3"].start()
    assert cluster.run(10, cluster.raised)
    assert cluster.host("K1").status().machine_version == MACHINE_VERSION
