"""The operator of the simulated cluster: sends administrators' commands and prepares and cleans up nodes.

The operator makes one membership change at a time, on any node, carefully: starts a node in standby before
adding it, stops a removed node some time later, and wipes and re-admits a node that refuses its directory. A
change that a command reports as done must be in the committed entries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kraft.config import PeerConfig
from kraft.node import admin
from kraft.raft.membership.configuration import Configuration
from tests.simulation.cluster import SimulatedCluster, address_of
from tests.simulation.errands import Errand, Errands, InForce
from tests.simulation.membership import Membership
from tests.simulation.node import SimulatedNode
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.fault_kinds import Details

TEND_SECONDS = 0.5
ALONE_SECONDS = 10.0  # until a change that only one node received has been done or undone
MEMBERS_MAX = 6


class Operator:
    """Sends the commands of the plan, and tends the machines."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice("operator")
        self._membership = Membership(cluster)
        self._moves = 0
        self._leaving: dict[str, float] = {}  # nodes that are no longer members, and when to stop them
        self._drained: set[str] = set()
        self._errands = Errands(cluster, self._dice)
        self.over = False

    def start(self) -> None:
        self._world.call_later(TEND_SECONDS, self._tend)

    # -- the state of the cluster

    @property
    def configuration(self) -> Configuration:
        return self._membership.configuration

    @property
    def half_done(self) -> Errand | None:
        """A change that did not end well, and is in force in some groups and not in others."""
        halves = [errand for errand in self._errands.halves if errand.in_force is not None]
        if self._cluster.scattered:
            return halves[0] if halves and self._membership.half_gone else None
        known = self._membership.configurations
        return next((e for e in halves if e.in_force and len(set(map(e.in_force, known))) > 1), None)

    @property
    def waits(self) -> bool:
        """Whether a command is not answered yet."""
        return bool(self._errands.waiting)

    @property
    def free(self) -> bool:
        """Whether no change is in progress and none can result from an earlier command."""
        known = self._membership
        changing = any(each.joint for each in known.configurations)
        changing |= self._errands.may_change or self.half_done is not None
        return not changing and not known.broken and not known.moved

    def destroyable(self, process: Process | None) -> bool:
        """Whether the cluster can lose the directory of this node until it is re-admitted."""
        if process is None or self._errands.waiting or not self.free or self.over:
            return False
        return self._membership.can_lose(process.id)

    def member(self, node: SimulatedNode) -> bool:
        """Whether the node with its current directory is a member of any group, as last committed."""
        return self._membership.has(node)

    # -- membership changes

    def add(self, details: "Details") -> bool:
        node = self._spare()
        members = len(self.configuration.members)
        if not self.free or node is None or not 0 < members < MEMBERS_MAX:
            return False  # also while the founders form no cluster: then a founder would be taken for a spare
        self._stand_by(node)
        incarnation = node.durable.identity.incarnation
        return self._errands.ask(
            admin.Add(node.id, node.address, learner=details["learner"]),
            lambda c: any(m.incarnation == incarnation for m in c.members),
            changes=True,
        )

    def promote(self, _: "Details") -> bool:
        learners = self.configuration.learners
        if not self.free or not learners:
            return False
        id_ = self._dice.choice(learners)
        return self._errands.ask(admin.Promote(id_), lambda c: id_ in c.voters, changes=True)

    def demote(self, _: "Details") -> bool:
        voters = self.configuration.voters
        if not self.free or len(voters) < 3:
            return False
        id_ = self._dice.choice(voters)
        return self._errands.ask(admin.Demote(id_), lambda c: id_ in c.learners, changes=True)

    def change_alone(self, leader: Process, *, demote: bool) -> bool:
        """Send this node a command that demotes or removes another one."""
        others = [v for v in self.configuration.voters if v != leader.id]
        if not self.free or not leader.ready or leader.clock.paused or len(others) < 2:
            return False
        id_ = self._dice.choice(others)
        if demote:
            self._errands.tell(leader, admin.Demote(id_), lambda c: id_ in c.learners, True, ALONE_SECONDS)
        else:
            self._errands.tell(leader, admin.Remove(id_), self._without(id_), True, ALONE_SECONDS)
        return True

    def remove(self, who: Process | None, fewest: int) -> bool:
        """Remove a member, as long as enough voters remain."""
        if not self.free or who is None or len(self.configuration.voters) <= fewest:
            return False
        if self.configuration.member(who.id) is None:
            return False
        force = self._dice.random() < 0.2
        return self._errands.ask(admin.Remove(who.id, force), self._without(who.id), changes=True)

    def _without(self, id_: str) -> InForce:
        """Whether the member is gone, or is there with another incarnation."""
        gone = {m.incarnation for m in self.configuration.members if m.id == id_}
        return lambda c: gone.isdisjoint(m.incarnation for m in c.members)

    def replace(self, who: Process | None) -> bool:
        """Replace a member by another machine."""
        node = self._spare()
        if not self.free or who is None or node is None or self.configuration.member(who.id) is None:
            return False
        self._stand_by(node)
        incarnation = node.durable.identity.incarnation
        return self._errands.ask(
            admin.Replace(who.id, node.id, node.address),
            lambda c: any(m.incarnation == incarnation for m in c.members),
            changes=True,
        )

    def move(self, who: Process | None) -> bool:
        """Restart the node at another address, then send the address, unless that costs the majority."""
        if not self.free or who is None or self.configuration.member(who.id) is None:
            return False
        if who.id in self.configuration.voters and len(self.configuration.voters) < 3:
            return False
        node = self._cluster.nodes[who.id]
        self._moves += 1
        node.crash()
        node.config = replace(
            node.config, peer=PeerConfig(advertise=address_of(int(node.id[1:]), self._moves))
        )
        node.start()
        return self._readdress(node)

    def _readdress(self, node: SimulatedNode) -> bool:
        id_, address = node.id, node.address
        return self._errands.ask(
            admin.Readdress(id_, address),
            lambda c: (m := c.member(id_)) is not None and m.peer == address,
            changes=True,
        )

    def _spare(self) -> SimulatedNode | None:
        """A machine that belongs to no cluster, or None."""
        nodes = [self._cluster.nodes[id_] for id_ in sorted(self._cluster.nodes)]
        idle = [n for n in nodes if n.process is None and not n.lost and not self.member(n)]
        return self._dice.choice(idle) if idle else None

    def _stand_by(self, node: SimulatedNode) -> None:
        node.crash()
        node.wipe()
        node.stand_by()
        node.start()
        self._leaving.pop(node.id, None)

    # -- other commands

    def transfer(self, details: "Details") -> bool:
        """Transfer leadership, possibly to a node that is down or slow."""
        to = details["to"]
        return self._errands.ask(admin.TransferLeadership(to) if to else admin.StepDown())

    def hand_over(self, leader: Process) -> bool:
        """Send this node STEPDOWN: it chooses its successor."""
        if not leader.ready or leader.clock.paused:
            return False
        self._errands.tell(leader, admin.StepDown())
        return True

    def drain(self, who: Process | None) -> bool:
        if who is None:
            return False
        self._drained.add(who.id)
        self._errands.tell(who, admin.Drain(True))
        return True

    def undrain(self) -> None:
        for process in self._cluster.processes():
            if process.id in self._drained:
                self._errands.tell(process, admin.Drain(False))
        self._drained.clear()

    def snapshot(self, _: "Details") -> bool:
        return self._errands.ask(admin.TakeSnapshot())

    def compact(self, who: Process | None, keep: int) -> bool:
        if who is not None:
            self._errands.tell(who, admin.Compact(keep))
        return who is not None

    def replicate(self, details: "Details") -> bool:
        """Let so many nodes vote in each group; the cluster decides which."""
        return self._errands.ask(admin.SetReplication(details["count"], force=True))

    def rebalance_votes(self) -> bool:
        """Give all nodes about as many votes."""
        return self._errands.ask(admin.RebalanceReplicas())

    def verify(self, _: "Details") -> bool:
        return self._errands.ask(admin.Verify())

    # -- maintenance

    def _tend(self) -> None:
        self._world.call_later(TEND_SECONDS, self._tend)
        if not self._errands.change_waits:
            half = self.half_done
            lost = [n for n in self._membership.broken if half is None or half.command == _readmission(n)]
            if lost:
                self._readmit(lost[0])
            elif half is not None:
                self._finish(half)
            elif self._membership.moved:
                self._readdress(self._membership.moved[0])
            elif self.over:
                self._reseed()
        self._stop_strangers()

    def _finish(self, half: Errand) -> None:
        """Repeat what ended half-way. If that was a removal before it, do the rest of that one."""
        gone = self._membership.half_gone if self._cluster.scattered else []
        if gone and not isinstance(half.command, admin.Remove | admin.Replace):
            self._errands.ask(admin.Remove(gone[0]), lambda c: c.member(gone[0]) is None, changes=True)
        else:
            self._errands.ask(half.command, half.in_force, changes=True)

    def _sorted(self) -> Iterable[SimulatedNode]:
        return [self._cluster.nodes[id_] for id_ in sorted(self._cluster.nodes)]

    def _readmit(self, node: SimulatedNode) -> None:
        """Wipe an unusable directory and re-admit the node, which is then another member."""
        known = self._membership.configurations
        if all(each.member(node.id) is None for each in known):
            node.lost = False  # it had already been removed
            return
        if node.process is None or node.damaged or not node.config.cluster.standby:
            self._stand_by(node)
        incarnation = node.durable.identity.incarnation
        if self._is_back(node, known):
            node.lost = False
            return
        self._errands.ask(
            _readmission(node),
            lambda c: any(m.incarnation == incarnation for m in c.members),
            changes=True,
        )

    def _is_back(self, node: SimulatedNode, known: Sequence[Configuration]) -> bool:
        """Whether the node is a member with its new directory, and nowhere with the old one."""
        mine = node.durable.identity.incarnation
        if self._cluster.scattered:
            members = [member for each in known if (member := each.member(node.id)) is not None]
            return known[0].member(node.id) is not None and all(m.node == mine for m in members)
        return all(any(m.incarnation == mine for m in each.members) for each in known)

    def _stop_strangers(self) -> None:
        """Stop nodes that are not members, some time after they left or failed to join."""
        changing = self._errands.may_change
        for node in self._sorted():
            if node.process is None or changing or self.member(node) or not self.configuration.members:
                self._leaving.pop(node.id, None)
                continue
            when = self._leaving.setdefault(node.id, self._world.now + self._dice.uniform(0.5, 8.0))
            if when <= self._world.now:
                self._world.counts["stranger stopped"] += 1
                node.crash()

    def _reseed(self) -> None:
        """Reseed fenced replicas."""
        for process in self._cluster.processes():
            if (
                any(group.state.fenced for group in process.host.groups.values())
                and not self._errands.waiting
            ):
                self._errands.ask(admin.Reseed(process.id))


def _readmission(node: SimulatedNode) -> admin.Replace:
    """The command for a node that begins anew with an empty directory."""
    return admin.Replace(node.id, node.id, node.address)
