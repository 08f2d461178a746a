"""Makes the replicas of a node from what its disk holds of them."""

from kraft.config import Config
from kraft.host import settings
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.membership.changes import MembershipChanges
from kraft.node.values import Loaded
from kraft.raft.membership.replica_number import ReplicaNumber, numbered
from kraft.raft.ports import Jitter, RaftObserver, Restored
from kraft.raft.raft import Raft


class GroupBuilder:
    """Has what was loaded at the start of a replica, until that one is made. A later one has nothing."""

    def __init__(
        self,
        config: Config,
        loaded: Loaded,
        context: GroupContext,
        jitter: Jitter,
        raft_observer: RaftObserver,
    ) -> None:
        self._config = config
        self._checkpoints = loaded.checkpoints
        self._fenced = set(loaded.fenced)
        self._context = context
        self._jitter = jitter
        self._raft_observer = raft_observer

    def build(self, id_: int, restored: Restored, number: ReplicaNumber) -> Group:
        """The replica `number` of the group `id_`, as it was `restored`."""
        config, context, fenced = self._config, self._context, id_ in self._fenced
        self._fenced.discard(id_)
        raft = Raft(
            id=config.node.id,
            group=id_,
            settings=settings.consensus(config, context.slots.groups),
            restored=restored,
            jitter=self._jitter,
            wall_clock=context.clock.wall_ms,
            observer=self._raft_observer,
            incarnation=numbered(context.peers.formation.identity.incarnation, number),
        )
        membership = MembershipChanges(
            id_,
            raft,
            context.peers,
            context.clock,
            context.observer,
            election_ticks=settings.election_ticks(config),
            tick_seconds=settings.tick_seconds(config),
        )
        return Group(
            id_,
            raft,
            membership,
            context,
            settings.timing(config),
            settings.checkpoints(config),
            settings.snapshots(config),
            self._checkpoints.pop(id_, None),  # no other reference: a snapshot may take its place
            fenced=fenced,
            first_request=self._jitter(1 << 31) << 20,
        )
