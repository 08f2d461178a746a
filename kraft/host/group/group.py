"""One replica of one group: consensus, state machine, checkpoints, and those who wait for them.

This is the only place that carries out a `Ready`: `send_now` at once, `persist` through `Persistence`, then
`send_after_persist`, and `apply` in slices so that a long backlog never holds the reactor. What clients ask
is in `serving`, the way into the state machine in `applying`, the copy of it on disk in `checkpoints`, and
on its way to or from another node in `sending` and `receiving`.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from kraft.host.applied_state import AppliedState
from kraft.host.consistency.checker import ConsistencyChecker
from kraft.host.context import GroupContext
from kraft.host.group.applier import Applier
from kraft.host.group.checkpoints import Checkpoints, CheckpointSettings, Waiter
from kraft.host.membership.changes import MembershipChanges
from kraft.host.requests.requests import Requests
from kraft.host.requests.timing import Timing
from kraft.host.snapshots.receiver import SnapshotReceiver
from kraft.host.snapshots.sender import SnapshotSender
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.node.status import TransferStatus
from kraft.node.values import Received
from kraft.peerwire.messages import (
    Digest,
    Fence,
    Forward,
    ForwardReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
)
from kraft.raft.errors import InvariantViolation
from kraft.raft.messages import (
    AppendReply,
    ConsensusMessage,
    Entry,
    Heartbeat,
    HeartbeatReply,
)
from kraft.raft.raft import Raft
from kraft.raft.ready import Fetch, Outgoing, Ready


class Group:
    """A replica. All entry points return at once; effects happen in `turn`."""

    def __init__(
        self,
        id: int,  # noqa: A002
        node: Raft,
        membership: MembershipChanges,
        context: GroupContext,
        timing: Timing,
        checkpoints: CheckpointSettings,
        snapshots: SnapshotSettings,
        loaded: tuple[Checkpoint, Keyspace] | None,
        *,
        fenced: bool,
        first_request: int,
    ) -> None:
        checkpoint, machine = None, Machine()
        if loaded is not None:
            checkpoint, keyspace = loaded
            machine = Machine.restored(keyspace, checkpoint.base.stamp, checkpoint.revision)

        self.id = id
        self.raft = node
        self._context = context
        self.state = state = AppliedState(machine, 0 if checkpoint is None else checkpoint.base.index)
        self.requests = Requests(id, node, state, context, timing, first_request)
        self._checkpoints = Checkpoints(id, context.disk, context.observer, checkpoints, checkpoint, self)
        self.applier = Applier(id, node, state, self.requests, self._checkpoints, context, timing.batch_bytes)
        self.sender = SnapshotSender(id, self, context, snapshots)
        self.receiver = SnapshotReceiver(id, self, context, snapshots)
        self.consistency = ConsistencyChecker(id, node, state, context, checkpoint)
        self.membership = membership
        self._received: Received | None = None  # given to the core, not handed back in a Ready yet
        self._configuration = node.state.configuration
        self._linked: dict[str, str] = {}  # the incarnation at the other end of each link
        self._strangers: frozenset[str] = frozenset()
        self._led = False
        self._drained = False
        self._fence_changed(fenced)

    # -- facts ----------------------------------------------------------------------------------------

    @property
    def checkpointing(self) -> bool:
        """A checkpoint is being written."""
        return self._checkpoints.busy

    @property
    def transfers(self) -> tuple[TransferStatus, ...]:
        """Snapshots on their way from or to this replica."""
        return (*self.sender.status(), *self.receiver.status())

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest durable checkpoint."""
        return self._checkpoints.last

    # -- requests -------------------------------------------------------------------------------------

    def received(self, sender: str, message: Message) -> None:
        """A message from the link to `sender`."""
        if not isinstance(message, ConsensusMessage):
            self._TAKES[type(message)](self, sender, message)
        elif not (message.is_reply and sender in self._strangers):
            self.raft.step(sender, message)
            if type(message) is Heartbeat and self.raft.state.leader == sender:
                self.requests.reads.leader_heard(message)
            elif type(message) is HeartbeatReply:
                self.requests.leader_clock.heard(sender, message.wall_ms)
        self._context.turns.wake(self.id)

    def link_up(self, peer: str, incarnation: str) -> None:
        """A link to `peer` is open, and that is who is there."""
        self._linked[peer] = incarnation
        self._tell_strangers()

    def _tell_strangers(self) -> None:
        """Who is linked under the id of a member, and is another one: a node that came back with nothing.

        What is asked of the member is not for it, and what it answers would count for the member.
        """
        state = self.raft.state
        self._strangers = frozenset(
            peer for peer, there in self._linked.items() if not state.is_current_incarnation(peer, there)
        )

    def link_down(self, peer: str, closed_by_peer: bool) -> bool:
        """The link to `peer` is gone; True when that leaves the group without the leader it followed."""
        self._linked.pop(peer, None)
        self._tell_strangers()
        self.raft.unreachable(peer)
        self.requests.link_down(peer)
        self.sender.link_down(peer)
        self.receiver.link_down(peer)
        was_leader = self.raft.state.leader == peer
        if closed_by_peer:
            self.raft.leader_lost(peer)
        self._context.turns.wake(self.id)
        return was_leader and closed_by_peer and not self.raft.state.leader

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take this message: see `ports.Network.send`."""
        if type(message) is Heartbeat:
            self._context.observer.heartbeat_unsent(self.id, peer)
        self.requests.unsent(peer, message)

    def persisted(self, sequence: int, after: Sequence[Outgoing]) -> None:
        """See `persistence.Writer`."""
        try:
            self.raft.persisted(sequence)
        except InvariantViolation as error:
            self._context.broken(error)
            raise
        self._send(after)
        if self.state.switching and sequence >= self.state.switching:
            self.state.switching = 0
        self._context.turns.wake(self.id)

    # -- time -----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of the host."""
        self.raft.tick()
        now = self._context.clock.seconds()
        self.requests.tick(now, self._context.persistence.full)
        if self.raft.state.leads:
            needy = [follower.peer for follower in self.raft.progress() if follower.state == "snapshot"]
            self.sender.tick(now, needy)
            if self._checkpoints.due(now, self.state.index, self.state.machine):
                self.requests.proposer.propose_marker()
        self.receiver.tick(now, self.raft.state.commit)
        self.consistency.tick(now)
        self.membership.tick(now)
        self._cut_log()
        self._context.turns.wake(self.id)

    def _cut_log(self) -> None:
        """Not what the receiver of a copy needs behind it, and nothing before a new state is the disk's."""
        if not self.state.switching:
            held = [index for index in (self.sender.index, self.receiver.held) if index is not None]
            self.raft.compact(self._checkpoints.cut(self.raft.state.log.base.index, min(held, default=None)))

    # -- a turn ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Close batches, begin reads, carry out what the core wants. Once per turn of the host."""
        self.requests.turn()
        ready = self.raft.take_ready()
        if self.raft.state.configuration is not self._configuration:
            self._configuration = self.raft.state.configuration
            self._tell_strangers()
            self.reconfigured()
        if ready is not None:
            self._carry_out(ready)
        if self._led != self.raft.state.leads:
            self._led = self.raft.state.leads
            if not self._led:
                self.sender.stop()
                self.consistency.follow()

    def reconfigured(self) -> None:
        """Another configuration is in force. That of group 0 says which links the node keeps."""
        configuration = self.raft.state.configuration
        self._context.observer.event(
            "configuration_changed",
            group=self.id,
            voters=configuration.voters,
            learners=configuration.learners,
            joint=configuration.joint,
        )
        if self.id == 0:
            self._context.peers.reconfigured(configuration)

    def finish(self) -> None:
        """After the turn's messages are on their way: apply and answer."""
        if self.applier.waiting and not self.applier.replaying:
            started = self._context.clock.seconds()
            self.applier.apply_slice()
            self._context.observer.applied(self.id, self._context.clock.seconds() - started)
            if self.applier.waiting:
                self._context.turns.wake(self.id)
        self.requests.finish()

    def _carry_out(self, ready: Ready) -> None:
        context = self._context
        self._send(ready.send_now)
        if ready.restored is not None and ready.persist is not None:
            self.state.switching = ready.persist.sequence
            self._restore(ready.apply)
        if ready.persist is not None:
            context.persistence.add(self, ready.persist, ready.send_after_persist)
        self.applier.add(ready.apply)
        for state in ready.reads:
            self.requests.reads.round_confirmed(state.ctx, state.index)
        for ctx in ready.reads_failed:
            self.requests.reads.round_failed(ctx)
        for fetch in ready.fetch:
            self._fetch(fetch)
        for peer in ready.snapshots:
            self.sender.offer(peer)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        for outgoing in messages:
            if outgoing.message.is_reply or outgoing.to not in self._strangers:
                self._context.turns.post(outgoing.to, self.id, outgoing.message)

    def _fetch(self, fetch: Fetch) -> None:
        def fetched(entries: Sequence[Entry]) -> None:
            self.raft.fetched(fetch.peer, entries)
            self._context.turns.wake(self.id)

        self._context.disk.fetch(self.id, fetch.first, fetch.last, fetch.max_bytes, fetched)

    # -- apply ----------------------------------------------------------------------------------------

    def checkpoint_completed(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is durable: compare it, and send it to the replicas that wait for one."""
        self.consistency.completed(checkpoint)
        self.sender.checkpointed()
        self._context.turns.wake(self.id)

    def compact(self, keep: int) -> int:
        """Cut the log behind the last checkpoint to `keep` entries (below 0: as configured), bit by bit; how
        many entries that will drop.
        """
        return self._checkpoints.cut_to(self.raft.state.log.base.index, keep)

    def transfer_leadership(self, to: str) -> None:
        """Give leadership to `to`. Raises NotLeading, TransferRefused."""
        self.raft.transfer(to)
        self.requests.reads.drop_lease()  # before anything leaves

    def take_checkpoint(self, done: Waiter) -> bool:
        """On the leader: log a marker now; `done` gets the index of the checkpoint when it is durable here.

        False when no marker can be logged at present.
        """
        index = self.requests.proposer.propose_marker()
        if index is None:
            return False
        self._checkpoints.when_durable(index, done)
        self._context.turns.wake(self.id)
        return True

    # -- snapshots ------------------------------------------------------------------------------------

    def snapshot_ended(self, peer: str) -> None:
        """The transfer of a snapshot to `peer` ended: consensus may name it again."""
        self.raft.snapshot_ended(peer)
        self._context.turns.wake(self.id)

    def checkpoint_wanted(self) -> None:
        """There is no checkpoint to send yet: log a marker, unless a checkpoint is being written."""
        if not self._checkpoints.busy:
            self.requests.proposer.propose_marker()
            self._context.turns.wake(self.id)

    def snapshot_received(self, received: Received, offer: SnapshotOffer) -> bool:
        """A snapshot is complete: give it to consensus. False when consensus does not need it any more."""
        self._received = received
        base = received.checkpoint.base
        if offer.reseed and base.index <= self.raft.state.commit:
            taken = self.state.fenced and self.raft.state.log.base.index <= base.index
            if taken:
                self.raft.reseed(base, received.number)
            else:
                self._context.observer.event("snapshot_not_taken", group=self.id, index=base.index)
        else:  # also when it was meant for a state that is wrong, and is newer than all that is known here
            taken = self.raft.install(base, received.number)
        self._context.turns.wake(self.id)
        return taken

    def _restore(self, coming: Sequence[Entry]) -> None:
        """The core has let go of everything up to the snapshot: the state machine becomes its copy.

        A state that was wrong is replaced by an older copy; the log behind that is still right, and is
        applied anew up to the entries that are `coming` as usual.
        """
        received, self._received = self._received, None
        if received is None:
            raise InvariantViolation("only a snapshot that was given to the core is restored")
        self.requests.writes.skipped(received.checkpoint.base.index)
        self.requests.reads.restored()
        self.applier.restore(received)
        self._checkpoints.restored(received.checkpoint)
        self.consistency.restored(received.checkpoint)
        self._fence_changed(False)  # on disk the switch itself does that
        upto = coming[0].index - 1 if coming else self.raft.state.applied
        if upto > self.state.index:
            self.applier.replay(upto, lambda: self._context.turns.wake(self.id))

    def _offered(self, sender: str, message: SnapshotOffer) -> None:
        state = self.raft.state
        if sender != state.leader or (message.reseed and message.base.index < state.log.base.index):
            return  # the log behind such a copy is gone here: a newer one will be offered
        if not self.receiver.offered(sender, message, state.commit, self.state.fenced):
            known = min(state.commit, state.log.durability.durable)
            self._context.turns.post(sender, self.id, AppendReply(state.term, known))

    def reseed(self, peer: str) -> None:
        """Replace the state of `peer` by a copy of the leader's, here."""
        self.sender.offer(peer, reseed=True)
        self._context.turns.wake(self.id)

    def drain(self, on: bool) -> None:
        """Take no leadership, or, off again, any that comes."""
        self._drained = on
        self.raft.drain(on or self.state.fenced)

    def _fence_changed(self, fenced: bool) -> None:
        """A replica with a wrong state serves nobody and leads nobody; its log is as good as any."""
        self.state.fenced = fenced
        self.raft.drain(fenced or self._drained)

    _TAKES: ClassVar[dict[type, Callable[["Group", str, Any], None]]] = {
        Forward: lambda self, sender, message: self.requests.writes.forward_received(sender, message),
        ForwardReply: lambda self, sender, message: self.requests.writes.forward_answered(sender, message),
        ReadIndex: lambda self, sender, message: self.requests.reads.index_asked(sender, message),
        ReadIndexReply: lambda self, sender, message: self.requests.reads.index_answered(sender, message),
        SnapshotOffer: _offered,
        SnapshotRequest: lambda self, sender, message: self.sender.requested(sender, message),
        SnapshotChunk: lambda self, sender, message: self.receiver.chunk(sender, message),
        Digest: lambda self, sender, message: self.consistency.heard(sender, message),
        Fence: lambda self, _, message: self.consistency.fence(message),
    }

    # -- the end --------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Stop: refuse what waits, call the rest uncertain."""
        self.requests.abandon()
        self.membership.abandon()
        self.sender.stop()
        self.receiver.stop()
