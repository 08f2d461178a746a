"""Writes of one group between client and log: waiting, then logged, then settled.

A waiting proposal has certainly not been done. A logged proposal is matched by (index, term) when an entry is
applied at its index: if that entry is another one, the proposal will never be committed and waits again. At
its deadline a waiting proposal is refused, and a logged one is uncertain. The two are never confused.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from kraft.host.backpressure import Backpressure
from kraft.host.pending import overdue, settle_all
from kraft.host.requests.proposal import Batch, Proposal
from kraft.kv.commands import Command, encode, expires_within
from kraft.kv.replies import CommandFailure, Reply
from kraft.node.errors import Busy, Refused, Stopping, Uncertain
from kraft.node.ports import Clock


class Proposals:
    """All proposals of one group. `waiting` holds those not logged yet; only this class changes it.

    They have `waiting_bytes` together. What waits is reported to `backpressure`. While `most` is not 0, no
    more proposals are taken for a batch; a batch that is logged ends that. `urgent`: clients of other keys
    wait for something, so that the next batch does not wait for the one before it.
    """

    def __init__(self, backpressure: Backpressure) -> None:
        self.waiting: deque[Proposal] = deque()
        self.waiting_bytes = 0
        self.most = 0
        self.urgent = False
        self._backpressure = backpressure
        self._logged: deque[Batch] = deque()  # ascending by index, and therefore by term
        self._overtaken: list[Batch] = []
        self._earliest = float("inf")  # no unsettled proposal has an earlier deadline

    @property
    def unsettled(self) -> bool:
        """Whether any wait, or are logged and not decided."""
        return bool(self.waiting or self._logged or self._overtaken)

    def has_waiting(self, commands: int) -> bool:
        """Whether so many commands wait. Looks at fewer than so many proposals, each of which has one."""
        if len(self.waiting) >= commands:
            return True
        return sum(len(proposal.commands) for proposal in self.waiting) >= commands

    def in_flight(self, term: int) -> int:
        """The number of entries logged in `term` and not applied yet.

        Entries of earlier terms are not counted. They may stay undecided until the log has grown to their
        index again, so they must not hold back new entries.
        """
        count = 0
        for batch in reversed(self._logged):
            if batch.term != term:
                break
            count += 1
        return count

    def add(self, proposal: Proposal) -> None:
        """Append a new proposal to those that wait."""
        self.waiting.append(proposal)
        self.waiting_bytes += proposal.size
        self._backpressure.add(1, proposal.size)
        if proposal.deadline < self._earliest:
            self._earliest = proposal.deadline

    def requeue(self, proposals: Sequence[Proposal]) -> None:
        """Let proposals that were certainly not logged wait again, before all others and in their order."""
        for proposal in reversed(proposals):
            if proposal.done is not None:
                self.waiting.appendleft(proposal)
                self.waiting_bytes += proposal.size
                self._backpressure.add(1, proposal.size)
                self._earliest = min(self._earliest, proposal.deadline)

    def take(self, max_bytes: int) -> list[Proposal]:
        """Remove and return the next batch: about `max_bytes` at most, but at least one if any waits."""
        waiting = self.waiting
        taken: list[Proposal] = []
        size = number = removed = 0
        while waiting and (not taken or size + waiting[0].size <= max_bytes):
            proposal = waiting.popleft()
            number += 1
            removed += proposal.size
            if proposal.done is not None:
                taken.append(proposal)
                size += proposal.size
        self.waiting_bytes -= removed
        self._backpressure.add(-number, -removed)
        if not waiting:
            self.urgent = False
        if self.most:
            self.requeue(taken[self.most :])
            del taken[self.most :]
        return taken

    def take_remote(self) -> list[Proposal]:
        """Remove and return the waiting proposals of other nodes, which must not be forwarded again."""
        self.most = 0  # the next entry is made by another node
        remote = [p for p in self.waiting if p.remote]
        if remote:
            self._keep(p for p in self.waiting if not p.remote)
        return remote

    def take_all(self) -> list[Proposal]:
        """Remove and return everything that waits."""
        taken = list(self.waiting)
        self._keep(())
        return taken

    def log(self, batch: Batch) -> None:
        """Record that the leader of this node appended `batch` to its log.

        Older batches at the same or a higher index are no longer in this leader's log, but they are not lost
        either: until another entry is committed at their index, a follower that still holds them may win an
        election and commit them.
        """
        while self._logged and self._logged[-1].index >= batch.index:
            self._overtaken.append(self._logged.pop())
        self._logged.append(batch)
        self.most = 0

    def applied(self, index: int, term: int) -> Batch | None:
        """Remove and return the batch of the entry being applied, or None if it is not one of ours."""
        ours = None
        logged = self._logged
        while logged and logged[0].index <= index:
            batch = logged.popleft()
            if batch.index == index and batch.term == term:
                ours = batch
            else:
                self.requeue(batch.proposals)
        if self._overtaken:
            ours = self._applied_overtaken(index, term) or ours
        return ours

    def _applied_overtaken(self, index: int, term: int) -> Batch | None:
        decided = [b for b in self._overtaken if b.index <= index]
        self._overtaken = [b for b in self._overtaken if b.index > index]
        ours = None
        for batch in decided:
            if batch.index == index and batch.term == term:
                ours = batch
            else:
                self.requeue(batch.proposals)
        return ours

    def skipped(self, index: int) -> int:
        """Settle as uncertain all batches up to `index`, which a snapshot has replaced.

        The snapshot does not say whether it contains them. Returns the number of proposals settled.
        """
        lost = [batch for batch in (*self._logged, *self._overtaken) if batch.index <= index]
        self._logged = deque(batch for batch in self._logged if batch.index > index)
        self._overtaken = [batch for batch in self._overtaken if batch.index > index]
        proposals = [p for batch in lost for p in batch.proposals if p.done is not None]
        settle_all(proposals, Uncertain())
        return len(proposals)

    def expire(self, now: float) -> tuple[int, int]:
        """Settle the proposals whose deadline has passed; returns (number refused, number uncertain).

        Costs nothing until the earliest deadline.
        """
        if now < self._earliest:
            return 0, 0
        late, left = overdue(self.waiting, now)
        self._keep(left)
        uncertain, _ = overdue(self._in_log(), now)
        settle_all(late, Busy())
        settle_all(uncertain, Uncertain())
        unsettled = (*self.waiting, *self._in_log())  # an answered client may already have added another one
        self._earliest = min((p.deadline for p in unsettled), default=float("inf"))
        return len(late), len(uncertain)

    def refuse_older(self, created: float, outcome: Refused) -> int:
        """Refuse waiting proposals made at or before `created` (monotonic seconds); returns their number."""
        count = 0
        while self.waiting and self.waiting[0].created <= created:
            proposal = self.waiting.popleft()
            self.waiting_bytes -= proposal.size
            self._backpressure.add(-1, -proposal.size)
            proposal.settle(outcome)
            count += 1
        return count

    def abandon(self, refusal: Refused | None = None) -> None:
        """The group stops: settle waiting proposals as refused, and logged ones as uncertain."""
        waiting, in_log = list(self.waiting), list(self._in_log())
        self._keep(())
        self._logged.clear()
        self._overtaken.clear()
        settle_all(waiting, refusal or Stopping())
        settle_all(in_log, Uncertain())

    def _keep(self, waiting: Iterable[Proposal]) -> None:
        number, size = len(self.waiting), self.waiting_bytes
        self.waiting = deque(waiting)
        self.waiting_bytes = sum(proposal.size for proposal in self.waiting)
        self._backpressure.add(len(self.waiting) - number, self.waiting_bytes - size)

    def _in_log(self) -> Iterator[Proposal]:
        for batch in (*self._logged, *self._overtaken):
            yield from (p for p in batch.proposals if p.done is not None)


def settle_each(
    proposals: Sequence[Proposal], replies: list[Reply], not_taken: Callable[[Exception], None]
) -> None:
    """Give each proposal its own part of `replies`, which hold one reply for each command, in order.

    Whoever raises at that costs nobody else anything: `not_taken` gets the error.
    """
    start = 0
    for proposal in proposals:
        end = start + len(proposal.commands)
        done, proposal.done = proposal.done, None  # `settle` without the call
        if done is not None:
            try:
                done(replies[start:end])
            except Exception as error:
                not_taken(error)
        start = end


def without_large(proposal: Proposal, commands: Sequence[Command], most: int, clock: Clock) -> list[Proposal]:
    """Refuse the commands of `proposal` for which an entry of `most` bytes has no room after those before.

    `commands` are what would be logged for them. They stay in one entry: what follows a command that has to
    wait for a lock waits as well. Returns what is left to log.
    """
    room, places = most, []
    for place, command in enumerate(commands):
        size = len(encode((command,)))
        if size > room:
            places.append(place)
        else:
            room -= size
    return _left_out(proposal, places, CommandFailure.TRANSACTION_TOO_LARGE, clock)


def without_premature(proposals: Iterable[Proposal], premature: range, clock: Clock) -> list[Proposal]:
    """Refuse commands with an expiry that log time would reach too early. Returns what is left to log.

    See `LeaderClock.premature`. This is decided here, as only a leader knows the voters' clocks.
    """
    left: list[Proposal] = []
    for proposal in proposals:
        commands = enumerate(proposal.commands)
        places = [place for place, command in commands if expires_within(command, premature)]
        left += _left_out(proposal, places, CommandFailure.PREMATURE, clock) if places else [proposal]
    return left


def _left_out(
    proposal: Proposal, places: Sequence[int], failure: CommandFailure, clock: Clock
) -> list[Proposal]:
    """The proposal without the commands at `places`; nothing if it has no others: then it is answered."""
    proposal.leave_out(places, failure)
    if proposal.commands:
        return [proposal]
    clock.call_soon(partial(proposal.settle, []))
    return []
