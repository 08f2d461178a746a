"""A cluster in which the node K4 has no replica of the groups 1 and 2, on the simulator's clock and disks."""

from typing import Any

from twisted.internet.address import IPv4Address

from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import LastReplica
from kraft.raft.membership.configuration import Configuration
from kraft.raft.membership.replica_number import UNNUMBERED
from kraft.server.capacity import Capacity
from kraft.server.factory import client_factory
from tests.server.fakes import Recorder, Transport, encode
from tests.simulation.cluster import SimulatedCluster, Tuning
from tests.simulation.network import Weather
from tests.simulation.world import World

GROUPS = 3
ABSENT = (1, 2)
HOLDER, LACKING = "K3", "K4"


class Scattered(SimulatedCluster):
    """Four members of group 0. The groups 1 and 2 have three of them, and K4 has nothing of them on its disk.

    Nothing does that yet but these tests: each group drops K4 by a change of its members, and then what K4
    has of it is taken from its disk while its process does not run.
    """

    def __init__(self, seed=1, absent=ABSENT, nodes=4, **tuning):
        super().__init__(World(seed), Weather(), nodes, GROUPS, tuning=Tuning(**tuning))
        self.answers: list[Any] = []
        self.start()
        assert self.run(20, self.led)
        assert self.run(20, self.raised)
        if absent:
            self.leave(LACKING, *absent)
        assert self.run(20, lambda: all(self.host(LACKING).leader(group) for group in range(GROUPS)))

    def raised(self):
        """Whether all commands may be logged."""
        replicas = [group for process in self.processes() for group in process.host.groups.values()]
        return all(group.state.machine.version == MACHINE_VERSION for group in replicas)

    def leave(self, id_, *groups):
        """A node is no member of these groups any more, and has nothing of them."""
        for group in groups:
            self._drop(id_, group)
        node = self.nodes[id_]
        node.crash()
        for group in groups:
            del node.durable.groups[group]
            node.durable.replicas[group] = LastReplica(UNNUMBERED, held=False)
            files = node.durable.files.items()
            node.durable.files = {place: file for place, file in files if place[0] != group}
        node.start()
        assert self.run(20, self.led)
        for process in self.processes():
            self.connect(process.id)  # opens its port, which answers what other nodes ask about all keys

    def _drop(self, id_, group):
        """A group has one member less."""
        leader = self.host(self.leader_of(group))
        old = leader.groups[group].raft.state.configuration
        members = tuple(member for member in old.members if member.id != id_)
        voters = tuple(voter for voter in old.voters if voter != id_)
        leader.groups[group].raft.reconfigure(Configuration(members, voters, retired=old.retired))
        leader._turns.wake(group)

        def dropped():
            found = self.checks.committed[group].configuration
            return len(found.members) == len(members) and not found.joint

        assert self.run(20, dropped)

    def carried_out(self, id_, command, within=60):
        """The outcome of an administrator's command at a node."""
        done: list[object] = []
        self.host(id_).admin(command, done.append)
        assert self.run(within, lambda: bool(done))
        return done[0]

    def led(self):
        """Whether every group has one leader that can commit, which its members know."""
        for group in range(self.group_count):
            leaders = self.leaders(group)
            holders = [p.host for p in self.processes() if group in p.host.groups]
            if len(leaders) != 1 or not all(host.leader(group) == leaders[0] for host in holders):
                return False
            if not self.host(leaders[0]).groups[group].raft.state.leads_with_commit:
                return False
        return True

    def process(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        return process

    def host(self, id_):
        return self.process(id_).host

    def leader_of(self, group):
        [leader] = self.leaders(group)
        return leader

    def connect(self, id_):
        return Client(self, id_)


class Apart(Scattered):
    """Five members of group 0. K1 and K2 have group 1, K3 and K4 have group 2, and K5 has neither."""

    def __init__(self, seed=1, **tuning):
        super().__init__(seed, absent=(), nodes=5, **tuning)
        for id_ in ("K1", "K2"):
            self.leave(id_, 2)
        for id_ in ("K3", "K4"):
            self.leave(id_, 1)
        self.leave("K5", *ABSENT)
        assert self.run(20, lambda: all(p.host.leader(group) for p in self.processes() for group in ABSENT))


class Client:
    """A client of one node, whose port is the real one without sockets."""

    def __init__(self, cluster, id_):
        process = cluster.process(id_)
        self._cluster = cluster
        self.factory = client_factory(
            process.host._config, process.host, Recorder(), process.clock, Capacity()
        )
        process.clock.process = process
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50_000))
        self.transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 50_000))
        protocol.makeConnection(self.transport)
        self.protocol = protocol

    def send(self, *words):
        """Send a request, and do not wait."""
        self.protocol.dataReceived(encode(*words))

    def run(self, *words, within=30.0):
        """The reply to a request."""
        self.send(*words)
        return self.reply(within)

    def pipeline(self, requests, within=30.0):
        """The replies to requests that are sent together, outside of MULTI."""
        end = b"$3\r\nend\r\n"
        self.protocol.dataReceived(b"".join(encode(*words) for words in [*requests, ("ECHO", "end")]))
        assert self._cluster.run(within, lambda: self.transport.value().endswith(end)), "no reply"
        data: bytes = self.transport.value()
        self.transport.clear()
        return data[: -len(end)]

    def reply(self, within=30.0):
        """What was received, once nothing more comes for a moment."""
        assert self._cluster.run(within, lambda: bool(self.transport.value())), "no reply"
        size = -1
        while size != len(self.transport.value()):
            size = len(self.transport.value())
            self._cluster.run(0.05)
        data: bytes = self.transport.value()
        self.transport.clear()
        return data
