"""Replicas that come and go in a run: nodes leave groups, and come back to them with new replicas.

Each group changes its members through its own leader, as the placement will. What a node then does by itself
is production code: it destroys the replica, begins another one, and asks elsewhere meanwhile.
"""

from collections.abc import Callable, Sequence
from functools import partial

from kraft.host.group.group import Group
from kraft.kv.versions import REPLICA_NUMBERS
from kraft.raft.errors import ChangeRefused, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Member
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.fault_kinds import Details
from tests.simulation.process import Process

AGAIN_SECONDS = 0.2  # until a step is tried again: there is no leader, or another change is under way
TRIES_MAX = 50  # of one step

Change = Callable[[Configuration], Configuration]


class ReplicaFaults:
    """Changes the members of groups. `crash` (node, seconds until it is back) lets a node miss that."""

    def __init__(self, cluster: SimulatedCluster, crash: Callable[[str, float], None]) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice("replicas")
        self._crash = crash
        self.over = False

    def leaves(self, details: Details) -> bool:
        """A node leaves a group: it is mostly there."""
        group, id_ = self._place(details)
        return self._begin(group, [partial(changes.replica_removed, id_=id_)])

    def comes(self, details: Details) -> bool:
        """A node comes to a group: it has mostly left it before."""
        group, id_ = self._place(details)
        return self._begin(group, self._coming(id_, vote=details["vote"]))

    def returns(self, details: Details) -> bool:
        """A node leaves a group and comes back to it, perhaps while it does not run."""
        group, id_ = self._place(details)
        if details["down"]:
            self._crash(id_, details["seconds"])
        leaving = partial(changes.replica_removed, id_=id_)
        return self._begin(group, [leaving, *self._coming(id_, vote=details["vote"])])

    def moves(self, details: Details) -> bool:
        """A replica goes from one node to another one, which votes in its place."""
        group, old = self._place(details)
        others = [id_ for id_ in self._cluster.members() if id_ != old]
        new = others[int(details["to"] * len(others))]
        return self._begin(group, [*self._coming(new, vote=True), partial(changes.replica_removed, id_=old)])

    def votes(self, details: Details) -> bool:
        """A member gets a vote, or loses it."""
        group, id_ = self._place(details)
        return self._begin(
            group, [partial(changes.promoted if details["vote"] else changes.demoted, id_=id_)]
        )

    def deserts(self, details: Details) -> bool:
        """A node leaves all groups that it may leave."""
        leaving = partial(changes.replica_removed, id_=details["who"])
        groups = self._cluster.groups[1:]
        begun = [self._begin(group, [leaving]) for group in groups]
        return any(begun)

    def _place(self, details: Details) -> tuple[int, str]:
        groups = self._cluster.groups[1:]  # all nodes are in group 0
        return groups[int(details["group"] * len(groups))], details["who"]

    def _coming(self, id_: str, *, vote: bool) -> list[Change]:
        node = self._cluster.nodes[id_]
        member = Member(id_, node.durable.identity.incarnation, node.address)
        promotion = [partial(changes.promoted, id_=id_)] if vote else []
        return [partial(changes.replica_added, node=member), *promotion]

    # -- steps

    def _begin(self, group: int, steps: Sequence[Change]) -> bool:
        """Begin the first of some steps; each later one follows in a moment, whatever becomes of this one."""
        if self.over or not self._numbers_in_force():
            return False
        return self._try(group, steps, 1)

    def _try(self, group: int, steps: Sequence[Change], tries: int) -> bool:
        if self.over:
            return False
        done = self._step(group, steps[0])
        rest = list(steps if done is None else steps[1:])
        if rest and tries <= TRIES_MAX:
            delay = self._dice.expovariate(1 / AGAIN_SECONDS)
            self._world.call_later(delay, partial(self._try, group, rest, 1 if done else tries + 1))
        return bool(done)

    def _step(self, group: int, change: Change) -> bool | None:
        """Whether the change has begun; None if it may begin later."""
        leader = self._leader(group)
        if leader is None:
            return None
        process, replica = leader
        process.clock.touched()
        process.host.hibernation.wake((group,))
        raft = replica.raft
        configuration = raft.state.configuration
        if configuration.joint:
            return None
        try:
            target = change(configuration)
        except ChangeRefused:
            return False
        try:
            raft.reconfigure(target)
        except (ChangeRefused, NotLeading):
            return None
        process.host._turns.wake(group)
        name = getattr(change, "func", change).__name__
        self._world.note(f"{name} in group {group}")
        self._world.counts[f"replica change: {name}"] += 1
        return True

    def _leader(self, group: int) -> tuple[Process, Group] | None:
        leading = self._cluster.leaders(group)
        found = [p for p in self._cluster.processes() if p.id in leading and not p.clock.paused]
        if not found:
            return None
        process = self._dice.choice(found)
        return process, process.host.groups[group]

    def _numbers_in_force(self) -> bool:
        """Whether all nodes have a program that knows numbers of replicas."""
        return self._cluster.checks.committed[0].version >= REPLICA_NUMBERS


ACTS: dict[str, Callable[[ReplicaFaults, Details], object]] = {
    "replica leaves": ReplicaFaults.leaves,
    "replica comes": ReplicaFaults.comes,
    "replica returns": ReplicaFaults.returns,
    "replica moves": ReplicaFaults.moves,
    "votes of replicas": ReplicaFaults.votes,
    "node leaves all groups": ReplicaFaults.deserts,
}
