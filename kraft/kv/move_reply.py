"""The replies to the steps of a move (`kraft.kv.commands.move`)."""

from enum import IntEnum
from typing import Any

import msgspec

from kraft.kv.replies import Reply


class MoveOutcome(IntEnum):
    """What came of a step."""

    OPEN = 1
    FROZEN = 2
    ACTIVE = 3
    CANCELLED = 4  # the move will never become active
    OWN = 5
    RELEASED = 6
    SWEPT = 7
    CLOSED = 8
    REFUSED = 9  # nothing happened: the slots are not as the step needs them
    LOCKED = 10  # nothing happened: a transaction over several groups holds keys
    MISMATCH = 11  # nothing happened: the receiver has other keys than the source
    EARLY = 12  # nothing happened: the log time of the receiver is behind that of the source


class MoveReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The reply to one step.

    `count` is the next chunk of OPEN, and the number of keys of ACTIVE and SWEPT. `revision` and `stamp` are
    of FROZEN.
    """

    outcome: MoveOutcome
    count: int = 0
    revision: int = 0
    stamp: int = 0

    def to_reply(self) -> Reply:
        """The reply as a value that travels between nodes."""
        return [int(self.outcome), self.count, self.revision, self.stamp]


def move_reply(reply: Any) -> MoveReply:
    """Inverse of `MoveReply.to_reply`. Raises ValueError if it is no reply to a step."""
    try:
        outcome, count, revision, stamp = reply
        return MoveReply(outcome=MoveOutcome(outcome), count=count, revision=revision, stamp=stamp)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{reply!r} is no reply to a step of a move") from error
