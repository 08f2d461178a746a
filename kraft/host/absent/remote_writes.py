"""Writes to one group by a node that has no replica of it: they go to the leader that the directory has.

It is as at a replica that does not lead (`kraft.host.requests.forwarding`): what the leader did not propose
goes to the next one, and what was sent over a link that is lost is uncertain. A write that meets a lock goes
there again as one that waits.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from kraft.host.absent.member_route import MemberRoute
from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.forwarding import Forwarding
from kraft.host.requests.proposal import Proposal, WriteDone, WriteOutcome
from kraft.host.requests.proposals import Proposals
from kraft.host.requests.raise_waits import RaiseWaits
from kraft.host.requests.requests import Requests
from kraft.host.requests.timing import Timing
from kraft.host.requests.transaction_waits import WAITERS_MAX, first_locked, may_lock, not_owned_from
from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import Busy, NoLeader, Refused, TooManyWaiters
from kraft.peerwire.messages import Forward, ForwardReply


class RemoteWrite(msgspec.Struct, eq=False):
    """Commands that are done together, and may wait for locks at the leader: `replies` are those so far.

    `deadline` is in monotonic seconds. It is `counted` once it waits.
    """

    commands: Sequence[kv.Command]
    size: int
    deadline: float
    done: WriteDone
    counted: bool = False
    replies: list[Reply] = []


class RemoteProposal(Proposal, eq=False):
    """The commands of a `RemoteWrite`, if they may wait for locks."""

    write: RemoteWrite | None = None


class RemoteWrites:
    """The writes to one group."""

    def __init__(
        self, group: int, route: MemberRoute, context: GroupContext, timing: Timing, first_request: int
    ) -> None:
        self._group = group
        self._route = route
        self._clock = context.clock
        self._turns = context.turns
        self._observer = context.observer
        self._timing = timing
        self._proposals = Proposals(context.backpressure)
        self._forwarding = Forwarding(first_request, context.observer, context.not_taken)
        self._known = AppliedState(Machine(), 0)  # nothing but the version in force there
        self._raise_waits = RaiseWaits(group, self._known, context, timing.leader_wait)
        self._leaderless_since = context.clock.seconds()
        self._counted = 0  # writes that wait for locks
        self._scheduled = False

    @property
    def pending(self) -> bool:
        """Whether a write has no outcome yet."""
        return self._proposals.unsettled or self._forwarding.pending

    def write(self, commands: Sequence[kv.Command], size: int, done: WriteDone, *, waits: bool) -> None:
        """As `Host.write`. With `waits`, commands that meet a lock wait for it."""
        version = self._route.version
        if version < MACHINE_VERSION and kv.needed_version(commands) > version:
            self._known.machine.version = version
            again = partial(self.write, commands, size, done, waits=waits)
            self._raise_waits.wait(kv.needed_version(commands), again, done)
        elif not waits:
            self._add(commands, size, done)
        else:
            deadline = self._clock.seconds() + self._timing.leader_wait
            write = RemoteWrite(commands, size, deadline, done)
            if may_lock(commands) and self._counted < WAITERS_MAX and self._route.leader:
                self._wait(write)
            else:
                self._add(commands, size, partial(self._written, write), write)

    def news(self) -> None:
        """The directory has news of the group: another leader, or another version."""
        self._raise_waits.raised()
        self._schedule()

    def answered(self, peer: str, reply: ForwardReply) -> None:
        """The leader answers. Raises msgspec.DecodeError when the replies cannot be decoded."""
        not_proposed = self._forwarding.answered(peer, reply)
        if not_proposed:
            self._route.refused(peer)
            self._proposals.requeue(not_proposed)
        self._schedule()

    def unsent(self, peer: str, message: Forward) -> None:
        """The link to `peer` did not take `message`."""
        self._route.refused(peer)
        self._proposals.requeue(self._forwarding.unsent(message.request))

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._observe("uncertain", self._forwarding.lost(peer))

    def tick(self, now: float) -> None:
        """One tick of the host passed: settle what has waited too long, and send what waits."""
        if self._route.has_leader:
            self._leaderless_since = now
        if not self.pending:
            return
        refused, uncertain = self._proposals.expire(now)
        self._observe("timeout", refused)
        self._observe("uncertain", uncertain + self._forwarding.expire(now))
        leader_wait, half = self._timing.leader_wait, self._timing.write_timeout / 2
        if self._route.has_leader:
            self._observe("timeout", self._proposals.refuse_older(now - half, Busy()))
        elif self._leaderless_since + leader_wait <= now:
            refusal = NoLeader(self._group)
            self._observe("rejected", self._proposals.refuse_older(now - leader_wait, refusal))
        self._schedule()

    def hand_over(self, requests: Requests) -> None:
        """There is a replica here by now: it takes what was not sent. The rest stays until it is answered."""
        self._raise_waits.raised()
        for proposal in self._proposals.take_all():
            write = proposal.write if isinstance(proposal, RemoteProposal) else None
            if write is not None and proposal.done is not None:
                done = partial(self._settle, write)
                requests.transaction_waits.write(write.commands, write.size, done)
            elif proposal.done is not None:
                requests.writes.write(proposal.commands, proposal.size, proposal.done)

    def awaits(self, reply: ForwardReply) -> bool:
        """Whether that answers a request from here, which was sent before there was a replica."""
        return self._forwarding.awaits(reply.request)

    def abandon(self) -> None:
        """The node stops: refuse what waits, and settle the rest as uncertain."""
        self._raise_waits.abandon()
        self._proposals.abandon()
        self._forwarding.abandon()

    # -- locks ----------------------------------------------------------------------------------------

    def _wait(self, write: RemoteWrite) -> None:
        """Send a write to the leader as one that may wait there for locks."""
        leader = self._route.leader
        written = partial(self._written, write)
        if not leader:
            self._add(write.commands, write.size, written, write)
            return
        if not write.counted:
            if self._counted >= WAITERS_MAX:
                self._clock.call_soon(partial(self._settle, write, TooManyWaiters()))
                return
            write.counted = True
            self._counted += 1
        now = self._clock.seconds()
        until = now + self._timing.write_timeout
        proposal = RemoteProposal(until, written, write.commands, write.size, now, write=write)
        message = self._forwarding.request(leader, [proposal], now, waits=True)
        self._turns.post(leader, self._group, message)

    def _written(self, write: RemoteWrite, outcome: WriteOutcome) -> None:
        place = None if isinstance(outcome, Exception) else first_locked(write.commands, outcome)
        if place is None or isinstance(outcome, Exception):
            self._settle(write, outcome)
        elif any(reply is CommandFailure.NOT_OWNER for reply in outcome[:place]):
            self._settle(write, not_owned_from(outcome, place))
        elif self._clock.seconds() >= write.deadline:
            self._settle(write, outcome)
        else:
            write.replies = [*write.replies, *outcome[:place]]
            write.commands = write.commands[place:]
            self._wait(write)

    def _settle(self, write: RemoteWrite, outcome: WriteOutcome) -> None:
        self._counted -= write.counted
        write.counted = False
        if write.replies and isinstance(outcome, Refused):
            outcome = [CommandFailure.LOCKED] * len(write.commands)  # the others are done
        write.done([*write.replies, *outcome] if isinstance(outcome, list) else outcome)

    # -- sending --------------------------------------------------------------------------------------

    def _add(
        self, commands: Sequence[kv.Command], size: int, done: WriteDone, write: RemoteWrite | None = None
    ) -> None:
        now = self._clock.seconds()
        until = now + self._timing.write_timeout
        self._proposals.add(RemoteProposal(until, done, commands, size, now, write=write))
        self._schedule()

    def _schedule(self) -> None:
        """Send what waits at the end of this iteration: one message for all of it."""
        if self._proposals.waiting and not self._scheduled:
            self._scheduled = True
            self._clock.call_soon(self._send)

    def _send(self) -> None:
        """Send what waits to the leader, unless it still owes an answer."""
        self._scheduled = False
        leader = self._route.leader
        if not leader or self._forwarding.pending_at(leader) >= self._timing.batches_in_flight:
            return
        proposals = self._proposals.take(self._timing.batch_bytes)
        if proposals:
            message = self._forwarding.request(leader, proposals, self._clock.seconds())
            self._turns.post(leader, self._group, message)

    def _observe(self, outcome: str, count: int) -> None:
        if count:
            self._observer.proposal(self._group, outcome, count)
