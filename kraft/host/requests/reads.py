"""Reads of one replica's clients, and questions of other nodes for a read index.

On the leader all reads that wait share one read round, or the lease of an earlier one. Any other replica asks
the leader for an index. Stale reads look at this replica's own state, as long as it is not too old.
"""

from collections import deque
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.coalescer import Coalescer
from kraft.host.requests.leader_clock import LeaderClock
from kraft.host.requests.leader_route import LeaderRoute
from kraft.host.requests.lease import Lease
from kraft.host.requests.proposer import Proposer
from kraft.host.requests.read_rounds import ReadRounds, read_at
from kraft.host.requests.round import LEASE, READ_INDEX, STALE, ReadDone, Reader, View
from kraft.host.requests.staleness import Staleness
from kraft.host.requests.timing import Timing
from kraft.node.errors import NoLeader, Refused, TooStale
from kraft.peerwire.messages import ReadIndex, ReadIndexReply
from kraft.raft.messages import Heartbeat
from kraft.raft.raft import Raft


class Reads:
    """The reads of one replica, with what it knows of its leader: its lease, and the age of its own state."""

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        rounds: ReadRounds,
        leader_clock: LeaderClock,
        proposer: Proposer,
        route: LeaderRoute,
        coalescer: Coalescer,
        context: GroupContext,
        timing: Timing,
    ) -> None:
        self._group = group
        self._raft = raft
        self._state = state
        self._rounds = rounds
        self._leader_clock = leader_clock
        self._proposer = proposer
        self._route = route
        self._coalescer = coalescer
        self._clock = context.clock
        self._observer = context.observer
        self._turns = context.turns
        self._leader_wait = timing.leader_wait
        self._max_staleness = timing.max_staleness
        self._lease = Lease(timing.lease) if timing.lease else None
        self._staleness = Staleness()
        self._last_tick = self._tick_before = context.clock.seconds()
        self._ticks: deque[float] = deque(maxlen=timing.election_ticks + 1)  # their times, while leading
        self._known_term = 0  # the last term of which an entry was applied while leading

    # -- requests -------------------------------------------------------------------------------------

    def read(self, done: ReadDone, fresh: bool) -> None:
        """Confirm a linearizable read; `done` gets a `View` to look at, or a `Refused`.

        A `fresh` read does not rely on a lease, whatever the configuration says.
        """
        self._rounds.add(Reader(self._clock.seconds() + self._leader_wait, done, fresh=fresh))
        self._turns.wake(self._group)

    def read_stale(self, done: ReadDone) -> None:
        """Read this replica's own state; `done` gets a `View`, or a `Refused` such as `TooStale`.

        A leader that cannot be sure of the age of its state confirms the read like any other.
        """
        self._clock.call_soon(partial(self._serve_stale, done))

    def _serve_stale(self, done: ReadDone) -> None:
        state = self._state
        stale = self._staleness.age(self._clock.seconds(), state.index) > self._max_staleness
        if stale and self._raft.state.leads:
            self.read(done, fresh=False)
        elif stale:
            self._observer.read(self._group, STALE, "refused", 0.0)
            done(TooStale(self._group))
        elif state.fenced:
            done(NoLeader(self._group))
        else:
            self._observer.read(self._group, STALE, "served", 0.0)
            machine = state.machine
            at = read_at(machine.stamp, machine.keyspace)
            done(View(machine.keyspace, at, machine.revision))

    def index_asked(self, peer: str, message: ReadIndex) -> None:
        """Another node asks this one, as the leader, for a read index."""
        deadline = self._clock.seconds() + self._leader_wait
        self._rounds.add(Reader(deadline, None, (peer, message.request), message.fresh))

    def index_answered(self, leader: str, message: ReadIndexReply) -> None:
        """The leader's answer to a `ReadIndex` of this node; index 0 means refused."""
        if message.index:
            self._confirm(message.request, message.index, message.stamp)
        else:
            self._route.refused(leader)
            self._rounds.fail(message.request)

    def index_unsent(self, leader: str, message: ReadIndex) -> None:
        """The link to `leader` did not take `message`."""
        self._rounds.fail(message.request)
        self._route.refused(leader)

    # -- a turn ---------------------------------------------------------------------------------------

    @property
    def knows_keys(self) -> bool:
        """Whether all that earlier leaders committed is applied here: then it is known which keys are due.

        A leader begins no round before that.
        """
        term = self._raft.state.term
        if self._known_term != term and self._raft.state.term_at(self._state.index) == term:
            self._known_term = term
        return self._known_term == term

    def begin(self) -> None:
        """On the leader: begin a round for the reads that wait, or let a lease confirm them."""
        if not self.knows_keys:
            return
        stamp = self._leader_clock.stamp()
        floor = 0
        due = self._state.machine.keyspace.due
        if due.live and (time := due.next()) is not None and time <= stamp:
            expiry = self._proposer.propose_expiry(time, stamp)
            if expiry is None:
                return
            floor = expiry  # the key is gone in what this read looks at
        now, rounds, raft = self._clock.seconds(), self._rounds, self._raft
        lease = self._lease
        if lease is not None and lease.holds(raft.state.term, now) and not rounds.fresh:
            self._confirm(rounds.begin(stamp, now, kind=LEASE), max(raft.state.commit, floor), 0)
        else:
            raft.read(rounds.begin(stamp, now), floor)

    def ask(self, leader: str) -> None:
        """On any other replica: ask `leader` for an index for the reads that wait."""
        if self._rounds.wanted:
            fresh = self._rounds.fresh
            request = self._rounds.begin(0, self._clock.seconds(), leader)
            self._turns.post(leader, self._group, ReadIndex(request, fresh))

    def refuse_remote(self) -> None:
        """This replica does not lead: refuse the questions of other nodes."""
        for peer, request in self._rounds.take_remote():
            self._turns.post(peer, self._group, ReadIndexReply(request, 0, 0))

    # -- outcomes -------------------------------------------------------------------------------------

    def round_confirmed(self, ctx: int, index: int) -> None:
        """Consensus has proof of leadership (`Ready.reads`) for the read round `ctx` of this leader."""
        round_ = self._rounds.under_way
        if self._lease is not None and round_ is not None and round_.ctx == ctx:
            self._lease.grant(self._raft.state.term, round_.begun)
        self._confirm(ctx, index, 0)

    def round_failed(self, ctx: int) -> None:
        """This node lost leadership before the round `ctx` was confirmed: its reads wait for another one."""
        self._rounds.fail(ctx)

    def _confirm(self, ctx: int, index: int, stamp: int) -> None:
        """Reads of `ctx` may be answered once `index` is applied; questions of other nodes are at once."""
        for peer, request, at, running in self._rounds.confirm(ctx, index, stamp):
            self._turns.post(peer, self._group, ReadIndexReply(request, at, running))

    def answer(self) -> None:
        """Answer the confirmed reads whose index is applied."""
        state, rounds = self._state, self._rounds
        if state.fenced:
            rounds.refuse_confirmed()
            return
        now = self._clock.seconds()
        for answered in rounds.answer(state.index, state.machine):
            self._observer.read(self._group, answered.kind, "served", now - answered.begun)
            if len(answered.readers) > 1:
                self._coalescer.begin()

    # -- what is known of the leader ------------------------------------------------------------------

    def leader_heard(self, message: Heartbeat) -> None:
        """The leader sent its commit index.

        A process that was paused reads the messages of long ago first, before any tick. They certainly came
        before now and after the last tick but one, so that is the time that counts.
        """
        self._staleness.heard(self._tick_before, message.newest, self._state.index)

    def spoken_for(self, at: float, newest: int) -> None:
        """A beat that came after `at` (monotonic seconds) says that nothing after `newest` is committed."""
        self._staleness.heard(at, newest, self._state.index)

    def restored(self) -> None:
        """The state is now a copy of the leader's, perhaps older than what it replaced."""
        self._staleness = Staleness()

    @property
    def age(self) -> float:
        """Seconds since this replica's state was certainly up to date; infinite if it never was."""
        return self._staleness.age(self._clock.seconds(), self._state.index)

    def drop_lease(self) -> None:
        """Leadership is about to be transferred."""
        if self._lease is not None:
            self._lease.drop(self._raft.state.term)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._rounds.fail_asked(peer)

    def skip(self, ticks: int) -> None:
        """So many ticks passed without a call; none of them was before the last call."""
        if self._raft.state.leads:
            self._ticks.extend([self._last_tick] * ticks)

    def tick(self, now: float) -> None:
        """One tick of the host passed, at `now`."""
        self._tick_before, self._last_tick = self._last_tick, now
        if self._raft.state.leads:
            self._count_tick(now)
        else:
            self._ticks.clear()
        if self._rounds.expire(now):
            self._observer.read(self._group, READ_INDEX, "refused", 0.0)

    def _count_tick(self, now: float) -> None:
        """A leader heard a majority within the last election timeout, or it would no longer lead.

        Consensus counts that timeout in ticks, which come late in a process that was paused, so the times of
        the ticks count here.
        """
        self._ticks.append(now)
        if len(self._ticks) == self._ticks.maxlen:
            raft_state = self._raft.state
            newest = max(raft_state.commit, raft_state.noop_index)
            self._staleness.heard(self._ticks[0], newest, self._state.index)

    def abandon(self, refusal: Refused | None = None) -> None:
        """The group stops: refuse everything."""
        self._rounds.abandon(refusal)
