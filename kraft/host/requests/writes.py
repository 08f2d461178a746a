"""Writes of one replica's clients, and those that other nodes forward: into the log, and their replies back.

On the leader all writes that wait become one entry. Any other replica forwards them to the leader. An entry
that is applied answers the writes it was made of.
"""

from collections.abc import Sequence
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.coalescer import Coalescer
from kraft.host.requests.evaluation import Evaluation, with_evaluated
from kraft.host.requests.forwarding import Forwarding
from kraft.host.requests.leader_clock import LeaderClock
from kraft.host.requests.leader_route import LeaderRoute
from kraft.host.requests.proposal import Batch, Proposal, WriteDone, WriteOutcome
from kraft.host.requests.proposals import Proposals, settle_each, without_large, without_premature
from kraft.host.requests.proposer import Proposer
from kraft.host.requests.raise_waits import RaiseWaits
from kraft.host.requests.timing import Timing
from kraft.kv import commands as kv
from kraft.kv.errors import UnknownCommand
from kraft.kv.replies import encode_replies
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import Busy, DiskFull, EntryTooLarge, NoLeader, Refused, Stopping
from kraft.peerwire.messages import DONE, NOT_PROPOSED, UNCERTAIN, Forward, ForwardReply
from kraft.raft.raft import Raft
from kraft.raft.state import ReplicaState

LARGE_BATCHES_IN_FLIGHT = 4  # the links, the disks and the state machine work at the same time
# A batch is large when `batch_bytes` wait, or this part of it in so many commands. It would hardly get
# cheaper by growing then, and clients who wait for what is in flight may never fill a second whole one.
LARGE_PART, LARGE_COMMANDS = 4, 1000


class Writes:
    """The writes of one replica. A node that stops sets `refuses_peers`, to take none from other nodes."""

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        proposals: Proposals,
        leader_clock: LeaderClock,
        proposer: Proposer,
        route: LeaderRoute,
        coalescer: Coalescer,
        raise_waits: RaiseWaits,
        context: GroupContext,
        timing: Timing,
        first_request: int,
    ) -> None:
        self.refuses_peers = False
        self._group = group
        self._raft = raft
        self._proposals = proposals
        self._leader_clock = leader_clock
        self._proposer = proposer
        self._route = route
        self._coalescer = coalescer
        self._raise_waits = raise_waits
        self._clock = context.clock
        self._observer = context.observer
        self._state = state
        self._turns = context.turns
        self._timing = timing
        self._not_taken = context.not_taken
        self.forwarding = Forwarding(first_request, context.observer, context.not_taken)
        self._leaderless_since = context.clock.seconds()
        self._evaluators = context.evaluators
        self._scripts_used = False
        self.evaluated: Evaluation | None = None  # of the next batch, while that takes time
        self._script_waits = False  # in the next batch, for everything before it

    # -- requests -------------------------------------------------------------------------------------

    def write(self, commands: Sequence[kv.Command], size: int, done: WriteDone) -> None:
        """Make `commands` durable on a majority and apply them as one. `size` is their approximate bytes.

        `done` gets the replies in order, a `Refused` (certainly not done), or `Uncertain`.
        """
        version = self._state.machine.version
        if version < MACHINE_VERSION and kv.needed_version(commands) > version:
            again = partial(self.write, commands, size, done)
            self._raise_waits.wait(kv.needed_version(commands), again, done)
            return
        now = self._clock.seconds()
        deadline = now + self._timing.write_timeout
        scripted = not kv.MAY_CALL.isdisjoint(map(type, commands)) and any(map(kv.calls_script, commands))
        self._scripts_used = self._scripts_used or scripted
        self._proposals.add(Proposal(deadline, done, commands, size, now, scripted=scripted))
        self._turns.wake(self._group)

    def write_soon(self, commands: Sequence[kv.Command], size: int, done: WriteDone) -> None:
        """As `write`, but it does not wait for what was sent or logged before."""
        if self._route.target and not self._raft.state.leads:
            self.forward_to_wait(self._route.target, commands, size, done)
        else:
            self._proposals.urgent = True
            self.write(commands, size, done)

    def forward_received(self, sender: str, message: Forward) -> None:
        """Another node sends writes to this one as the leader."""
        reply = partial(self.reply, sender, message.request)
        commands = self.admitted(message, reply)
        if commands is None:
            return
        now = self._clock.seconds()
        due = now + message.timeout_ms / 1000.0
        created = min(now, due - self._timing.write_timeout)  # it has waited at the sender as well
        scripted = not kv.MAY_CALL.isdisjoint(map(type, commands)) and any(map(kv.calls_script, commands))
        self._scripts_used = self._scripts_used or scripted
        size = len(message.commands)
        self._proposals.add(Proposal(due, reply, commands, size, created, remote=True, scripted=scripted))

    def admitted(self, message: Forward, reply: WriteDone) -> list[kv.Command] | None:
        """The commands of another node, None if they are refused here; then `reply` is called."""
        if not self._raft.state.leads or self.refuses_peers or not self._proposer.may_propose:
            reply(Stopping())
            return None
        version = self._state.machine.version
        try:
            commands = kv.decode(message.commands)
            if version == MACHINE_VERSION or kv.needed_version(commands) <= version:
                return commands
        except UnknownCommand:
            pass  # the sender runs a newer program, and knows that its version is in force
        reply(Refused())  # or it has applied the raise before this replica
        return None

    def reply(self, sender: str, request: int, outcome: WriteOutcome) -> None:
        """Answer a `Forward` of another node."""
        code, replies = NOT_PROPOSED if isinstance(outcome, Refused) else UNCERTAIN, b""
        if isinstance(outcome, list):
            code, replies = DONE, encode_replies(outcome)
        self._turns.post(sender, self._group, ForwardReply(request, code, replies))

    def forward_answered(self, leader: str, message: ForwardReply) -> None:
        """The leader answers writes that this node forwarded."""
        not_proposed = self.forwarding.answered(leader, message)
        if not_proposed:
            self._route.refused(leader)
            self._proposals.requeue(not_proposed)

    def forward_unsent(self, leader: str, message: Forward) -> None:
        """The link to `leader` did not take `message`."""
        self._proposals.requeue(self.forwarding.unsent(message.request))
        self._route.refused(leader)

    # -- a turn ---------------------------------------------------------------------------------------

    @property
    def room(self) -> bool:
        """Whether this leader may log another batch now; while one is in flight, only a large one."""
        if self.evaluated is not None or (self._script_waits and not self._all_applied):
            return False
        state, most = self._raft.state, self._timing.batch_bytes
        in_flight = self._proposals.in_flight(state.term)
        few = in_flight < self._timing.batches_in_flight
        if not (few or _may_follow(state, self._proposals, in_flight, most)):
            return False
        return self._proposer.may_propose

    def propose(self) -> None:
        """On the leader: log what waits, in batches, as far as there is room.

        A batch is about what the links to a majority carry within a heartbeat interval.
        """
        if self._leader_clock.term != self._raft.state.term:
            self._leader_clock.start()
        while self._proposals.waiting and self.room:
            size = min(self._timing.batch_bytes, self._raft.state.pace // 2)
            proposals = self._proposals.take(size)
            if self._leader_clock.premature:
                taken, premature = proposals, self._leader_clock.premature
                proposals = without_premature(taken, premature, self._clock)
                self._observe("rejected", len(taken) - len(proposals))
            if not proposals:
                continue
            if self._scripts_used:
                if any(proposal.scripted for proposal in proposals):
                    if self._proposer.blocked:  # it would be evaluated again and again
                        self._proposals.requeue(proposals)
                        break
                    self._evaluate(proposals)
                    continue
                self._script_waits = False
            one = len(proposals) == 1
            commands = proposals[0].commands if one else [c for p in proposals for c in p.commands]
            try:
                logged = self._proposer.propose(commands)
            except EntryTooLarge as error:
                self._divide(proposals, commands, error.args[0])
                continue
            if logged is None:
                self._proposals.requeue(proposals)
                break
            self._proposals.log(Batch(*logged, proposals, commands, self._clock.seconds()))

    def _divide(self, proposals: list[Proposal], commands: Sequence[kv.Command], most: int) -> None:
        """Let the halves of a batch that fits into no entry follow each other; refuse what fits into none."""
        self._proposals.most = len(proposals) // 2
        if len(proposals) == 1:
            proposals = without_large(proposals[0], commands, most, self._clock)
            self._observe("rejected", not proposals)
        self._proposals.requeue(proposals)

    @property
    def _all_applied(self) -> bool:
        """Whether the state machine has everything that is in the log."""
        return self._state.index == self._raft.state.log.last_index

    def _evaluate(self, proposals: list[Proposal]) -> None:
        """Evaluate a batch with scripts, or let it wait until everything before it is applied."""
        self._script_waits = not self._all_applied
        if self._script_waits:
            self._proposals.requeue(proposals)
            return
        evaluator = self._evaluators.evaluator
        if evaluator is None:  # the client port is not open yet
            for proposal in proposals:
                self._clock.call_soon(partial(proposal.settle, Busy()))
            return
        term, stamp, premature = (
            self._raft.state.term,
            self._leader_clock.stamp(),
            self._leader_clock.premature,
        )
        self.evaluated = Evaluation(
            self._state.machine, stamp, term, proposals, evaluator, group=self._group, premature=premature
        )
        self._advance()

    def _advance(self) -> None:
        """Go on with an evaluation, and log it when it is done."""
        evaluated = self.evaluated
        if evaluated is None:
            return
        state = self._raft.state
        leads = state.leads and state.term == evaluated.term and self._proposer.may_propose
        if leads and not evaluated.advance(self._clock):
            self._clock.call_soon(self._advance)
            return
        self.evaluated = None
        self._proposals.requeue(evaluated.left)
        try:
            logged = self._proposer.propose(evaluated.commands, evaluated.stamp) if leads else None
        except EntryTooLarge as error:
            self._divide(evaluated.proposals, evaluated.commands, error.args[0])
            self._turns.wake(self._group)
            return
        if logged is None:
            self._proposals.requeue(evaluated.proposals)
        else:
            now, proposals = self._clock.seconds(), evaluated.proposals
            self._proposals.log(Batch(*logged, proposals, evaluated.commands, now, evaluated.replies))
        self._turns.wake(self._group)

    def forward(self, leader: str) -> None:
        """On any other replica: send what waits to `leader`, unless it still owes an answer."""
        if self.forwarding.pending_at(leader) >= self._timing.batches_in_flight:
            return
        proposals = self._proposals.take(self._timing.batch_bytes)
        if proposals:
            message = self.forwarding.request(leader, proposals, self._clock.seconds())
            self._turns.post(leader, self._group, message)

    def forward_to_wait(
        self, leader: str, commands: Sequence[kv.Command], size: int, done: WriteDone
    ) -> None:
        """On any other replica: send commands to `leader`, where they may wait for locks."""
        now = self._clock.seconds()
        # It waits here again if the link does not take it, and this node may lead then.
        scripted = not kv.MAY_CALL.isdisjoint(map(type, commands)) and any(map(kv.calls_script, commands))
        self._scripts_used = self._scripts_used or scripted
        proposal = Proposal(now + self._timing.write_timeout, done, commands, size, now, scripted=scripted)
        self._turns.post(leader, self._group, self.forwarding.request(leader, [proposal], now, waits=True))

    def refuse_remote(self) -> None:
        """This replica does not lead: refuse writes that other nodes forwarded to it."""
        for proposal in self._proposals.take_remote():
            proposal.settle(NoLeader(self._group))

    # -- outcomes -------------------------------------------------------------------------------------

    def applied(self, batch: Batch, replies: list[kv.Reply]) -> None:
        """The entry of `batch` was applied with `replies`: answer its writes."""
        proposals = batch.proposals
        if batch.evaluated:
            replies = with_evaluated(replies, batch.evaluated)
        self._observer.committed(self._group, self._clock.seconds() - batch.logged_at, len(proposals))
        if len(proposals) > 1:
            self._coalescer.begin()
        settle_each(proposals, replies, self._not_taken)

    def skipped(self, index: int) -> None:
        """A snapshot took the place of all entries up to `index`."""
        self._observe("uncertain", self._proposals.skipped(index))

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._observe("uncertain", self.forwarding.lost(peer))

    def tick(self, now: float, disk_full: bool) -> None:
        """One tick of the host passed: settle what has waited too long."""
        leader = self._raft.state.leader
        if leader:
            self._leaderless_since = now
        if not (self._proposals.unsettled or self.forwarding.pending):
            return
        refused, uncertain = self._proposals.expire(now)
        uncertain += self.forwarding.expire(now)
        self._observe("timeout", refused)
        self._observe("uncertain", uncertain)
        leader_wait = self._timing.leader_wait
        if leader:
            # Else it would be logged in the last moment, and be uncertain when it is committed after that.
            half = self._timing.write_timeout / 2
            self._observe("timeout", self._proposals.refuse_older(now - half, Busy()))
        elif self._leaderless_since + leader_wait <= now:
            outcome = DiskFull() if disk_full else NoLeader(self._group)
            self._observe("rejected", self._proposals.refuse_older(now - leader_wait, outcome))

    def abandon(self, refusal: Refused | None = None) -> None:
        """The group stops: refuse what waits, and settle the rest as uncertain."""
        if self.evaluated is not None:
            self._proposals.requeue([*self.evaluated.proposals, *self.evaluated.left])
            self.evaluated = None
        self._proposals.abandon(refusal)
        self.forwarding.abandon()

    def _observe(self, outcome: str, count: int) -> None:
        if count:
            self._observer.proposal(self._group, outcome, count)


def _may_follow(state: ReplicaState, proposals: Proposals, in_flight: int, batch_bytes: int) -> bool:
    """Whether what waits is urgent, or large enough, to be logged while other batches are in flight.

    All of them must be what the links to a majority carry soon: what is not logged is certainly not done.
    """
    if in_flight >= LARGE_BATCHES_IN_FLIGHT:
        return False
    if proposals.urgent:
        return True
    size, waiting = min(batch_bytes, state.pace // 2), proposals.waiting_bytes
    if waiting < size and (waiting * LARGE_PART < batch_bytes or not proposals.has_waiting(LARGE_COMMANDS)):
        return False
    return state.log.bytes_after(state.commit) + min(size, waiting) <= state.pace
