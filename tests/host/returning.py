"""A node that leaves a group and comes back to it, on real hosts: what the placer will do by itself."""

from kraft.kv.commands import Put
from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Member
from tests.host.trio import Trio

GROUP = 1


class Returning(Trio):
    """Three nodes with three groups; group 1 is changed. `lead` is a node that leads it meanwhile."""

    def __init__(self, lead="K1", nodes=3, **tuning):
        super().__init__(nodes=nodes, groups=3, **tuning)
        assert self.run(20, lambda: all(len(p.host.groups) == 3 for p in self.processes()))
        assert self.run(20, lambda: self.group_leader() is not None)
        self.pass_on(lead)

    def replica(self, id_, group=GROUP):
        """The group on a node, None if it has no replica of it."""
        return self.host(id_).groups.get(group)

    def group_leader(self, group=GROUP):
        """The node that leads the group in the latest term."""
        states = {p.id: p.host.groups[group].raft.state for p in self.processes() if group in p.host.groups}
        leads = {id_: state.term for id_, state in states.items() if state.leads_with_commit}
        return max(leads, key=leads.__getitem__, default=None)

    def pass_on(self, to):
        """Let `to` lead the group."""

        def leads():
            leader = self.group_leader()
            if leader not in (None, to):
                self.wake(leader)
                self.replica(leader).transfer_leadership(to)
                self.host(leader)._turns.wake(GROUP)
                self.run(1)
            return leader == to

        assert self.run(60, leads)

    def wake(self, id_, group=GROUP):
        self.host(id_).hibernation.wake((group,))

    def change(self, make, group=GROUP):
        """Go from the configuration of the group to what `make` makes of it, to the end."""
        begun: list[str] = []

        def changed():
            leader = self.group_leader(group)
            if leader is None:
                return False
            self.wake(leader, group)
            raft = self.replica(leader, group).raft
            if not begun:
                try:
                    raft.reconfigure(make(raft.state.configuration))
                except (ChangeRefused, NotLeading):
                    return False
                begun.append(leader)
                self.host(leader)._turns.wake(group)
            state = raft.state
            return not state.configuration.joint and state.configuration_index <= state.commit

        assert self.run(30, changed)

    def remove(self, id_):
        self.change(lambda now: changes.replica_removed(now, id_))

    def add(self, id_):
        """Add a new replica of a node."""
        self.add_node(id_, self.host(id_).peers.formation.identity.incarnation)

    def add_node(self, id_, incarnation):
        """The same for a node that need not run."""
        node = Member(id_, incarnation, self.nodes[id_].config.peer.advertise)
        self.change(lambda now: changes.replica_added(now, node))

    def promote(self, id_):
        self.change(lambda now: changes.promoted(now, id_))

    def put(self, key, value=b"x", via="K1"):
        self.answers.clear()
        self.host(via).write(GROUP, [Put(key, value)], 20, self.answers.append)
        assert self.answered()
        assert isinstance(self.answers[0], list), self.answers

    def keys(self, id_):
        """The keys of the group in the state that a node has."""
        return sorted(self.replica(id_).state.machine.keyspace.records)

    def same(self, *nodes):
        """Whether these nodes have applied the same log to the end."""
        states = [self.replica(id_) for id_ in nodes]
        return None not in states and len({(s.state.index, s.raft.state.log.last_index) for s in states}) == 1
