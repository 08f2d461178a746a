"""A cluster of real hosts on the simulator's clock, disks and network, without random faults."""

from kraft.host.requests.round import View
from tests.simulation.cluster import SimulatedCluster, Tuning
from tests.simulation.network import Weather
from tests.simulation.world import World


class Trio(SimulatedCluster):
    """A formed cluster with a leader that all nodes know. `ask` and `look` add outcomes to `answers`."""

    def __init__(self, nodes=3, groups=1, disks="plain", **tuning):
        weather, tuned = Weather(), Tuning(**tuning)
        super().__init__(World(1), weather, nodes=nodes, groups=groups, tuning=tuned, disks=disks)
        self.start()
        self.answers = []
        assert self.run(10, lambda: self.known(nodes))

    def known(self, nodes):
        hosts = [p.host for p in self.processes()]
        return len(hosts) == nodes and all(h.groups and h.leader(0) for h in hosts) and self.committed()

    def committed(self):
        return any(p.host.groups[0].raft.state.leads_with_commit for p in self.processes())

    @property
    def leader(self):
        [leader] = self.leaders()
        return leader

    @property
    def followers(self):
        return [p.id for p in self.processes() if p.id != self.leader]

    def process(self, id_):
        process = self.nodes[id_].process
        assert process is not None
        return process

    def host(self, id_):
        return self.process(id_).host

    def group(self, id_):
        return self.host(id_).groups[0]

    def ask(self, id_, *commands):
        self.host(id_).write(0, list(commands), 20, self.answers.append)

    def look(self, id_, key):
        def done(outcome):
            found = outcome.keyspace.get(key) if isinstance(outcome, View) else outcome
            self.answers.append(found)

        self.host(id_).read(0, done)

    def answered(self, count=1, within=10.0):
        return self.run(within, lambda: len(self.answers) >= count)

    def isolate(self, id_):
        others = [n for n in self.nodes if n != id_]
        self.network.block([(id_, n) for n in others] + [(n, id_) for n in others])
