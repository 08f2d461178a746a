"""One attempt to commit a transaction over several groups: two-phase commit, where home commits last.

    Prepare   each participant runs its part aside, locks the keys, and replies. Nothing shows yet
    Commit    home, the group with the highest number, runs its part and records the decision, in one entry:
              this is when the transaction takes place, and when the client is answered
    Resolve   each participant shows its part, or drops it, and releases the keys
    Forget    home learns that a participant is done (`Coordinator`: of several at once)

Every step may be repeated. Before Commit is sent, nothing exists that could commit, so each failure means
that nothing was done. After that only home knows: Commit is repeated until it tells. Nobody has to remember
an attempt: what its coordinator leaves undone, the leaders finish (`TransactionRecovery`).

A participant that is asked to prepare may let the command wait for locked keys. Waiting is safe from
deadlocks if all take locks in ascending order of groups, one after the other; `ordered` does that. With two
groups there is nothing to order.

With a token of KRAFT ONCE home is the group that remembers it, whatever its number, so it prepares like the
others, in their order. Then all replies are known before the Commit, which carries the one to remember. Home
looks for the token in the entry that decides: attempts of the same command exclude each other there.

An attempt that takes over the locks of a `KeyLock` waits nowhere: it has
locks of all groups already.
"""

from collections.abc import Callable, Mapping
from functools import partial

from kraft.host.requests.proposal import WriteDone, WriteOutcome
from kraft.host.transactions.key_lock import STEP_BYTES, KeyLock, step_reply
from kraft.host.transactions.ports import GroupRequests
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv.commands import Commit, CommitOnce, Exec, Prepare, Resolve, TransactionId
from kraft.kv.replies import Reply, encode_replies
from kraft.kv.transaction_reply import (
    StepOutcome,
    TransactionReply,
    needs_revision,
    transaction_reply,
    with_revision,
)
from kraft.node.errors import NoLeader, Refused, ReplyTooLong, Uncertain
from kraft.node.ports import Clock

Replies = dict[int, Reply]
"""The reply of each group to its part, as `Exec` replies."""

AttemptOutcome = Replies | Remembered | StepOutcome | Exception
"""Nothing was done for a `Remembered`, a `StepOutcome` or a `Refused`. `Uncertain`: nobody can say."""

_Decision = Commit | CommitOnce

REPEAT_SECONDS = 0.05  # after which a Commit without a reply is sent again


class CommitAttempt:
    """Commits the `parts` of a transaction, by group, as `id`; `size` is the approximate bytes of all.

    `done` gets the outcome once. `ended` is called when this attempt will send no Prepare and no Commit any
    more: then `mark`, which is that of the session, may go beyond its number. `resolved` is called with home,
    the id, and a participant that home can forget. The `lock` of the same
    transaction, if there is one, is let go of in each group with its next step. With a `use` of a token there
    may be a single group, and no part has a reply that depends on its revision.
    """

    def __init__(
        self,
        id: TransactionId,  # noqa: A002
        mark: int,
        parts: Mapping[int, Exec],
        size: int,
        requests: GroupRequests,
        clock: Clock,
        deadline: float,
        done: Callable[[AttemptOutcome], None],
        ended: Callable[[TransactionId], None],
        resolved: Callable[[int, TransactionId, int], None],
        *,
        ordered: bool,
        lock: KeyLock | None = None,
        use: TokenUse | None = None,
    ) -> None:
        """`deadline` is in monotonic seconds: nothing is repeated after it."""
        self._id = id
        self._mark = mark
        self._parts = parts
        self._size = size
        self._requests = requests
        self._clock = clock
        self._deadline = deadline
        self._done = done
        self._ended = ended
        self._tell_home = resolved
        self._home = max(parts) if use is None else use.home
        self._participants = sorted(parts.keys() - {self._home})
        self._preparing = self._participants if use is None else sorted(parts)
        self._ordered = ordered or len(parts) <= 2
        self._lock = lock
        self._use = use
        self._replies: Replies = {}
        self._asked: set[int] = set()  # participants that may be prepared
        self._provisional: dict[int, TransactionReply] = {}  # of groups whose replies have a revision
        self._over = False
        self._in_doubt = False  # a Commit may be in the log

    def start(self) -> None:
        """Ask the participants to prepare."""
        for group in self._preparing[:1] if self._ordered else self._preparing:
            self._prepare(group)

    # -- Prepare --------------------------------------------------------------------------------------

    def _prepare(self, group: int) -> None:
        self._asked.add(group)
        command = Prepare(self._id, self._mark, self._home, self._parts[group])
        self._write(group, command, partial(self._prepared, group), waits=self._ordered)

    def _write(self, group: int, step: Prepare | _Decision, done: WriteDone, *, waits: bool) -> None:
        """Send a step to its group. Where keys are locked for it already, it takes the locks over."""
        if self._lock is None:
            self._requests.write(group, [step], self._size, done, waits=waits)
            return
        steps = [Resolve(self._lock.id, False), step] if group in self._lock.groups else [step]
        self._requests.write(group, steps, self._size, done)

    def _prepared(self, group: int, outcome: WriteOutcome) -> None:
        if self._over or group in self._replies:
            return
        if isinstance(outcome, Uncertain) and self._clock.seconds() < self._deadline:
            self._prepare(group)
        elif isinstance(outcome, Exception):
            self._abort(outcome if isinstance(outcome, Refused) else NoLeader(group))
        else:
            self._voted(group, step_reply(outcome[-1]))

    def _voted(self, group: int, vote: TransactionReply) -> None:
        if vote.outcome is not StepOutcome.PREPARED:
            self._abort(vote.outcome)
            return
        self._replies[group] = vote.replies
        if vote.revision and needs_revision(self._parts[group]):
            self._provisional[group] = vote
        if len(self._replies) == len(self._preparing):
            self._all_prepared()
        elif self._ordered:
            self._prepare(self._preparing[len(self._replies)])

    # -- Commit ---------------------------------------------------------------------------------------

    def _all_prepared(self) -> None:
        participants = tuple(self._participants)
        if self._use is None:
            self._commit(Commit(self._id, self._mark, participants, self._parts[self._home]), waits=True)
            return
        try:
            reply = encode_replies((self._use.united(self._replies),))
        except Exception as error:  # a bug costs this client alone
            self._abort(error)
            return
        if len(reply) > self._use.reply_bytes_max:
            self._abort(ReplyTooLong(self._use.reply_bytes_max))
            return
        self._size += len(reply)
        # Home has its locks, so this waits for none.
        self._commit(CommitOnce(self._id, self._mark, participants, self._use.token, reply), waits=False)

    def _commit(self, decision: _Decision, *, waits: bool) -> None:
        self._write(self._home, decision, partial(self._decided, decision), waits=waits)

    def _decided(self, decision: _Decision, outcome: WriteOutcome) -> None:
        if isinstance(outcome, list):
            self._settled(step_reply(outcome[-1]))
        elif isinstance(outcome, Refused) and not self._in_doubt:
            self._abort(outcome)  # no Commit was ever logged
        else:
            self._repeat(decision)

    def _repeat(self, decision: _Decision) -> None:
        """Home knows what became of it, so ask again with the same command."""
        now = self._clock.seconds()
        if not self._in_doubt:
            self._in_doubt = True
            self._clock.call_later(max(0.0, self._deadline - now), partial(self._end, Uncertain()))
        if now < self._deadline:
            self._clock.call_later(REPEAT_SECONDS, partial(self._commit, decision, waits=False))

    def _settled(self, reply: TransactionReply) -> None:
        if reply.outcome is StepOutcome.COMMITTED:
            if self._use is None:
                self._replies[self._home] = reply.replies
            self._resolve(commit=True)  # first: the client may want the same keys again at once
            if self._replies[self._home] is None:
                self._end(Uncertain())
            elif not self._provisional:
                self._end(self._replies)
        elif reply.outcome is StepOutcome.ABORTED and reply.reason is StepOutcome.TOKEN:
            self._abort(Remembered(reply.replies))
        elif reply.outcome is StepOutcome.ABORTED:
            self._abort(reply.reason or StepOutcome.FINISHED)
        elif reply.outcome is StepOutcome.TOO_OLD or self._in_doubt:
            self._end(Uncertain())  # it may have been committed, and forgotten: never "aborted"
        else:
            self._abort(reply.outcome)  # this Commit was not logged

    # -- the end --------------------------------------------------------------------------------------

    def _abort(self, outcome: Remembered | StepOutcome | Exception) -> None:
        self._resolve(commit=False)  # first: the next attempt wants the same keys
        if self._lock is not None:
            self._lock.release()
        self._end(outcome)

    def _end(self, outcome: AttemptOutcome) -> None:
        """Tell the outcome, once: a reply to Commit may come after the client has given up."""
        if self._over:
            return
        self._over = True
        if self._lock is not None:
            self._lock.end()
        self._ended(self._id)
        self._done(outcome)

    def _resolve(self, *, commit: bool) -> None:
        for group in self._participants if commit else sorted(self._asked):
            resolved = partial(self._resolved, group) if commit else _ignore
            self._requests.write(group, [Resolve(self._id, commit)], STEP_BYTES, resolved)

    def _resolved(self, group: int, outcome: WriteOutcome) -> None:
        if isinstance(outcome, list):
            self._tell_home(self._home, self._id, group)
        if group in self._provisional:
            revision = transaction_reply(outcome[0]).revision if isinstance(outcome, list) else 0
            self._completed(group, revision)

    def _completed(self, group: int, revision: int) -> None:
        """The part of `group`, whose replies have its revision, took effect with this one; 0: not known."""
        vote = self._provisional.pop(group)
        if not revision:
            self._end(Uncertain())
            return
        self._replies[group] = with_revision(self._parts[group], vote, revision)
        if not self._provisional:
            self._end(self._replies)


def _ignore(_: WriteOutcome) -> None:
    """Nobody waits for the outcome: the leaders repeat what is left undone."""
