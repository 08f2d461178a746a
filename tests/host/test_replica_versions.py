"""Replicas with numbers wait until every member runs a program that knows of them (machine version 8)."""

from kraft.kv.versions import MACHINE_VERSION, REPLICA_NUMBERS
from kraft.node import admin
from kraft.raft.membership.replica_number import UNNUMBERED
from tests.host.scattered import Scattered

OLD = "K3"


class Mixed(Scattered):
    """K3 runs a program of the version before; K4 is about to leave group 1, and to come back to it."""

    def __init__(self):
        super().__init__(absent=())

    def start(self):
        self.nodes[OLD].machine_version = REPLICA_NUMBERS - 1
        super().start()

    def raised(self):
        """Whether the version that all members know is in force, as the leaders and all nodes know."""
        wanted = min(node.machine_version for node in self.nodes.values())
        led = [g for p in self.processes() for g in p.host.groups.values() if g.raft.state.leads]
        hosts = [process.host for process in self.processes()]
        known = all(host.peers.formation.version.in_force == wanted for host in hosts)
        return known and all(group.state.machine.version == wanted for group in led)

    def place(self, node, group):
        """The outcome of giving a node a replica."""
        leader = self.host(self.leader_of(group))
        before = leader.groups[group].raft.state.configuration.voters
        done: list[object] = []
        leader._admin.ask(group, admin.PlaceReplica(group, before, node, ""), done.append)
        assert self.run(40, lambda: bool(done))
        return done[0]

    def upgrade(self):
        node = self.nodes[OLD]
        node.crash()
        node.machine_version = MACHINE_VERSION
        node.start()
        assert self.run(30, self.led)
        assert self.run(60, self.raised)


def test_no_replica_gets_a_number_while_a_member_would_not_know_it():
    cluster = Mixed()
    cluster._drop("K4", 1)
    refused = cluster.place("K4", 1)
    assert isinstance(refused, Exception)
    assert "later machine version" in str(refused)
    members = cluster.checks.committed[1].configuration.members
    assert all(member.number == UNNUMBERED for member in members)
    cluster.upgrade()
    assert cluster.place("K4", 1) == "OK"
    assert cluster.run(30, lambda: "K4" in cluster.checks.committed[1].configuration.voters)
    [mine] = [m for m in cluster.checks.committed[1].configuration.members if m.id == "K4"]
    assert mine.number > UNNUMBERED
    assert cluster.run(20, lambda: cluster.host("K4").groups[1].numbers.own == mine.number)


def test_a_replica_with_a_number_outlasts_the_restart_of_every_node():
    cluster = Mixed()
    cluster._drop("K4", 1)
    cluster.upgrade()
    assert cluster.place("K4", 1) == "OK"
    assert cluster.run(30, lambda: "K4" in cluster.checks.committed[1].configuration.voters)
    for id_ in tuple(cluster.nodes):
        cluster.nodes[id_].crash()
        cluster.nodes[id_].start()
        assert cluster.run(30, cluster.led)
    assert cluster.host("K4").groups[1].numbers.own > UNNUMBERED
