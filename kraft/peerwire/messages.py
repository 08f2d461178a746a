"""Messages between hosts that are not consensus: forwarded writes, read rounds asked by a follower,
snapshots, invitations, administration, comparison of replicas.

They travel beside `raft.messages` on the same link as (group, message) pairs. Tags 1 to 31 belong to
consensus, 32 and above to hosts.
"""

import msgspec

from kraft.raft import messages as raft
from kraft.raft.membership.configuration import Base, Member


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

    `request` only routes the answer; the leader confirms with tokens of its own. `fresh`: and with no lease.
    """

    request: int
    fresh: bool = False


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=35, gc=False):
    """`index` 0 means refused: not the leader. `stamp` is the leader's running stamp in Unix ms."""

    request: int
    index: int
    stamp: int


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, tag=36, gc=False):
    """A follower's next entry is not in its leader's log any more: here is a copy of the state machine.

    Fields as in `kv.checkpoint.Checkpoint`. `reseed`: take it although the log goes further, because the
    follower's own state is known to be wrong. Repeated until the follower asks for it.
    """

    base: Base
    revision: int
    keys: int
    size: int
    sum: bytes
    reseed: bool = False


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag=37, gc=False):
    """Send the piece behind the key `after` (None: the first) of the snapshot at (`index`, `term`)."""

    index: int
    term: int
    after: bytes | None


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, tag=38, gc=False):
    """The answer: encoded rows, their CRC-32, their last key, and whether these are the last rows."""

    index: int
    term: int
    after: bytes | None
    rows: bytes
    checksum: int
    last: bytes
    end: bool


class Invitation(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """The receiver is a member now: `cluster` is the cluster id, `founders` the members it was made from."""

    cluster: str
    founders: tuple[Member, ...]
    groups: int


class Admin(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """Do this as the leader of the group; never passed on. `command` is an encoded `host.admin` command."""

    request: int
    timeout_ms: int
    command: bytes


class AdminReply(msgspec.Struct, frozen=True, array_like=True, tag=42, gc=False):
    """Answer to `Admin`: an encoded result, or with `refused` what `host.admin` encodes to say why not."""

    request: int
    refused: bool
    result: bytes


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=43, gc=False):
    """The sender's checkpoint at `index` has this `sum` (`kv.checkpoint.Checkpoint.sum`)."""

    index: int
    sum: bytes


class Fence(msgspec.Struct, frozen=True, array_like=True, tag=44, gc=False):
    """A majority has the sum `sum` at `index`, the receiver has not: its state is wrong."""

    index: int
    sum: bytes


Message = (
    raft.Message
    | Forward
    | ForwardReply
    | ReadIndex
    | ReadIndexReply
    | SnapshotOffer
    | SnapshotRequest
    | SnapshotChunk
    | Invitation
    | Admin
    | AdminReply
    | Digest
    | Fence
)
