"""What clients and other nodes ask of one replica: writes and reads, on their way to the leader and back.

On the leader, writes that wait become one entry, and reads that wait share one round, or the lease of the
last one. On any other replica both go to the leader: writes as a `Forward`, reads as a question for an index.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kraft.host.applier import Applier, Replies
from kraft.host.ports import HostObserver
from kraft.host.requests.coalescing import Coalescer
from kraft.host.requests.forwarding import Forwarding
from kraft.host.requests.leader_clock import LeaderClock
from kraft.host.requests.lease import Lease
from kraft.host.requests.proposals import Batch, Done, Outcome, Proposal, Proposals
from kraft.host.requests.read_rounds import ReadDone, Reader, Reads, View, read_at
from kraft.host.requests.staleness import Staleness
from kraft.kv import commands as kv
from kraft.kv.replies import encode_replies
from kraft.node.errors import DiskFull, NoLeader, Refused, Stopping, TooStale
from kraft.node.ports import Clock
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
from kraft.raft.errors import LogFull, NotLeading
from kraft.raft.messages import Entry, EntryKind, Heartbeat, HeartbeatReply
from kraft.raft.raft import Raft

EXPIRY_INTERVAL = 1.0  # seconds between empty batches that remove due keys nobody reads


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and bytes, from the configuration. `lease` is how long a confirmed round serves readers."""

    write_timeout: float
    leader_wait: float
    round_timeout: float
    election_ticks: int
    batch_bytes: int
    batches_in_flight: int
    lease: float = 0.0
    max_staleness: float = 10.0


class Serving:
    """One replica's. `post` sends a message to a peer, `wake` asks for a part in the next turn."""

    def __init__(
        self,
        id: int,  # noqa: A002
        node: Raft,
        applying: Applier,
        clock: Clock,
        observer: HostObserver,
        post: Callable[[str, Message], None],
        wake: Callable[[], None],
        timing: Timing,
        first_request: int,
    ) -> None:
        self.stopping = False
        self.fenced = False
        self._id = id
        self._node = node
        self._applying = applying
        self._clock = clock
        self._observer = observer
        self._post = post
        self._wake = wake
        self._timing = timing
        self._proposals = Proposals()
        self._forwarding = Forwarding(first_request, observer.forwarded)
        self._reads = Reads(id, first_request)
        self._freshness = Staleness()
        self._last_tick = self._tick_before = clock.seconds()
        self._ticks: deque[float] = deque(maxlen=timing.election_ticks + 1)  # their times, while leading
        self._stamps = LeaderClock(clock)
        self._batch: Batch | None = None  # of the entry being applied, if it is ours
        self._term_led = 0  # the term whose stamps have been started
        self._leaderless_since = clock.seconds()
        self._snubbed: tuple[str, int] | None = None  # (leader, term) that said it does not lead
        self._expired_at = 0.0
        self._known_term = 0  # of the last own entry applied while leading
        self._lease = Lease(timing.lease)
        self._log_full = False
        self._gathering = Coalescer(clock, self._demand, wake)

    # -- requests -------------------------------------------------------------------------------------

    def write(self, commands: Sequence[kv.Command], size: int, done: Done) -> None:
        """Propose here or at the leader; see `Host.write`."""
        now = self._clock.seconds()
        proposal = Proposal(commands, size, now, now + self._timing.write_timeout, done, remote=False)
        self._proposals.add(proposal)
        self._wake()

    def read(self, done: ReadDone, fresh: bool) -> None:
        """See `Host.read`."""
        self._reads.add(Reader(self._clock.seconds(), done, fresh=fresh))
        self._wake()

    def read_stale(self, done: ReadDone) -> None:
        """See `Host.read_stale`. A leader that cannot be sure of its age asks, as for any other read."""

        def serve() -> None:
            stale = self._age > self._timing.max_staleness
            if stale and self.leads:
                self.read(done, fresh=False)
            elif stale:
                self._observer.read(self._id, "stale", "refused", 0.0)
                done(TooStale(self._id))
            elif self.fenced:
                done(NoLeader(self._id))
            else:
                self._observer.read(self._id, "stale", "served", 0.0)
                machine = self._applying.machine
                done(View(machine.keyspace, read_at(machine.stamp, machine.keyspace)))

        self._clock.call_later(0, serve)

    @property
    def _age(self) -> float:
        """Seconds since the state was certainly up to date."""
        return self._freshness.age(self._clock.seconds(), self._applying.index)

    def answered(self, leader: str, message: ForwardReply) -> None:
        """The leader's answer to writes that it was sent."""
        refused = self._forwarding.answered(leader, message)
        if refused:
            self._snub(leader)
            self._proposals.again(refused)

    def asked(self, peer: str, message: ReadIndex) -> None:
        """Another node asks this one, as the leader, for a read index."""
        request = (peer, message.request)
        self._reads.add(Reader(self._clock.seconds(), None, request, fresh=message.fresh))

    def told(self, leader: str, message: ReadIndexReply) -> None:
        """The leader's answer to such a question."""
        if message.index:
            self.confirmed(message.request, message.index, message.stamp)
        else:
            self._snub(leader)
            self._reads.fail(message.request)

    def heard(self, peer: str, message: HeartbeatReply) -> None:
        """A wall clock came with an answer; those of voters count."""
        if peer in self._node.configuration.electors:
            self._stamps.heard(peer, message.wall_ms)

    def reconfigured(self) -> None:
        """Others vote now."""
        self._stamps.count_only(self._node.configuration.electors)

    def led_by(self, message: Heartbeat) -> None:
        """The leader is there, and said how far it is."""
        # In a process that was paused the messages of long ago are read first, before any tick: what is known
        # is only that they came before now, so the time of the last tick but one has to do.
        self._freshness.heard(self._tick_before, message.newest, self._applying.index)

    def restored(self) -> None:
        """The state is a copy of the leader's, perhaps older than what was here."""
        self._freshness = Staleness()

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        lost = self._forwarding.lost(peer)
        if lost:
            self._observer.proposal(self._id, "uncertain", lost)
        self._reads.fail_asked(peer)

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take this message: see `ports.Network.send`."""
        if isinstance(message, Forward):
            self._proposals.again(self._forwarding.unsent(message.request))
            self._snub(peer)
        elif isinstance(message, ReadIndex):
            self._reads.fail(message.request)
            self._snub(peer)

    # -- time -----------------------------------------------------------------------------------------

    def tick(self, now: float, disk_full: bool) -> None:
        """One tick of the host."""
        self._tick_before, self._last_tick = self._last_tick, now
        self._snubbed = None
        self._log_full = False
        if self.leads:
            self._start_clock()
            self._stamps.correct()
            self._expire_keys(now)
            self._count_tick(now)
        else:
            self._ticks.clear()
        self._expire_clients(now, disk_full)

    def _count_tick(self, now: float) -> None:
        """A majority was there within the last election timeout, else this node would lead no more.

        That is counted in ticks, which come late in a process that was paused: their times count here.
        """
        self._ticks.append(now)
        if len(self._ticks) == self._ticks.maxlen:
            self._freshness.heard(self._ticks[0], self._node.commit, self._applying.index)

    @property
    def leads(self) -> bool:
        """This replica is the leader as far as it knows."""
        return self._node.leader == self._node.id

    @property
    def waiting(self) -> int:
        """Writes that are not logged yet."""
        return self._proposals.waiting

    @property
    def waiting_bytes(self) -> int:
        """Of these writes."""
        return self._proposals.waiting_bytes

    def _expire_keys(self, now: float) -> None:
        if self._expired_at + EXPIRY_INTERVAL <= now and self._proposes and self._node.leads_with_commit:
            self._expired_at = now
            self._log_due_expiry()

    def _expire_clients(self, now: float, disk_full: bool) -> None:
        observer, timing = self._observer, self._timing
        busy, uncertain = self._proposals.expire(now)
        uncertain += self._forwarding.expire(now)
        if busy:
            observer.proposal(self._id, "timeout", busy)
        if uncertain:
            observer.proposal(self._id, "uncertain", uncertain)
        late = self._reads.expire(now, timing.round_timeout, timing.leader_wait)
        if late:
            observer.read(self._id, "read_index", "refused", 0.0)
        if self._node.leader:
            self._leaderless_since = now
        elif self._leaderless_since + timing.leader_wait <= now:
            why: Refused = DiskFull() if disk_full else NoLeader(self._id)
            refused = self._proposals.refuse_older(now - timing.leader_wait, why)
            if refused:
                observer.proposal(self._id, "rejected", refused)

    # -- a turn ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Close batches, begin reads, ask the leader."""
        if not (self._proposals.waiting or self._reads.open):
            return
        self._reads.fail_asked_before(self._node.leader)
        if self.leads:
            self._lead()
            return
        self._refuse_remote()
        if self._asks_leader:
            self._follow(self._node.leader)

    def finish(self) -> None:
        """After the turn's messages are on their way, and entries are applied: answer readers, go on."""
        if self._reads.confirmed:
            self._answer_reads()
        if self._demand() and self._may_go_on:
            self._wake()

    def _demand(self) -> int:
        return self._proposals.waiting + self._reads.waiting

    @property
    def _may_go_on(self) -> bool:
        """Another turn would get further; without this test a group that cannot would spin."""
        if self._gathering.under_way:
            return False
        if self.leads:
            writes = self._proposals.waiting > 0 and self._room
            return not self._log_full and (writes or (self._reads.wanted and self._knows_keys))
        return self._reads.wanted and self._asks_leader

    @property
    def _room(self) -> bool:
        in_flight = self._proposals.in_flight(self._node.term)
        return self._proposes and in_flight < self._timing.batches_in_flight

    @property
    def _proposes(self) -> bool:
        """Nothing is logged while leadership is handed over: it would only delay the successor.

        Nor out of a state that is known to be wrong, as replies are made of it.
        """
        return not (self._node.transferring or self.fenced)

    @property
    def _knows_keys(self) -> bool:
        """What earlier leaders committed is applied here, so that it is known which keys are due."""
        term = self._node.term
        if self._known_term != term and self._applied_term == term:
            self._known_term = term
        return self._known_term == term

    @property
    def _applied_term(self) -> int:
        return self._node.term_at(self._applying.index)

    @property
    def _asks_leader(self) -> bool:
        """Another node leads, and has not just said that it does not."""
        return bool(self._node.leader) and self._snubbed != (self._node.leader, self._node.term)

    # -- leading --------------------------------------------------------------------------------------

    def _lead(self) -> None:
        if self._gathering.under_way:
            return
        while self._proposals.waiting and self._room:
            if not self._propose(self._proposals.take(self._timing.batch_bytes)):
                break
        if self._reads.wanted and self._knows_keys:
            floor = self._log_due_expiry()
            if floor is not None:
                self._begin_round(floor)

    def _begin_round(self, floor: int) -> None:
        now = self._clock.seconds()
        leased = not self._reads.fresh and self._lease.holds(self._node.term, now)
        ctx = self._reads.begin(self.stamp(), now, kind="lease" if leased else "read_index")
        if leased:
            self.confirmed(ctx, max(self._node.commit, floor), 0)
        else:
            self._node.read(ctx, floor)

    def drop_lease(self) -> None:
        """Leadership is about to be handed over."""
        self._lease.drop(self._node.term)

    def round_confirmed(self, ctx: int, index: int) -> None:
        """A majority answered the round that began this `ctx`."""
        begun = self._reads.begun(ctx)
        if begun is not None:
            self._lease.grant(self._node.term, begun)
        self.confirmed(ctx, index, 0)

    def _propose(self, proposals: list[Proposal]) -> bool:
        if not proposals:
            return False
        if len(proposals) == 1:
            commands = list(proposals[0].commands)
        else:
            commands = [c for p in proposals for c in p.commands]
        try:
            index, term = self._node.propose(EntryKind.COMMANDS, self.stamp(), kv.encode(commands))
        except LogFull:
            self._log_full = True  # until something is applied, or the next tick
            self._proposals.again(proposals)
            return False
        self._proposals.log(Batch(index, term, proposals, commands, self._clock.seconds()))
        return True

    def propose_marker(self) -> int | None:
        """Log a marker; its index, None when that cannot be now."""
        if not (self._proposes and self._node.leads_with_commit):
            return None
        try:
            return self._node.propose(EntryKind.MARKER, self.stamp(), b"")[0]
        except (LogFull, NotLeading):
            return None

    def stamp(self) -> int:
        """The running stamp of the term this node leads."""
        self._start_clock()
        return max(self._stamps.now(), self._node.last_stamp)

    def _start_clock(self) -> None:
        """A term's stamps start from the clocks of its election, within a tick of it."""
        if self._term_led != self._node.term:
            self._term_led = self._node.term
            self._stamps.lead(self._node.last_stamp, self._node.vote_clocks.values())

    def _log_due_expiry(self) -> int | None:
        """The index that a read begun now must wait for; None when it cannot be logged at present.

        Keys that are past their expiry by the running stamp vanish with an empty batch, logged first.
        """
        due = self._applying.machine.next_expiry()
        now = self.stamp()
        if due is None or due > now:
            return 0
        if self._node.last_stamp < due:
            if not self._proposes:
                self._log_full = True  # not before the next tick: a read that waits for this would spin
                return None
            try:
                self._node.propose(EntryKind.NOOP, now, b"")
            except LogFull:
                self._log_full = True
                return None
        return self._node.last_index

    # -- following ------------------------------------------------------------------------------------

    def _follow(self, leader: str) -> None:
        if self._gathering.under_way:
            return
        now = self._clock.seconds()
        if self._proposals.waiting and self._forwarding.pending_at(leader) < self._timing.batches_in_flight:
            proposals = self._proposals.take(self._timing.batch_bytes)
            if proposals:
                self._post(leader, self._forwarding.request(leader, proposals, now))
        if self._reads.wanted:
            fresh = self._reads.fresh
            self._post(leader, ReadIndex(self._reads.begin(0, now, leader), fresh))

    def _snub(self, peer: str) -> None:
        """If `peer` is the leader, ask it again only after the next tick, or when there is another."""
        if peer == self._node.leader:
            self._snubbed = (peer, self._node.term)

    def _refuse_remote(self) -> None:
        for proposal in self._proposals.take_remote():
            proposal.settle(NoLeader(self._id))
        for peer, request in self._reads.take_remote():
            self._post(peer, ReadIndexReply(request, 0, 0))

    def forwarded(self, sender: str, message: Forward) -> None:
        """Another node sends writes to this one as the leader."""

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome, list):
                reply = ForwardReply(message.request, DONE, encode_replies(outcome))
            elif isinstance(outcome, Refused):
                reply = ForwardReply(message.request, NOT_PROPOSED, b"")
            else:
                reply = ForwardReply(message.request, UNCERTAIN, b"")
            self._post(sender, reply)

        if not self.leads or self.stopping or not self._proposes:
            answer(Stopping())
            return
        now = self._clock.seconds()
        deadline = now + message.timeout_ms / 1000.0
        commands = kv.decode(message.commands)
        self._proposals.add(Proposal(commands, len(message.commands), now, deadline, answer, remote=True))

    # -- answers --------------------------------------------------------------------------------------

    def confirmed(self, ctx: int, index: int, stamp: int) -> None:
        """The reads of `ctx` may be answered once `index` is applied; other nodes are told at once."""
        for peer, request, at, running in self._reads.confirm(ctx, index, stamp):
            self._post(peer, ReadIndexReply(request, at, running))

    def read_failed(self, ctx: int) -> None:
        """The round of `ctx` was not confirmed: its reads ask again."""
        self._reads.fail(ctx)

    def next(self, entry: Entry) -> Sequence[kv.Command] | None:
        """`entry` is about to be applied: its commands, if it is our own."""
        self._batch = self._proposals.applied(entry.index, entry.term)
        return None if self._batch is None else self._batch.commands

    def applied(self, replies: Replies) -> None:
        """The entry of the last `next` was applied: answer those who wait for it."""
        self._log_full = False
        batch, self._batch = self._batch, None
        if batch is None:
            return
        seconds = self._clock.seconds() - batch.logged_at
        self._observer.committed(self._id, seconds, len(batch.proposals))
        if len(batch.proposals) == 1:
            batch.proposals[0].settle(replies)
            return
        self._gathering.begin()
        start = 0
        for proposal in batch.proposals:
            end = start + len(proposal.commands)
            proposal.settle(replies[start:end])
            start = end

    def skipped(self, index: int) -> None:
        """A snapshot took the place of all entries up to `index`."""
        lost = self._proposals.skipped(index)
        if lost:
            self._observer.proposal(self._id, "uncertain", lost)

    def _answer_reads(self) -> None:
        if self.fenced:
            self._reads.refuse_confirmed()
            return
        now = self._clock.seconds()
        machine = self._applying.machine
        index, keyspace, stamp = self._applying.index, machine.keyspace, machine.stamp
        for begun, readers, kind in self._reads.answer(index, keyspace, stamp):
            self._observer.read(self._id, kind, "served", now - begun)
            if readers > 1:
                self._gathering.begin()

    def clock_offsets(self) -> dict[str, int]:
        """Voters' wall clocks minus ours in milliseconds; empty unless leading."""
        return self._stamps.offsets() if self.leads else {}

    def abandon(self) -> None:
        """Stop: refuse what waits, call the rest uncertain."""
        self._proposals.abandon()
        self._forwarding.abandon()
        self._reads.abandon()
