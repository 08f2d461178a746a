"""The replies to the steps of a transaction over several groups (`kraft.kv.commands.transaction`)."""

from enum import IntEnum
from typing import Any

import msgspec

from kraft.kv.commands.exec import Exec
from kraft.kv.commands.lock import Guarded, Lock
from kraft.kv.commands.strings import CompareAndSet
from kraft.kv.commands.transaction import TransactionId
from kraft.kv.replies import CommandFailure, Reply


class StepOutcome(IntEnum):
    """What came of a step."""

    PREPARED = 1
    COMMITTED = 2
    ABORTED = 3  # it will never take effect anywhere
    LOCKED = 4  # another transaction has locked a key
    CHANGED = 5  # a watched key has changed: EXEC replies nil
    CONFLICT = 6  # what a script read has changed since the leader evaluated it
    FINISHED = 7  # it is resolved here, or aborted: the coordinator is late
    TOO_OLD = 8  # Prepare: never prepared from here on; Commit, Decide: unknown
    RESOLVED = 9
    FORGOTTEN = 10
    PREMATURE = 11  # the leader did not log it: `CommandFailure.PREMATURE`
    NOT_OWNER = 12  # the slot of a key belongs to another group
    TOKEN = 13  # that of KRAFT ONCE is known, or there is no room for it


class TransactionReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The reply to one step.

    `replies`, of PREPARED and COMMITTED, is the reply of an `Exec` with the same steps; None for COMMITTED
    when it is not known any more. `reason` says why ABORTED was decided, if this step decided it: LOCKED,
    CHANGED, CONFLICT, NOT_OWNER, or TOKEN, whose `replies` is the reply to the client. `holder` and its
    `home` are of the transaction that has LOCKED a key, None when it is a slot that is frozen.

    `revision` of RESOLVED is that of its changes. That of PREPARED is provisional: what `work` changed has it
    in `replies`, and gets another one when it takes effect: see `with_revision`.
    """

    outcome: StepOutcome
    replies: Reply = None
    revision: int = 0
    reason: StepOutcome | None = None
    holder: TransactionId | None = None
    home: int = -1

    def to_reply(self) -> Reply:
        """The reply as a value that travels between nodes."""
        holder: Reply = None
        if self.holder is not None:
            holder = [self.holder.session, self.holder.number, self.holder.start]
        reason = None if self.reason is None else int(self.reason)
        return [int(self.outcome), self.replies, self.revision, reason, holder, self.home]


def transaction_reply(reply: Any) -> TransactionReply:
    """Inverse of `TransactionReply.to_reply`. Raises ValueError if it is no reply to a step."""
    if reply is CommandFailure.PREMATURE:
        return TransactionReply(outcome=StepOutcome.PREMATURE)
    try:
        outcome, replies, revision, reason, holder, home = reply
        return TransactionReply(
            outcome=StepOutcome(outcome),
            replies=replies,
            revision=revision,
            reason=None if reason is None else StepOutcome(reason),
            holder=None if holder is None else TransactionId(*holder),
            home=home,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{reply!r} is no reply to a step of a transaction") from error


def needs_revision(work: Exec) -> bool:
    """Whether replies to `work` may hold the revision of its changes: then they come after Resolve."""
    return any(type(_inner(step)) in (CompareAndSet, Lock) for step in work.steps)


def with_revision(work: Exec, prepared: TransactionReply, revision: int) -> Reply:
    """The replies that were `prepared`, when their changes have taken effect with `revision`.

    No record that was there before has the provisional revision, so it stands for these changes alone.
    """
    replies: Any = prepared.replies
    provisional = prepared.revision
    stamp, records, each = replies
    records = [
        [value, revision if found == provisional else found, expires] for value, found, expires in records
    ]
    pairs = zip(work.steps, each, strict=True)
    return [stamp, records, [_settled(_inner(step), reply, provisional, revision) for step, reply in pairs]]


def _settled(step: Any, reply: Any, provisional: int, revision: int) -> Reply:
    if type(step) is CompareAndSet and reply == provisional:
        return revision
    if type(step) is Lock and isinstance(reply, list) and reply[1] == provisional:
        return [reply[0], revision, *reply[2:]]
    settled: Reply = reply
    return settled


def _inner(step: Any) -> Any:
    return step.command if type(step) is Guarded else step
