"""One replica of one group: consensus, state machine and those who wait for them.

This is the only place that carries out a `Ready`: `send_now` at once, `persist` through `Persistence`, then
`send_after_persist`, and `apply` in slices so that a long backlog never holds the reactor.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kraft.host.forwarding import Forwarding
from kraft.host.persistence import Persistence
from kraft.host.ports import Clock, Disk, DiskFull, NoLeader, Observer, Refused, Stopping
from kraft.host.proposals import Batch, Done, Outcome, Proposal, Proposals
from kraft.host.reads import ReadDone, Reader, Reads
from kraft.host.stamps import Stamps
from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.replies import encode_replies
from kraft.peerwire.messages import (
    DONE,
    NOT_PROPOSED,
    UNCERTAIN,
    Forward,
    ForwardReply,
    Message,
    ReadIndex,
    ReadIndexReply,
)
from kraft.raft.errors import InvariantViolation, LogFull
from kraft.raft.messages import Entry, EntryKind, HeartbeatReply
from kraft.raft.node import Node
from kraft.raft.ready import Fetch, Outgoing, Ready

APPLY_BYTES = 1 << 20  # entry data applied in one turn: some milliseconds of work
REPLAY_BYTES = 4 << 20  # entries read at once when a log is replayed
GATHER_POLLS = 16  # of the reactor, at most, while clients that were answered ask again
EXPIRY_INTERVAL = 1.0  # seconds between empty batches that remove due keys nobody reads


@dataclass(frozen=True, slots=True)
class Around:
    """What a group shares with its host."""

    clock: Clock
    disk: Disk
    persistence: Persistence
    observer: Observer
    post: Callable[[str, int, Message], None]  # queue a message for the end of this turn
    wake: Callable[["Group"], None]  # take part in the next turn
    broken: Callable[[Exception], None]  # an error that excludes going on: never comes back in production


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and bytes, from the configuration."""

    write_timeout: float
    leader_wait: float
    round_timeout: float
    batch_bytes: int
    batches_in_flight: int


class Group:
    """A replica. All entry points return at once; effects happen in `turn`."""

    def __init__(self, id: int, node: Node, around: Around, timing: Timing, first_request: int) -> None:  # noqa: A002
        self.id = id
        self.node = node
        self.machine = Machine()
        self.applied = 0
        self.stopping = False
        self._around = around
        self._timing = timing
        self._proposals = Proposals()
        self._forwarding = Forwarding(first_request, around.observer.forwarded)
        self._reads = Reads(id, first_request)
        self._stamps = Stamps(around.clock)
        self._to_apply: deque[Entry] = deque()
        self._term_led = 0  # the term whose stamps have been started
        self._leaderless_since = around.clock.seconds()
        self._snubbed: tuple[str, int] | None = None  # (leader, term) that said it does not lead
        self._expired_at = 0.0
        self._known_term = 0  # of the last own entry applied while leading
        self._log_full = False
        self._gathering = 0  # polls left
        self._gathered = 0

    # -- requests -------------------------------------------------------------------------------------

    def write(self, commands: Sequence[kv.Command], size: int, done: Done) -> None:
        """Propose here or at the leader; see `Host.write`."""
        now = self._around.clock.seconds()
        proposal = Proposal(commands, size, now, now + self._timing.write_timeout, done, remote=False)
        self._proposals.add(proposal)
        self._around.wake(self)

    def read(self, done: ReadDone) -> None:
        """See `Host.read`."""
        self._reads.add(Reader(self._around.clock.seconds(), done))
        self._around.wake(self)

    def received(self, sender: str, message: Message) -> None:
        """A message from the link to `sender`."""
        if isinstance(message, Forward):
            self._forward_received(sender, message)
        elif isinstance(message, ForwardReply):
            refused = self._forwarding.answered(sender, message)
            if refused:
                self._snub(sender)
                self._proposals.again(refused)
        elif isinstance(message, ReadIndex):
            self._reads.add(Reader(self._around.clock.seconds(), None, (sender, message.request)))
        elif isinstance(message, ReadIndexReply):
            if message.index:
                self._confirmed(message.request, message.index, message.stamp)
            else:
                self._snub(sender)
                self._reads.fail(message.request)
        else:
            if isinstance(message, HeartbeatReply):
                self._stamps.heard(sender, message.wall_ms)
            self.node.step(sender, message)
        self._around.wake(self)

    def link_down(self, peer: str, closed_by_peer: bool) -> bool:
        """The link to `peer` is gone; True when that leaves the group without the leader it followed."""
        self.node.unreachable(peer)
        lost = self._forwarding.lost(peer)
        if lost:
            self._around.observer.proposal(self.id, "uncertain", lost)
        self._reads.fail_asked(peer)
        was_leader = self.node.leader == peer
        if closed_by_peer:
            self.node.leader_lost(peer)
        self._around.wake(self)
        return was_leader and closed_by_peer

    def fetched(self, fetch: Fetch, entries: Sequence[Entry]) -> None:
        """Entries that a slow follower needs have been read from disk."""
        self.node.fetched(fetch.peer, entries)
        self._around.wake(self)

    def persisted(self, sequence: int, after: Sequence[Outgoing]) -> None:
        """See `persistence.Writer`."""
        try:
            self.node.persisted(sequence)
        except InvariantViolation as error:
            self._around.broken(error)
            raise
        for outgoing in after:
            self._around.post(outgoing.to, self.id, outgoing.message)
        self._around.wake(self)

    # -- time -----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of the host."""
        self.node.tick()
        now = self._around.clock.seconds()
        self._snubbed = None
        self._log_full = False
        if self.leads:
            self._start_clock()
            self._stamps.correct()
            self._expire_keys(now)
        self._expire_clients(now)
        self._around.wake(self)

    @property
    def leads(self) -> bool:
        """This replica is the leader as far as it knows."""
        return self.node.leader == self.node.id

    def _expire_keys(self, now: float) -> None:
        if self._expired_at + EXPIRY_INTERVAL <= now and self.node.leads_with_commit:
            self._expired_at = now
            self._log_due_expiry()

    def _expire_clients(self, now: float) -> None:
        observer, timing = self._around.observer, self._timing
        busy, uncertain = self._proposals.expire(now)
        uncertain += self._forwarding.expire(now)
        if busy:
            observer.proposal(self.id, "timeout", busy)
        if uncertain:
            observer.proposal(self.id, "uncertain", uncertain)
        late = self._reads.expire(now, timing.round_timeout, timing.leader_wait)
        if late:
            observer.read(self.id, "read_index", "refused", 0.0)
        if self.node.leader:
            self._leaderless_since = now
        elif self._leaderless_since + timing.leader_wait <= now:
            why: Refused = DiskFull() if self._around.persistence.full else NoLeader(self.id)
            refused = self._proposals.refuse_older(now - timing.leader_wait, why)
            if refused:
                observer.proposal(self.id, "rejected", refused)

    # -- a turn ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Close batches, begin reads, carry out what the core wants. Once per turn of the host."""
        if self._proposals.waiting or self._reads.open:
            self._serve_clients()
        ready = self.node.ready()
        if ready is not None:
            self._carry_out(ready)

    def finish(self) -> None:
        """After the turn's messages are on their way: apply and answer."""
        if self._to_apply:
            self._apply_slice()
        if self._reads.confirmed:
            self._answer_reads()
        if (self._proposals.waiting or self._reads.waiting) and self._may_go_on:
            self._around.wake(self)

    def _serve_clients(self) -> None:
        self._reads.fail_asked_before(self.node.leader)
        if self.leads:
            self._lead()
            return
        self._refuse_remote()
        if self._asks_leader:
            self._follow(self.node.leader)

    def _gather(self) -> None:
        """Several clients were answered and are about to ask again: let the next batch or round take all.

        Goes on from poll to poll of the reactor as long as each brings more, and never waits for time.
        """
        if not self._gathering:
            self._gathering = GATHER_POLLS
            self._gathered = 0
            self._around.clock.call_later(0, self._gather_more)

    def _gather_more(self) -> None:
        demand = self._proposals.waiting + self._reads.waiting
        self._gathering -= 1
        if self._gathering and demand > self._gathered:
            self._gathered = demand
            self._around.clock.call_later(0, self._gather_more)
        else:
            self._gathering = 0
            self._around.wake(self)

    @property
    def _may_go_on(self) -> bool:
        """Another turn would get further; without this test a group that cannot would spin."""
        if self._gathering:
            return False
        if self.leads:
            writes = self._proposals.waiting > 0 and self._room
            return not self._log_full and (writes or (self._reads.wanted and self._knows_keys))
        return self._reads.wanted and self._asks_leader

    @property
    def _room(self) -> bool:
        return self._proposals.in_flight(self.node.term) < self._timing.batches_in_flight

    @property
    def _knows_keys(self) -> bool:
        """What earlier leaders committed is applied here, so that it is known which keys are due."""
        term = self.node.term
        if self._known_term != term and self.node.term_at(self.applied) == term:
            self._known_term = term
        return self._known_term == term

    @property
    def _asks_leader(self) -> bool:
        """Another node leads, and has not just said that it does not."""
        return bool(self.node.leader) and self._snubbed != (self.node.leader, self.node.term)

    def _lead(self) -> None:
        if self._gathering:
            return
        while self._proposals.waiting and self._room:
            if not self._propose(self._proposals.take(self._timing.batch_bytes)):
                break
        if self._reads.wanted and self._knows_keys:
            floor = self._log_due_expiry()
            if floor is not None:
                self.node.read(self._reads.begin(self._stamp(), self._around.clock.seconds()), floor)

    def _propose(self, proposals: list[Proposal]) -> bool:
        if not proposals:
            return False
        if len(proposals) == 1:
            commands = list(proposals[0].commands)
        else:
            commands = [c for p in proposals for c in p.commands]
        try:
            index, term = self.node.propose(EntryKind.COMMANDS, self._stamp(), kv.encode(commands))
        except LogFull:
            self._log_full = True  # until something is applied, or the next tick
            self._proposals.again(proposals)
            return False
        self._proposals.log(Batch(index, term, proposals, commands, self._around.clock.seconds()))
        return True

    def _stamp(self) -> int:
        """The running stamp of the term this node leads."""
        self._start_clock()
        return max(self._stamps.now(), self.node.last_stamp)

    def _start_clock(self) -> None:
        """A term's stamps start from the clocks of its election, within a tick of it."""
        if self._term_led != self.node.term:
            self._term_led = self.node.term
            self._stamps.lead(self.node.last_stamp, self.node.vote_clocks.values())

    def _log_due_expiry(self) -> int | None:
        """The index that a read begun now must wait for; None when it cannot be logged at present.

        Keys that are past their expiry by the running stamp vanish with an empty batch, logged first.
        """
        due = self.machine.next_expiry()
        now = self._stamp()
        if due is None or due > now:
            return 0
        if self.node.last_stamp < due:
            try:
                self.node.propose(EntryKind.NOOP, now, b"")
            except LogFull:
                self._log_full = True
                return None
        return self.node.last_index

    def _follow(self, leader: str) -> None:
        if self._gathering:
            return
        now = self._around.clock.seconds()
        if self._proposals.waiting and self._forwarding.pending_at(leader) < self._timing.batches_in_flight:
            proposals = self._proposals.take(self._timing.batch_bytes)
            if proposals:
                self._around.post(leader, self.id, self._forwarding.request(leader, proposals, now))
        if self._reads.wanted:
            self._around.post(leader, self.id, ReadIndex(self._reads.begin(0, now, leader)))

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take this message: see `ports.Network.send`."""
        if isinstance(message, Forward):
            self._proposals.again(self._forwarding.unsent(message.request))
            self._snub(peer)
        elif isinstance(message, ReadIndex):
            self._reads.fail(message.request)
            self._snub(peer)

    def _snub(self, peer: str) -> None:
        """If `peer` is the leader, ask it again only after the next tick, or when there is another."""
        if peer == self.node.leader:
            self._snubbed = (peer, self.node.term)

    def _refuse_remote(self) -> None:
        for proposal in self._proposals.take_remote():
            proposal.settle(NoLeader(self.id))
        for peer, request in self._reads.take_remote():
            self._around.post(peer, self.id, ReadIndexReply(request, 0, 0))

    def _forward_received(self, sender: str, message: Forward) -> None:
        def answer(outcome: Outcome) -> None:
            if isinstance(outcome, list):
                reply = ForwardReply(message.request, DONE, encode_replies(outcome))
            elif isinstance(outcome, Refused):
                reply = ForwardReply(message.request, NOT_PROPOSED, b"")
            else:
                reply = ForwardReply(message.request, UNCERTAIN, b"")
            self._around.post(sender, self.id, reply)

        if not self.leads or self.stopping:
            answer(Stopping())
            return
        now = self._around.clock.seconds()
        deadline = now + message.timeout_ms / 1000.0
        commands = kv.decode(message.commands)
        self._proposals.add(Proposal(commands, len(message.commands), now, deadline, answer, remote=True))

    def _carry_out(self, ready: Ready) -> None:
        around = self._around
        for outgoing in ready.send_now:
            around.post(outgoing.to, self.id, outgoing.message)
        if ready.persist is not None:
            around.persistence.add(self, ready.persist, ready.send_after_persist)
        self._to_apply.extend(ready.apply)
        for state in ready.reads:
            self._confirmed(state.ctx, state.index, 0)
        for ctx in ready.reads_failed:
            self._reads.fail(ctx)
        for fetch in ready.fetch:
            self._fetch(fetch)

    def _fetch(self, fetch: Fetch) -> None:
        self._around.disk.fetch(
            self.id, fetch.first, fetch.last, fetch.max_bytes, lambda entries: self.fetched(fetch, entries)
        )

    def _confirmed(self, ctx: int, index: int, stamp: int) -> None:
        for peer, request, at, running in self._reads.confirm(ctx, index, stamp):
            self._around.post(peer, self.id, ReadIndexReply(request, at, running))

    # -- apply ----------------------------------------------------------------------------------------

    def _apply_slice(self) -> None:
        started = self._around.clock.seconds()
        size = 0
        while self._to_apply and size < APPLY_BYTES:
            entry = self._to_apply.popleft()
            size += len(entry.data)
            self._apply(entry)
        self._around.observer.applied(self.id, self._around.clock.seconds() - started)
        if self._to_apply:
            self._around.wake(self)

    def _apply(self, entry: Entry) -> None:
        batch = self._proposals.applied(entry.index, entry.term)
        try:
            replies = self._change(entry, batch)
        except Exception as error:  # going on would leave out an entry that the others apply
            self._around.broken(error)
            raise
        self.applied = entry.index
        self._log_full = False
        if batch is not None:
            self._answer(batch, replies)

    def _change(self, entry: Entry, batch: Batch | None) -> list[kv.Reply]:
        if entry.kind != EntryKind.COMMANDS:
            return self.machine.apply(entry.stamp, ())
        commands = batch.commands if batch is not None else kv.decode(entry.data)
        return self.machine.apply(entry.stamp, commands)

    def _answer(self, batch: Batch, replies: list[kv.Reply]) -> None:
        seconds = self._around.clock.seconds() - batch.logged_at
        self._around.observer.committed(self.id, seconds, len(batch.proposals))
        if len(batch.proposals) == 1:
            batch.proposals[0].settle(replies)
            return
        self._gather()
        start = 0
        for proposal in batch.proposals:
            end = start + len(proposal.commands)
            proposal.settle(replies[start:end])
            start = end

    def _answer_reads(self) -> None:
        now = self._around.clock.seconds()
        for begun, readers in self._reads.answer(self.applied, self.machine.keyspace, self.machine.stamp):
            self._around.observer.read(self.id, "read_index", "served", now - begun)
            if readers > 1:
                self._gather()

    def replay(self, upto: int, done: Callable[[], None]) -> None:
        """Apply the log from the start up to `upto`, piece by piece, then `done`."""

        def apply(entries: Sequence[Entry]) -> None:
            for entry in entries:
                self._apply(entry)
            more()

        def more() -> None:
            if self.applied >= upto:
                done()
            else:
                self._around.disk.fetch(self.id, self.applied + 1, upto, REPLAY_BYTES, apply)

        more()

    # -- the end --------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Writes that are not logged yet."""
        return self._proposals.waiting

    def clock_offsets(self) -> dict[str, int]:
        """Voters' wall clocks minus ours in milliseconds; empty unless leading."""
        return self._stamps.offsets() if self.leads else {}

    def abandon(self) -> None:
        """Stop: refuse what waits, call the rest uncertain."""
        self._proposals.abandon()
        self._forwarding.abandon()
        self._reads.abandon()
