"""Replicas that the node destroys, as it has left their groups, and those that it begins when it comes back.

The node may leave a group and stay in the cluster. Its replica is destroyed when a committed configuration
is without it: by its own log, or because the leader says so. What is left is its number, which the same
transaction notes. Late messages for it are ignored after that. A request for a replica with a higher number
begins that one, empty; one that is still here is destroyed first, and the request will be repeated.
A node that joins a cluster may begin with group 0 alone: of the other groups it notes that it `NEVER` had a
replica, so that the first request for one begins it, also for one without a number. A replica that it began
with and that nobody has told anything is as good as none: after a while the node drops it from memory, and
asks elsewhere for what its clients want.

Group 0 is never left: who leaves it leaves the cluster, and then all data stays where it is.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.kv.versions import REPLICA_NUMBERS
from kraft.node.errors import NotOwner
from kraft.node.values import LastReplica, Loaded, Transaction
from kraft.peerwire.hello import WIRE_REPLICAS
from kraft.peerwire.messages import Dismissal, MembershipQuestion
from kraft.raft.membership.replica_number import NEVER, UNNUMBERED, ReplicaNumber

LOOK_SECONDS = 1.0  # between two looks at which replicas have left
ASK_LOOKS = 5  # of them, between two questions about one group; each look asks about a part of the groups
ASK_TIMEOUTS = 4  # election timeouts without a leader, after which a replica asks whether it is a member
RETRY_SECONDS = 1.0  # after the disk was full
NEVER_HELD = LastReplica(NEVER, held=False)


class GroupKeeper(Protocol):
    """A part of the host that remembers something of each group."""

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed."""


class ReplicaOwner(Protocol):
    """The life of a node, as `Replicas` sees it."""

    def begin_replica(self, group: int) -> None:
        """Begin an empty replica of a group, which the disk has noted."""


class Replicas:
    """`parts` are those that remember something of the `groups` of the node."""

    def __init__(
        self, loaded: Loaded, context: GroupContext, groups: dict[int, Group], owner: ReplicaOwner
    ) -> None:
        self.parts: Sequence[GroupKeeper] = ()
        self._last = dict(loaded.replicas)
        self._context = context
        self._groups = groups
        self._owner = owner
        self._ending: dict[int, Group] = {}  # whose last writes are on their way
        self._writing: set[int] = set()
        self._look_at = 0.0  # monotonic seconds
        self._looks = 0

    def number(self, group: int) -> ReplicaNumber:
        """The number of the replica that the node has of a group, or had last."""
        last = self._last.get(group)
        return UNNUMBERED if last is None else last.number

    def has_left(self, group: int) -> bool:
        """Whether the node destroys its replica of a group, or has destroyed it, and has no other one yet.

        So it is as well while the disk notes a replica that is about to begin, also the node's first one.
        """
        last = self._last.get(group)
        ends = group in self._ending or group in self._writing
        return ends or (last is not None and not last.held)

    def note_never(self, groups: Iterable[int]) -> None:
        """The node has joined its cluster without a replica of these groups, as the disk has noted."""
        self._last |= dict.fromkeys(groups, NEVER_HELD)

    def begin(self, id_: int, number: ReplicaNumber) -> None:
        """Begin the replica `number` of a group, which is higher than that of any before."""
        if id_ in self._groups:
            self._end(self._groups[id_])
        elif id_ not in self._ending and id_ not in self._writing:
            self._write(id_, LastReplica(number, held=True))

    def tick(self, now: float) -> None:
        """A tick of a serving node, at `now` (monotonic seconds): destroy the replicas that have left."""
        for id_, group in list(self._ending.items()):
            if not self._context.persistence.holds(group):
                del self._ending[id_]
                if group.numbers.is_blank:
                    self._last[id_] = NEVER_HELD
                else:
                    self._write(id_, LastReplica(group.numbers.own, held=False))
        peers = self._context.peers
        if now < self._look_at or peers.removed or peers.left_first_group:
            return
        self._look_at = now + LOOK_SECONDS
        self._looks += 1
        numbers = peers.formation.version.in_force >= REPLICA_NUMBERS
        for group in [group for group in self._groups.values() if group.id]:
            if group.numbers.has_left:
                self._end(group)
            elif numbers and self._asks(group.id) and group.numbers.is_lost(ASK_TIMEOUTS):
                self._end(group) if group.numbers.is_blank else self._ask(group)

    # -- replicas that were away when they were removed

    def _asks(self, group: int) -> bool:
        """Whether this look is one of those that ask about `group`."""
        return (self._looks + group) % ASK_LOOKS == 0

    def _ask(self, group: Group) -> None:
        peers = self._context.peers
        for peer in sorted(peers.connected):
            if peers.hellos[peer].wire_max >= WIRE_REPLICAS:  # it may be no member, of another version
                self._context.turns.post(peer, group.id, MembershipQuestion(group.numbers.own))

    def asked(self, id_: int, peer: str, message: MembershipQuestion) -> None:
        """A node asks whether its replica is a member of a group. Its leader answers if it is none."""
        group, node = self._groups.get(id_), self._context.peers.incarnations.get(peer, "")
        if group is not None and group.numbers.is_dismissed(peer, node, message.number):
            self._context.turns.post(peer, id_, Dismissal(message.number))

    def dismissed(self, id_: int, message: Dismissal) -> None:
        """The leader of a group says that a committed configuration is without this replica."""
        group = self._groups.get(id_)
        if group is not None and id_ and group.numbers.own == message.number:
            self._end(group)

    # -- the disk

    def _end(self, group: Group) -> None:
        """Let a replica take part in nothing any more. It is destroyed when the disk has its last writes."""
        del self._groups[group.id]
        self._ending[group.id] = group
        for part in self.parts:
            part.forget(group.id)
        group.abandon(NotOwner(group.id))  # clients are served by those that have the group
        self._context.observer.event("replica_left", group=group.id)

    def _write(self, id_: int, last: LastReplica) -> None:
        self._writing.add(id_)
        self._context.disk.commit(Transaction(replicas=((id_, last),)), partial(self._written, id_, last))

    def _written(self, id_: int, last: LastReplica, durable: bool) -> None:
        if not durable:
            self._context.clock.call_later(RETRY_SECONDS, partial(self._write, id_, last))
            return
        self._writing.discard(id_)
        self._last[id_] = last
        if last.held:
            self._owner.begin_replica(id_)
