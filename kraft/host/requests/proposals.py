"""Writes of one group between client and log: waiting, logged, settled.

A waiting proposal is certainly not done; a logged one is matched at apply by (index, term). When another
entry is applied at its index it certainly never will be, and it waits again. At its deadline a waiting one
is refused and a logged one is uncertain: the two are never confused.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from kraft.kv.commands import Command
from kraft.kv.replies import Reply
from kraft.node.errors import Busy, Refused, Stopping, Uncertain

Outcome = list[Reply] | Exception
Done = Callable[[Outcome], None]


class Proposal:
    """The commands of one client segment, or of one forwarded request; they share one entry."""

    __slots__ = ("commands", "created", "deadline", "done", "remote", "size")

    def __init__(
        self,
        commands: Sequence[Command],
        size: int,
        created: float,
        deadline: float,
        done: Done,
        remote: bool,
    ) -> None:
        self.commands = commands
        self.size = size
        self.created = created
        self.deadline = deadline
        self.done: Done | None = done
        self.remote = remote

    def settle(self, outcome: Outcome) -> None:
        """Answer once; later outcomes of a proposal that was already given up are dropped."""
        done, self.done = self.done, None
        if done is not None:
            done(outcome)


class Batch:
    """The proposals of one entry, and when it was logged (monotonic seconds)."""

    __slots__ = ("commands", "index", "logged_at", "proposals", "term")

    def __init__(self, index: int, term: int, proposals: list[Proposal], commands: list[Command], at: float):
        self.index = index
        self.term = term
        self.proposals = proposals
        self.commands = commands
        self.logged_at = at


class Proposals:
    """All of one group. Counts what waits so that clients can be paused instead of refused."""

    def __init__(self) -> None:
        self._waiting: deque[Proposal] = deque()
        self._logged: deque[Batch] = deque()  # ascending by index
        self._overtaken: list[Batch] = []
        self._earliest = float("inf")

    @property
    def waiting(self) -> int:
        """Proposals not logged yet."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of them; counted when somebody asks."""
        return sum(proposal.size for proposal in self._waiting)

    def in_flight(self, term: int) -> int:
        """Entries logged in `term` and not applied yet. Those of earlier terms may stay undecided for long:
        until the log has grown to their index again, which is why they must not hold back new ones.
        """
        return sum(batch.term == term for batch in self._logged)

    def add(self, proposal: Proposal) -> None:
        """A new proposal, behind those that wait."""
        self._waiting.append(proposal)
        self._earliest = min(self._earliest, proposal.deadline)

    def again(self, proposals: Sequence[Proposal]) -> None:
        """Certainly not logged after all: ahead of those that wait, in their order."""
        for proposal in reversed(proposals):
            if proposal.done is not None:
                self._waiting.appendleft(proposal)
                self._earliest = min(self._earliest, proposal.deadline)

    def take(self, max_bytes: int) -> list[Proposal]:
        """The next batch: at least one if any waits, about `max_bytes` at most."""
        taken: list[Proposal] = []
        size = 0
        while self._waiting and (not taken or size + self._waiting[0].size <= max_bytes):
            proposal = self._waiting.popleft()
            if proposal.done is not None:
                taken.append(proposal)
                size += proposal.size
        return taken

    def take_remote(self) -> list[Proposal]:
        """Those that came from another node: never forwarded again."""
        remote = [p for p in self._waiting if p.remote]
        if remote:
            self._waiting = deque(p for p in self._waiting if not p.remote)
        return remote

    def log(self, batch: Batch) -> None:
        """The batch has its index and term.

        Older batches at or above that index are not lost: this leader's log replaced them, but until another
        entry is committed there, a follower that still holds them may win an election and commit them.
        """
        while self._logged and self._logged[-1].index >= batch.index:
            self._overtaken.append(self._logged.pop())
        self._logged.append(batch)

    def applied(self, index: int, term: int) -> Batch | None:
        """The batch of the entry being applied, if it is ours."""
        ours = None
        logged = self._logged
        while logged and logged[0].index <= index:
            batch = logged.popleft()
            if batch.index == index and batch.term == term:
                ours = batch
            else:
                self.again(batch.proposals)
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
                self.again(batch.proposals)
        return ours

    def skipped(self, index: int) -> int:
        """A snapshot took the place of everything up to `index`: whether the batches there are part of it
        cannot be told any more. How many proposals that makes uncertain.
        """
        lost = [batch for batch in (*self._logged, *self._overtaken) if batch.index <= index]
        self._logged = deque(batch for batch in self._logged if batch.index > index)
        self._overtaken = [batch for batch in self._overtaken if batch.index > index]
        proposals = [p for batch in lost for p in batch.proposals if p.done is not None]
        for proposal in proposals:
            proposal.settle(Uncertain())
        return len(proposals)

    def expire(self, now: float) -> tuple[int, int]:
        """Answer everything past its deadline; (refused, uncertain) counts. Cheap until one is due."""
        if now < self._earliest:
            return 0, 0
        late = [p for p in self._waiting if p.deadline <= now]
        self._waiting = deque(p for p in self._waiting if p.deadline > now and p.done is not None)
        uncertain = [p for p in self._in_log() if p.deadline <= now]
        for proposal in late:
            proposal.settle(Busy())
        for proposal in uncertain:
            proposal.settle(Uncertain())
        unanswered = (*self._waiting, *self._in_log())
        self._earliest = min((p.deadline for p in unanswered), default=float("inf"))
        return len(late), len(uncertain)

    def refuse_older(self, created: float, outcome: Refused) -> int:
        """Refuse what waits since `created` (monotonic seconds) or longer; how many those were."""
        count = 0
        while self._waiting and self._waiting[0].created <= created:
            self._waiting.popleft().settle(outcome)
            count += 1
        return count

    def abandon(self) -> None:
        """The group stopped: what is logged is uncertain, what waits is refused."""
        waiting, in_log = list(self._waiting), list(self._in_log())
        self._waiting.clear()
        self._logged.clear()
        self._overtaken.clear()
        for proposal in waiting:
            proposal.settle(Stopping())
        for proposal in in_log:
            proposal.settle(Uncertain())

    def _in_log(self) -> Iterator[Proposal]:
        for batch in (*self._logged, *self._overtaken):
            yield from (p for p in batch.proposals if p.done is not None)
