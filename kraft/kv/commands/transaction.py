"""Transactions over several groups: two-phase commit, in which the home group commits last.

The node of the client coordinates. It sends a `Prepare` to each group but one, the *home* group, and when all
have prepared, a `Commit` to the home group, whose entry decides, executes and records. Then each participant
gets a `Resolve`, and the home group a `Forget` for each that has confirmed. A leader that holds locks of a
transaction without hearing of it asks the home group with `Decide`. Every step may arrive twice, late, or
never; docs/design/transactions.md has the reasons, and `kraft.kv.transaction_reply` the replies.
"""

from typing import ClassVar

import msgspec

from kraft.kv.commands.exec import Exec
from kraft.kv.commands.once import OnceToken
from kraft.kv.replies import decode_replies

_SINCE = 4
LIFE_MS = 60_000  # of log time; then a transaction is too old to prepare or commit
NUMBER_BYTES = 8


class TransactionId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names one attempt to execute a transaction.

    `session` names one process that coordinates, at any time; it is not empty. `number` counts its attempts,
    from 1 on. `start` is the time (Unix ms) at which the attempt began by the coordinator's clock, not below
    that of any lower number of the session. Two ids are the same if session and number are.
    """

    session: bytes
    number: int
    start: int

    @property
    def name(self) -> bytes:
        """The id as bytes, without its start."""
        return transaction_name(self.session, self.number)


def transaction_name(session: bytes, number: int) -> bytes:
    """An id as bytes, without its start."""
    return session + number.to_bytes(NUMBER_BYTES, "big")


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=80, gc=False):
    """Step 1, in each participant: runs `work` on the side, keeps what it changed, and locks its keys.

    What `work` writes is locked exclusively, what it reads and watches is shared with others that read.
    Replies PREPARED with the replies of `work`; or, without effect, LOCKED, CHANGED, CONFLICT, FINISHED or
    TOO_OLD.

    `mark`: the coordinator drives no transaction of its session with a lower number any more. A group forgets
    what became of those, and refuses them.
    """

    since: ClassVar[int] = _SINCE
    id: TransactionId
    mark: int
    home: int
    work: Exec


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=81, gc=False):
    """Step 2, in the home group: executes `work` and decides for COMMITTED, or decides for ABORTED.

    `participants` are the groups that have prepared. If the home group itself has prepared this transaction,
    that is dropped first. Replies what was decided, also when that was before; TOO_OLD when it may have been
    decided and forgotten, which means *unknown*.
    """

    since: ClassVar[int] = _SINCE
    id: TransactionId
    mark: int
    participants: tuple[int, ...]
    work: Exec


class Resolve(msgspec.Struct, frozen=True, array_like=True, tag=82, gc=False):
    """Step 3, in each participant: what was prepared takes effect (`commit`) or is dropped, and is unlocked.

    Replies RESOLVED with the revision of its changes, 0 for none, or if it is not known any more.
    """

    since: ClassVar[int] = _SINCE
    id: TransactionId
    commit: bool


class Forget(msgspec.Struct, frozen=True, array_like=True, tag=83, gc=False):
    """Step 4, in the home group: `participant` has replied RESOLVED. Replies FORGOTTEN."""

    since: ClassVar[int] = _SINCE
    id: TransactionId
    participant: int


class Decide(msgspec.Struct, frozen=True, array_like=True, tag=84, gc=False):
    """Recovery, in the home group: what was decided? If nothing was, that is ABORTED from here on.

    A `holder` is a group that holds locks of the transaction: then the home group cannot have forgotten that
    it committed, so too old means ABORTED. To the coordinator it is TOO_OLD, which means *unknown*.
    """

    since: ClassVar[int] = _SINCE
    id: TransactionId
    holder: bool


class CommitOnce(msgspec.Struct, frozen=True, array_like=True, tag=85, gc=False):
    """Step 2 of a transaction with a token of KRAFT ONCE, in the home group, which has prepared as well.

    Decides for COMMITTED: what home has prepared takes effect, and `reply`, encoded, is remembered under the
    token. It is the reply to the whole transaction, which the coordinator has made of what all groups have
    prepared. If the token is known already, or there is no room for it, decides for ABORTED with the reason
    TOKEN, and replies what the client gets. A group that does not have the slot of the token's key decides
    for ABORTED with the reason NOT_OWNER: a token stays with its slot, where it is looked for again.
    """

    since: ClassVar[int] = 7
    id: TransactionId
    mark: int
    participants: tuple[int, ...]
    token: OnceToken
    reply: bytes

    def __post_init__(self) -> None:
        """Raises ValueError if `reply` is not one reply: then no log has this step."""
        try:
            [_] = decode_replies(self.reply)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error


TransactionCommand = Prepare | Commit | CommitOnce | Resolve | Forget | Decide
"""The steps of a transaction. Each is applied whatever stands before it in its entry."""
