"""One replica of one group: it joins consensus, state machine, disk, links, and the requests that wait.

This is the only place that carries out a `Ready`. Messages of `send_now` leave in the same turn; `persist`
goes to the disk, and `send_after_persist` leaves when it is durable; `apply` goes to the `Applier`, which
applies it in slices so that a long backlog never holds up the reactor.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kraft.host.applied_state import AppliedState
from kraft.host.consistency.checker import ConsistencyChecker
from kraft.host.context import GroupContext
from kraft.host.group.applier import Applier
from kraft.host.group.checkpoints import Checkpoints, CheckpointSettings, Waiter
from kraft.host.group.installation import SnapshotInstallation
from kraft.host.group.log_cut import LogCut
from kraft.host.group.strangers import Strangers
from kraft.host.group.version_raise import VersionRaise
from kraft.host.membership.changes import MembershipChanges
from kraft.host.replica_numbers import ReplicaNumbers
from kraft.host.requests.requests import Requests
from kraft.host.requests.timing import Timing
from kraft.host.snapshots.receiver import SnapshotReceiver
from kraft.host.snapshots.sender import SnapshotSender
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.node.errors import Refused
from kraft.peerwire.messages import (
    Digest,
    Fence,
    Message,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
)
from kraft.raft.elections import with_clock
from kraft.raft.errors import InvariantViolation
from kraft.raft.membership.replica_number import number_of
from kraft.raft.messages import Append, AppendReply, ConsensusMessage, Entry, Heartbeat, HeartbeatReply
from kraft.raft.raft import Raft
from kraft.raft.ready import Fetch, Outgoing, Ready
from kraft.raft.state import NO_LINKS


class Group:
    """A replica. All methods return at once; effects happen in `turn` and `finish`."""

    def __init__(
        self,
        id: int,  # noqa: A002
        raft: Raft,
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
            machine = Machine.restored(
                keyspace, checkpoint.base.stamp, checkpoint.revision, checkpoint.machine_version
            )
        self.id = id
        self.raft = raft
        self.membership = membership
        self.state = state = AppliedState(machine, 0 if checkpoint is None else checkpoint.base.index)
        self.requests = Requests(id, raft, state, context, timing, first_request)
        self.checkpoints = Checkpoints(
            id, state, context.disk, context.observer, checkpoints, checkpoint, self
        )
        self._version = version = VersionRaise(id, raft, state, self.requests, context)
        self.applier = Applier(
            id, raft, state, self.requests, self.checkpoints, version, context, timing.batch_bytes
        )
        self.consistency = ConsistencyChecker(id, raft, state, context, checkpoint)
        self._installation = SnapshotInstallation(
            id, raft, state, self.requests, self.applier, self.checkpoints, self.consistency, context
        )
        self.sender = SnapshotSender(id, self, context, snapshots)
        self.receiver = SnapshotReceiver(id, self._installation, context, snapshots)
        self.log_cut = LogCut(raft, state, self.checkpoints, self.sender, self.receiver)
        self._strangers = Strangers(raft.state)
        self.numbers = ReplicaNumbers(raft.state, number_of(raft.state.incarnation))
        self._context = context
        self._configuration = raft.state.configuration
        self._led = False  # as of the last turn
        self.drained = False
        self._handlers: dict[type, Callable[[str, Any], None]] = {
            **self.requests.handlers,
            SnapshotOffer: self._snapshot_offered,
            SnapshotRequest: self.sender.requested,
            SnapshotChunk: self.receiver.chunk,
            Digest: self.consistency.heard,
            Fence: self.consistency.fence,
        }
        state.fenced = fenced
        self.drain(False)
        version.applied(live=False)

    # -- links ----------------------------------------------------------------------------------------

    def received(self, sender: str, message: Message, *, for_this: bool = False) -> None:
        """Take a message from the link to `sender`, which had no numbers, or was found to be `for_this`."""
        numbered = self.numbers.in_use or self.raft.state.configuration is not self._configuration
        if numbered and not (for_this or self.numbers.takes(sender, message)):
            return
        if not isinstance(message, ConsensusMessage):
            self._handlers[type(message)](sender, message)
        elif not (message.is_reply and sender in self._strangers.ids):
            self.raft.step(sender, message)
            if type(message) is Heartbeat and self.raft.state.leader == sender:
                self.requests.reads.leader_heard(message)
            elif type(message) is HeartbeatReply:
                self.requests.leader_clock.heard(sender, message.wall_ms)
            if message.is_reply and not (self.raft.state.has_ready or self.requests.pending):
                return  # such as the answer of one more follower, after that of a majority
        self._context.turns.wake(self.id)

    def receiving(self, sender: str) -> None:
        """A part of a message arrived on the link to `sender`."""
        if sender not in self._strangers.ids:
            self.raft.receiving(sender)
            if self.raft.state.has_ready:
                self._context.turns.wake(self.id)

    def link_up(self, peer: str, incarnation: str) -> None:
        """A link to `peer` is open; its other end has this incarnation."""
        self._strangers.link_up(peer, incarnation)

    def link_down(self, peer: str, closed_by_peer: bool) -> bool:
        """The link to `peer` is gone. Returns whether the group has lost the leader that it followed."""
        self._strangers.link_down(peer)
        self.raft.unreachable(peer)
        self.requests.link_down(peer)
        self.sender.link_down(peer)
        self.receiver.link_down(peer)
        led = self.raft.state.leader == peer
        if closed_by_peer:
            self.raft.leader_lost(peer)
        self._context.turns.wake(self.id)
        return led and closed_by_peer and not self.raft.state.leader

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take `message`: what it carries is certainly lost."""
        if type(message) is Heartbeat:
            self._context.observer.heartbeat_unsent(self.id, peer)
        elif type(message) is Append:
            self.raft.unreachable(peer)
        self.requests.unsent(peer, message)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        strangers = self._strangers.ids
        if strangers:
            messages = [each for each in messages if each.message.is_reply or each.to not in strangers]
        self._context.turns.post_all(self.id, messages)

    # -- time -----------------------------------------------------------------------------------------

    def skip(self, ticks: int) -> None:
        """So many ticks of the host passed in which nothing was due here."""
        self.raft.skip(ticks)
        self.requests.reads.skip(ticks)
        self.membership.skip(ticks)

    def tick(self) -> None:
        """One tick of the host passed."""
        self.raft.mark_slow(self._context.slowness.slow)
        self.raft.tick(self._context.peers.network.windows() if self.raft.state.leads else NO_LINKS)
        now = self._context.clock.seconds()
        self.requests.tick(now, self._context.persistence.full)
        if self.sender.active:
            self.sender.tick(now, [each.peer for each in self.raft.progress() if each.state == "snapshot"])
        self.receiver.tick(now, self.raft.state.commit)
        self.consistency.tick(now)
        self.membership.tick(now)
        self._version.tick()
        self.log_cut.tick()
        self._context.turns.wake(self.id)

    # -- a turn ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let requests go on, and carry out what consensus wants. Once in a turn of the host."""
        self.requests.turn()
        raft_state = self.raft.state
        ready = self.raft.take_ready()
        if changed := raft_state.configuration is not self._configuration:
            self._configuration = raft_state.configuration
            self._strangers.reconfigured()
            self.reconfigured()
        if ready is not None:
            self._carry_out(ready)
        if changed:
            self._strangers.turned()
        if self._led != raft_state.leads:
            self._led = raft_state.leads
            if not self._led:
                self.sender.stop()
                self.checkpoints.follow()
                self.consistency.follow()

    def reconfigured(self) -> None:
        """Another configuration is in force: it says which links the node keeps."""
        configuration = self.raft.state.configuration
        voters, learners, joint = configuration.voters, configuration.learners, configuration.joint
        self._context.observer.event(
            "configuration_changed", group=self.id, voters=voters, learners=learners, joint=joint
        )
        self._context.peers.reconfigured(configuration, self.id)
        self.numbers.reconfigured(configuration)
        if self.numbers.in_use:
            self._context.turns.numbers[self.id] = self.numbers

    def _carry_out(self, ready: Ready) -> None:
        if ready.send_now:
            self._send(ready.send_now)
        if ready.persist is not None:
            if ready.restored is not None:
                self._installation.restore(ready.persist.sequence, ready.apply)
                self.drain(self.drained)  # the new state is not fenced
            self._context.persistence.add(self, ready.persist, ready.send_after_persist)
        if ready.apply:
            self.applier.add(ready.apply)
        for state in ready.reads:
            self.requests.reads.round_confirmed(state.ctx, state.index)
        for ctx in ready.reads_failed:
            self.requests.reads.round_failed(ctx)
        for fetch in ready.fetch:
            done = partial(self._fetched, fetch)
            self._context.disk.fetch(self.id, fetch.first, fetch.last, fetch.max_bytes, done)
        for peer in ready.snapshots:
            self.sender.offer(peer)

    def finish(self) -> None:
        """The messages of the turn are on their way: apply entries and answer requests."""
        if self.applier.waiting and not self.applier.replaying:
            started = self._context.clock.seconds()
            self.applier.apply_slice()
            self._context.observer.applied(self.id, self._context.clock.seconds() - started)
            if self.applier.waiting:
                self._context.turns.wake(self.id)
        self.requests.finish()

    def persisted(self, sequence: int, messages: Sequence[Outgoing]) -> None:
        """The write `sequence` and all before it are durable: send the messages that waited for it."""
        try:
            self.raft.persisted(sequence)
        except InvariantViolation as error:
            self._context.broken(error)
            raise
        if messages:
            self._send(messages if self.raft.state.leader else with_clock(self.raft.state, messages))
        if self.state.switching and sequence >= self.state.switching:
            self.state.switching = 0
        if self.raft.state.has_ready:  # else nothing is committed by it: the group waits for its followers
            self._context.turns.wake(self.id)

    def _fetched(self, fetch: Fetch, entries: Sequence[Entry]) -> None:
        """The disk has read the entries that consensus wants to send."""
        self.raft.fetched(fetch.peer, entries)
        self._context.turns.wake(self.id)

    # -- checkpoints and snapshots --------------------------------------------------------------------

    def take_checkpoint(self, done: Waiter) -> bool:
        """On the leader: log a marker. `done` gets the index of the checkpoint once it is durable here.

        It gets NotLeader when this replica stops leading first. Returns False when no marker can be logged at
        present.
        """
        index = self.requests.proposer.propose_marker()
        if index is None:
            return False
        self.checkpoints.when_durable(index, self.raft.state.term, done)
        self._context.turns.wake(self.id)
        return True

    def log_marker(self) -> None:
        """On the leader: log a marker, if that is possible now, because a checkpoint is due."""
        self.requests.proposer.propose_marker()
        self._context.turns.wake(self.id)

    @property
    def marker_waits(self) -> bool:
        """Whether a marker of this leader waits to be applied, or it holds to log that of an image."""
        return self.requests.proposer.marker_waits or self.requests.proposer.holds

    def checkpoint_completed(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is durable: compare it, and offer it to the replicas that wait for one."""
        self.consistency.completed(checkpoint)
        self.sender.checkpointed()
        self._context.turns.wake(self.id)

    def checkpoint_wanted(self) -> None:
        """There is no checkpoint to send yet: log a marker, unless a checkpoint is being written."""
        if not self.checkpoints.busy:
            self.requests.proposer.propose_marker()
            self._context.turns.wake(self.id)

    def snapshot_ended(self, peer: str) -> None:
        """The transfer of a snapshot to `peer` ended: consensus may name it again."""
        self.raft.snapshot_ended(peer)
        self._context.turns.wake(self.id)

    def reseed(self, peer: str) -> None:
        """On the leader: replace the state of `peer` by a copy of the state here."""
        self.sender.offer(peer, reseed=True)
        self._context.turns.wake(self.id)

    def _snapshot_offered(self, sender: str, message: SnapshotOffer) -> None:
        state = self.raft.state
        if sender != state.leader or (message.reseed and message.base.index < state.log.base.index):
            return  # the log after such a copy is gone here: a newer copy will be offered
        if not self.receiver.offered(sender, message, state.commit, self.state.fenced):
            known = min(state.commit, state.log.durability.durable)
            self._context.turns.post(sender, self.id, AppendReply(state.term, known))

    # -- leadership and the end -----------------------------------------------------------------------

    def transfer_leadership(self, to: str) -> None:
        """Transfer leadership to the voter `to`. Raises NotLeading or TransferRefused."""
        self.raft.transfer(to)
        self.requests.reads.drop_lease()  # before any message leaves

    def drain(self, on: bool) -> None:
        """While `on`, take no leadership. A fenced replica takes none anyway, as its state is wrong."""
        self.drained = on
        self.raft.drain(on or self.state.fenced)

    def abandon(self, refusal: Refused | None = None) -> None:
        """The replica stops: answer every caller that still waits, by `refusal` if the node does not stop."""
        self.requests.abandon(refusal)
        self.membership.abandon()
        self.sender.stop()
        self.receiver.stop()
