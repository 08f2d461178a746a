"""Messages between hosts that are not consensus: forwarded writes and read rounds asked by a follower.

They travel beside `raft.messages` on the same link as (group, message) pairs. Tags 1 to 31 belong to
consensus, 32 and above to hosts.
"""

import msgspec

from kraft.raft import messages as raft


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=32, gc=False):
    """Propose these commands if you lead the group; never forward them again.

    `request` is made by the sender and unique for its process; `timeout_ms` is what is left of its deadline;
    `commands` is an encoded batch of the state machine.
    """

    request: int
    timeout_ms: int
    commands: bytes


class ForwardReply(msgspec.Struct, frozen=True, array_like=True, tag=33, gc=False):
    """Answer to `Forward`. `replies` is an encoded list when `outcome` is DONE, else empty."""

    request: int
    outcome: int
    replies: bytes


DONE, NOT_PROPOSED, UNCERTAIN = range(3)  # the three kinds of `ForwardReply.outcome`


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=34, gc=False):
    """Confirm your leadership and tell the index that a read begun now must have applied (RD 6.4).

    `request` only routes the answer; the leader confirms with tokens of its own.
    """

    request: int


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=35, gc=False):
    """`index` 0 means refused: not the leader. `stamp` is the leader's running stamp in Unix ms."""

    request: int
    index: int
    stamp: int


Message = raft.Message | Forward | ForwardReply | ReadIndex | ReadIndexReply
