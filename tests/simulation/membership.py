"""The members of a simulated cluster: what was committed, and what the directories of the nodes have."""

from kraft.raft.membership.configuration import Configuration, decode
from kraft.raft.messages import EntryKind
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.node import SimulatedNode


class Membership:
    """Looks at all nodes at once, as no program can."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    @property
    def configuration(self) -> Configuration:
        """The last committed one of group 0."""
        return self._cluster.checks.committed[0].configuration

    @property
    def configurations(self) -> list[Configuration]:
        """The last committed one of each group, but for one that has just been created."""
        found = [self._cluster.checks.committed[group].configuration for group in self._cluster.groups]
        return [each for group, each in enumerate(found) if each.members or group < self._cluster.group_count]

    def has(self, node: SimulatedNode) -> bool:
        """Whether the node with its current directory is a member of any group, as last committed."""
        known = self.configurations
        hosts = [p.host for p in self._cluster.processes() if p.id in self._cluster.members()]
        known += [group.raft.state.configuration for host in hosts for group in host.groups.values()]
        mine = node.durable.identity.incarnation
        targets = [c.target for c in known if c.target is not None]
        return any(m.node == mine for c in (*known, *targets) for m in c.members)

    @property
    def broken(self) -> list[SimulatedNode]:
        """Members whose directories are permanently lost."""
        return [n for n in self._cluster.nodes.values() if n.lost]

    @property
    def half_gone(self) -> list[str]:
        """The nodes that some groups have removed for good, and others have not."""
        known = self.configurations
        retired = {incarnation for each in known for incarnation in each.retired}
        return [member.id for each in known for member in each.members if member.node in retired]

    @property
    def moved(self) -> list[SimulatedNode]:
        """Members that have another address than the cluster knows."""
        known = self.configurations if self._cluster.scattered else [self.configuration]
        members = [(self._cluster.nodes[m.id], m) for each in known for m in each.members]
        here = [(n, m) for n, m in members if n.durable.identity.incarnation == m.node]
        return [n for n, m in here if n.address != m.peer]

    def can_lose(self, id_: str) -> bool:
        """Whether the cluster can lose the directory of this node until it is re-admitted.

        It cannot while a change is in the log of any member, also of one that is down: a majority of the
        voters to be may need this very node. The others may be unable to elect then, and must be. Nor can it
        while no other founder has formed: they rightly form another cluster then, with the new directory.
        """
        others = [self._cluster.nodes[m.id] for m in self.configuration.members if m.id != id_]
        formed = any(node.durable.identity.cluster for node in others)
        return formed and all(self._can_lose(id_, group) for group in self._cluster.groups)

    def _can_lose(self, id_: str, group: int) -> bool:
        now = self._cluster.checks.committed[group].configuration
        member = now.member(id_)
        mine = self._cluster.nodes[id_].durable.identity.incarnation
        hosts = [p.host for p in self._cluster.processes()]
        agreed = all(h.groups[group].raft.state.configuration == now for h in hosts if group in h.groups)
        agreed = agreed and all(self._on_disk(m.id, group) in (None, now) for m in now.members)
        if member is None and group and self._cluster.scattered:
            return agreed
        known = member is not None and member.node == mine
        return known and agreed and len(now.voters) >= 3

    def _on_disk(self, id_: str, group: int) -> Configuration | None:
        """The last configuration in the log of a directory; None for a log that begins after it."""
        log = self._cluster.checks.log_of(id_, group)
        entries = [] if log is None else [e for e in log.entries if e.kind == EntryKind.CONFIGURATION]
        return decode(entries[-1].data) if entries else None
