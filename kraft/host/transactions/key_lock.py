"""Exclusive locks of keys in several groups, before it is known what a transaction does with them.

A transaction that is computed from what it has read finds often that others were faster, where many want the
same keys: whoever is nearest to the leaders wins again and again. So after one conflict it locks its keys
first. It waits for them where all wait, first come, first served, and learns there what they hold. Then it
can be computed, and no conflict is possible.

The locks are those of a transaction that prepares and is never committed: `Prepare` in one group after the
other, in ascending order, for all keys that the transaction wants, also the watched ones and those of steps
that need no computation. If it waited for such a key later, in a lower group, whoever holds that could wait
for the locks here. Each group gets the abort of it in one proposal with the next step of the transaction that
was computed, so no other one comes in between (`CommitAttempt`). If the locks are lost meanwhile, as the
coordinator was slow and recovery has aborted them, that step finds a conflict as ever.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import View
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import Delete, Exec, Look, Prepare, Resolve, TransactionId
from kraft.kv.excerpt import EXCERPT_BYTES, excerpt
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_reply import StepOutcome, TransactionReply, transaction_reply
from kraft.node.errors import NoLeader, Refused, TooMuch, Uncertain
from kraft.node.ports import Clock

STEP_BYTES = 64  # of a step without work in a batch, approximately


class KeyLock:
    """Locks `keys`, by group, as `id`. `views` has what those in `looks` hold, by group, once all are locked.

    `done` gets None once, or why nothing is locked: `TooMuch` if what is looked at is more than one reply may
    hold. It must not raise. `ended` is called when this sends no Prepare any more, and nobody relies on the
    locks. `deadline` is in monotonic seconds.
    """

    def __init__(
        self,
        id: TransactionId,  # noqa: A002
        mark: int,
        keys: Mapping[int, Collection[bytes]],
        looks: Mapping[int, Collection[bytes]],
        requests: GroupRequests,
        clock: Clock,
        deadline: float,
        done: Callable[[StepOutcome | Exception | None], None],
        ended: Callable[[TransactionId], None],
    ) -> None:
        self.id = id
        self.groups = sorted(keys)
        self.views: dict[int, View] = {}
        self._mark = mark
        self._keys = keys
        self._looks = {group: Look(tuple(names)) for group, names in looks.items()}
        self._locked_groups = 0  # how many, from the first on
        self._requests = requests
        self._clock = clock
        self._deadline = deadline
        self._done = done
        self._ended = ended

    def start(self) -> None:
        """Lock the keys of the first group, and go on from there."""
        self._lock(0)

    def _lock(self, place: int) -> None:
        group = self.groups[place]
        keys = tuple(self._keys[group])
        delete = Delete(keys)  # never committed: a write locks exclusively
        work = Exec((), (self._looks[group], delete) if group in self._looks else (delete,))
        command = Prepare(self.id, self._mark, self.groups[-1], work)
        size = STEP_BYTES + 2 * sum(map(len, keys))
        self._requests.write(group, [command], size, partial(self._locked, place), waits=True)

    def _locked(self, place: int, outcome: WriteOutcome) -> None:
        if place < self._locked_groups:
            return
        if isinstance(outcome, Uncertain) and self._clock.seconds() < self._deadline:
            self._lock(place)
            return
        failure = self._failure(self.groups[place], outcome)
        if failure is not None:
            self._fail(failure)
            return
        self._locked_groups += 1
        if self._locked_groups < len(self.groups):
            self._lock(place + 1)
        else:
            self._done(None)

    def _failure(self, group: int, outcome: WriteOutcome) -> StepOutcome | Exception | None:
        """Why the keys of a group are not locked; None if they are, and what they hold is in `views`."""
        if isinstance(outcome, Exception):
            return outcome if isinstance(outcome, Refused) else NoLeader(group)
        try:
            vote = step_reply(outcome[0])
            if vote.outcome is not StepOutcome.PREPARED:
                return vote.outcome
            look = self._looks.get(group)
            return None if look is None else self._view(group, look, vote)
        except Exception as error:  # a mistake costs this client alone, and its locks go
            return error

    def _view(self, group: int, look: Look, vote: TransactionReply) -> Exception | None:
        replies: list = vote.replies  # type: ignore[assignment, type-arg]
        stamp, records, (looked, _) = replies
        if isinstance(looked, CommandFailure):
            return TooMuch(EXCERPT_BYTES)
        self.views[group] = View(excerpt(look, looked, records), stamp, vote.revision - 1)
        return None

    def _fail(self, outcome: StepOutcome | Exception) -> None:
        self.release()
        self._done(outcome)

    def release(self) -> None:
        """Let go of all locks, of which some may not be there any more."""
        for group in self.groups:
            self._requests.write(group, [Resolve(self.id, False)], STEP_BYTES, _ignore)
        self.end()

    def end(self) -> None:
        """Nobody relies on the locks any more."""
        self._ended(self.id)


def step_reply(reply: object) -> TransactionReply:
    """The reply to Prepare or Commit, also of one that waited for locks for too long, and was not logged."""
    if reply is CommandFailure.LOCKED:
        return TransactionReply(outcome=StepOutcome.LOCKED)
    return transaction_reply(reply)


def _ignore(_: WriteOutcome) -> None:
    """Nobody waits for the outcome: the leaders repeat what is left undone."""
