"""Requests of clients and of other nodes on one replica: in each turn, what becomes of those that wait.

`Writes` and `Reads` know what to do with their kind. `Requests` owns what they share, and decides in each
turn whether this replica serves its requests itself, as the leader, or sends them to the leader.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.asked_reads import AskedReads
from kraft.host.requests.coalescer import Coalescer
from kraft.host.requests.leader_clock import LeaderClock
from kraft.host.requests.leader_route import LeaderRoute
from kraft.host.requests.lock_questions import LockQuestions
from kraft.host.requests.lock_waits import LockWaits
from kraft.host.requests.proposal import Batch, Proposal, WriteDone
from kraft.host.requests.proposals import Proposals
from kraft.host.requests.proposer import Proposer
from kraft.host.requests.raise_waits import RaiseWaits
from kraft.host.requests.read_rounds import ReadRounds
from kraft.host.requests.reads import Reads
from kraft.host.requests.timing import Timing
from kraft.host.requests.transaction_waits import TransactionWaits
from kraft.host.requests.writes import Writes
from kraft.kv.commands import Command
from kraft.node.errors import Refused
from kraft.peerwire.messages import (
    Forward,
    ForwardReply,
    LockQuestion,
    Message,
    QueryKeys,
    ReadIndex,
    ReadIndexReply,
    ReadKeys,
    ReadKeysReply,
    WaitingForward,
)
from kraft.raft.raft import Raft


class Requests:
    """All requests on one replica. Its requests to other nodes are numbered from `first_request` on.

    `handlers` take the messages about requests that other nodes send.
    """

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        context: GroupContext,
        timing: Timing,
        first_request: int,
    ) -> None:
        self._raft = raft
        self._group = group
        self._turns = context.turns
        self._clock = context.clock
        self._write_timeout = timing.write_timeout
        self._route = route = LeaderRoute(raft)
        self._rounds = rounds = ReadRounds(
            group, first_request, timing.round_timeout, timing.leader_wait, context.not_taken
        )
        self.proposals = Proposals(context.backpressure)
        self.leader_clock = LeaderClock(
            group, raft.state, context.clock, timing.max_clock_offset, context.observer
        )
        self.proposer = Proposer(raft, state, self.leader_clock)
        self._coalescer = coalescer = Coalescer(group, self.proposals, rounds, context.clock, context.turns)
        self.raise_waits = raise_waits = RaiseWaits(group, state, context, timing.leader_wait)
        shared = self.leader_clock, self.proposer, route, coalescer
        self.writes = Writes(
            group, raft, state, self.proposals, *shared, raise_waits, context, timing, first_request
        )
        self.reads = Reads(group, raft, state, rounds, *shared, context, timing)
        self.transaction_waits = TransactionWaits(
            group,
            raft,
            state,
            self.writes,
            self.reads,
            route,
            context.slots,
            context.clock,
            timing.leader_wait,
        )
        self.lock_questions = LockQuestions(
            group, raft, state, self.reads, route, context.peers, context.turns
        )
        self.asked_reads = AskedReads(group, self.transaction_waits, context.turns, context.evaluators)
        self.lock_waits = LockWaits(state, self.transaction_waits, context.clock)
        self.handlers: dict[type, Callable[[str, Any], None]] = {
            Forward: self.writes.forward_received,
            WaitingForward: self.transaction_waits.forward_received,
            ForwardReply: self.writes.forward_answered,
            ReadIndex: self.reads.index_asked,
            ReadIndexReply: self.reads.index_answered,
            LockQuestion: self.lock_questions.asked,
            ReadKeys: self.asked_reads.asked,
            QueryKeys: self.asked_reads.queried,
            ReadKeysReply: _ignore,  # to a question from before there was a replica here
        }

    def refuse_peers(self) -> None:
        """Take no more writes from other nodes, and let no client wait for a lock."""
        self.writes.refuses_peers = True
        self.lock_waits.refuse()

    def log_now(self, commands: Sequence[Command], size: int, done: WriteDone) -> bool:
        """On the leader: log `commands` before anything that may come next. False if that is impossible.

        They must be of the version in force. `size` and `done` are as for `Writes.write`. Raises NotLeading.
        """
        logged = self.proposer.propose(commands) if self.proposer.may_propose else None
        if logged is None:
            return False
        now = self._clock.seconds()
        proposal = Proposal(now + self._write_timeout, done, commands, size, now)
        self.proposals.log(Batch(*logged, [proposal], commands, now))
        self._turns.wake(self._group)
        return True

    def turn(self) -> None:
        """Let requests that wait go on: into the log and into rounds, or to the leader."""
        rounds = self._rounds
        if rounds.under_way is not None and rounds.under_way.asked:
            rounds.fail_asked_before(self._raft.state.leader)
        if not (self.proposals.waiting or rounds.waiting):
            return
        if self._raft.state.leads:
            if self._coalescer.under_way and not self.proposals.urgent:
                return
            if self.proposals.waiting:
                self.writes.propose()
            if rounds.waiting and rounds.under_way is None:
                self.reads.begin()
            return
        self.writes.refuse_remote()
        self.reads.refuse_remote()
        leader = self._route.target
        if leader and not self._coalescer.under_way:
            self.writes.forward(leader)
            self.reads.ask(leader)

    def finish(self) -> None:
        """Messages are sent and entries applied: answer reads, and ask for another turn where that helps."""
        if self._rounds.confirmed:
            self.reads.answer()
        if self.lock_waits.queues:
            self.lock_waits.applied()
        if self.lock_questions.waiting:
            self.lock_questions.look()
        waits = self.transaction_waits
        if waits.writing or waits.reading:
            self._look_at_waits()
        if (self.proposals.waiting or self._rounds.waiting) and self._may_go_on:
            self._turns.wake(self._group)

    def _look_at_waits(self) -> None:
        """Let go on who waits for locks that are free; a follower asks the leader about the others."""
        waits = self.transaction_waits
        waits.look()
        if waits.reading and not self._raft.state.leads:
            self.lock_questions.ask(waits.reading)

    @property
    def pending(self) -> bool:
        """Whether a request waits for anything, so that a turn may have something to do for it."""
        rounds = self._rounds
        return bool(self.proposals.waiting or rounds.waiting or rounds.under_way or rounds.confirmed)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything, so that there is nothing to do as time passes."""
        waits, writes = self.transaction_waits, self.writes
        waiting = self.pending or waits.writing or waits.reading or self.lock_waits.queues
        unsettled = self.proposals.unsettled or writes.forwarding.pending or writes.evaluated is not None
        return not (waiting or unsettled or self.proposer.holds)

    @property
    def _may_go_on(self) -> bool:
        """Whether another turn would get further; a group that cannot go on must not spin."""
        if self._coalescer.under_way:
            return False
        if not self._raft.state.leads:
            return self._rounds.wanted and bool(self._route.target)
        if self.proposer.blocked:
            return False
        writes = bool(self.proposals.waiting) and self.writes.room
        return writes or (self._rounds.wanted and self.reads.knows_keys)

    def tick(self, now: float, disk_full: bool) -> None:
        """One tick of the host passed, at `now`."""
        self._route.tick()
        self.proposer.tick(now)
        self.writes.tick(now, disk_full)
        self.reads.tick(now)
        self.lock_questions.tick()
        waits = self.transaction_waits
        if waits.writing or waits.reading:
            self._look_at_waits()

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take `message`, so a request in it may be sent again."""
        if isinstance(message, Forward):
            self.writes.forward_unsent(peer, message)
        elif isinstance(message, ReadIndex):
            self.reads.index_unsent(peer, message)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self.writes.link_down(peer)
        self.reads.link_down(peer)

    def abandon(self, refusal: Refused | None = None) -> None:
        """The group stops: answer every request that waits, by `refusal` if the node does not stop."""
        self.lock_waits.refuse(refusal)
        self.raise_waits.abandon()
        self.transaction_waits.abandon(refusal)
        self.writes.abandon(refusal)
        self.reads.abandon(refusal)


def _ignore(_: str, __: Message) -> None:
    """Nobody waits for it any more."""
