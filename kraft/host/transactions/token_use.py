"""The use of a token of KRAFT ONCE by a transaction over several groups."""

from collections.abc import Callable, Mapping

import msgspec

from kraft.kv.commands import OnceToken
from kraft.kv.replies import Reply


class TokenUse(msgspec.Struct, frozen=True):
    """A `token`, which the group `home` remembers with the reply to the whole transaction.

    `united` makes that reply of those of the groups. It has at most `reply_bytes_max` bytes, as it is in an
    entry of the log: else nothing is done.
    """

    token: OnceToken
    home: int
    united: Callable[[Mapping[int, Reply]], Reply]
    reply_bytes_max: int


class Remembered(msgspec.Struct, frozen=True):
    """What the client of a token gets without effect: the first reply, or why it gets none."""

    reply: Reply
