"""Messages between hosts other than consensus: forwarded writes, read rounds for followers, snapshots,
invitations, administration, comparison of replicas, conditions of nodes, requests to groups elsewhere.

They share a link with `raft.messages`, as (group, message) pairs. Tags 1 to 31 belong to consensus, 32 and
above to hosts.
"""

from kraft.raft import messages as raft
from kraft.raft.membership.configuration import Base, Joining, Member
from kraft.raft.membership.replica_number import ReplicaNumber
from kraft.raft.messages import PeerMessage, Urgency


class Forward(PeerMessage, frozen=True, array_like=True, tag=32, gc=False):
    """Asks the leader to propose these commands; the receiver never forwards them again.

    `request` is a number of the sender's, unique in its process; `timeout_ms` is the time left until its
    deadline; `commands` is an encoded batch of the state machine.
    """

    urgency = Urgency.BULK

    request: int
    timeout_ms: int
    commands: bytes


class WaitingForward(Forward, frozen=True, array_like=True, tag=47, gc=False):
    """A `Forward` whose commands wait at the leader for keys that a transaction over several groups locks.

    Only nodes that have such transactions in force send it.
    """


class ForwardReply(PeerMessage, frozen=True, array_like=True, tag=33, gc=False):
    """Answers `Forward`. `replies` is an encoded list when `outcome` is DONE, else empty."""

    urgency = Urgency.BULK

    request: int
    outcome: int
    replies: bytes


DONE, NOT_PROPOSED, UNCERTAIN = range(3)  # the three kinds of `ForwardReply.outcome`


class ReadIndex(PeerMessage, frozen=True, array_like=True, tag=34, gc=False):
    """Asks the leader to confirm its leadership and return the index that a read begun now must wait for.

    RD 6.4. `request` only routes the answer; the leader confirms with tokens of its own. `fresh`: by a round,
    not by a lease.
    """

    request: int
    fresh: bool = False


class ReadIndexReply(PeerMessage, frozen=True, array_like=True, tag=35, gc=False):
    """Answers `ReadIndex`. `index` 0: refused, not the leader. `stamp`: its running stamp in Unix ms."""

    request: int
    index: int
    stamp: int


class LockQuestion(PeerMessage, frozen=True, array_like=True, tag=60, gc=False):
    """Asks the leader to send the commit index once these transactions, by name, hold no lock any more.

    Reads wait for them at the sender. Only peers that speak `hello.WIRE_REPLICAS` get it.
    """

    holders: tuple[bytes, ...]


HOLDERS_MAX = 256  # of one `LockQuestion`


class SnapshotOffer(PeerMessage, frozen=True, array_like=True, tag=36, gc=False):
    """Offers a copy of the state machine to a follower that needs entries its leader no longer has.

    Fields as in `kv.checkpoint.Checkpoint`. `reseed`: take it although the log goes further, because the
    follower's own state is known to be wrong. The leader repeats the offer until the follower asks for it.
    """

    base: Base
    revision: int
    keys: int
    size: int
    sum: bytes
    reseed: bool = False
    machine_version: int = 1


class SnapshotRequest(PeerMessage, frozen=True, array_like=True, tag=37, gc=False):
    """Asks for the piece after the key `after` (None: the first) of the snapshot at (`index`, `term`)."""

    is_reply = True

    index: int
    term: int
    after: bytes | None


class SnapshotChunk(PeerMessage, frozen=True, array_like=True, tag=38, gc=False):
    """Answers `SnapshotRequest`: encoded rows, their CRC-32, their last key, whether the rows end."""

    urgency = Urgency.CHUNK

    index: int
    term: int
    after: bytes | None
    rows: bytes
    checksum: int
    last: bytes
    end: bool


class Invitation(PeerMessage, frozen=True, array_like=True, tag=40, gc=False):
    """The receiver is a member now: `cluster` is the cluster's id, `founders` its bootstrap members.

    `first_only`: it begins with group 0 alone, and gets replicas of other `groups` with their first messages.
    """

    to_node = True

    cluster: str
    founders: tuple[Member, ...]
    groups: int
    first_only: bool = False


class Admin(PeerMessage, frozen=True, array_like=True, tag=41, gc=False):
    """Asks the leader to carry out `command`, an encoded `node.admin` command; never passed on."""

    to_node = True
    urgency = Urgency.BULK  # small, but like a Forward it may be repeated only if it was not sent

    request: int
    timeout_ms: int
    command: bytes


class AdminReply(PeerMessage, frozen=True, array_like=True, tag=42, gc=False):
    """Answers `Admin` with an encoded result, or if `refused` with a reason that `host.admin` encodes."""

    to_node = True

    request: int
    refused: bool
    result: bytes


class Digest(PeerMessage, frozen=True, array_like=True, tag=43, gc=False):
    """Reports the `sum` of the sender's checkpoint at `index` (`kv.checkpoint.Checkpoint.sum`)."""

    is_reply = True

    index: int
    sum: bytes


class Fence(PeerMessage, frozen=True, array_like=True, tag=44, gc=False):
    """A majority has the sum `sum` at `index` and the receiver has another: its state is wrong."""

    index: int
    sum: bytes


class NodeCondition(PeerMessage, frozen=True, array_like=True, tag=45, gc=False):
    """What a node reports about itself to every peer: after each change, and every few seconds.

    `wall_ms` is its wall clock in Unix ms. `disk_full`: it accepts no entries and does not vote. `disk_slow`
    and `loop_slow`: its disk or its event loop is too slow to lead. `drained`: an operator keeps it from
    leading. `fenced`: its data of some group is known to be wrong. `memory_full`: it admits no write that
    needs memory. Only peers that speak
    `hello.WIRE_CONDITION` get it: for an older one its tag is malformed, and would end the link.
    """

    to_node = True

    wall_ms: int = 0
    disk_full: bool = False
    disk_slow: bool = False
    loop_slow: bool = False
    drained: bool = False
    fenced: bool = False
    memory_full: bool = False


class Beat(PeerMessage, frozen=True, array_like=True, tag=46, gc=False):
    """Speaks for all groups that are quiet (`kraft.host.beats`), in each heartbeat interval and direction.

    `epoch` and `to_epoch` number the link at the sender and at the receiver (0: not known yet). `sequence`
    numbers the sender's beats on the link, `answers` is the last one of the receiver's that it has. `version`
    numbers what the sender tells of groups that it leads, `knows` what it knows of the receiver's. `wall_ms`
    is its wall clock in Unix ms. `changes` are (group, term, index): the group is quiet with that last entry,
    or with two zeros not any more. `awake` are groups that the receiver calls quiet and that are not, here.
    Only peers that speak `hello.WIRE_BEATS` get it, and only where there are several groups.
    """

    to_node = True

    epoch: int
    to_epoch: int
    sequence: int
    answers: int
    version: int
    knows: int
    wall_ms: int
    changes: tuple[tuple[int, int, int], ...] = ()
    awake: tuple[int, ...] = ()


ReplicaMessage = raft.Message | SnapshotOffer | SnapshotRequest | SnapshotChunk | Digest | Fence
"""What one replica says to another one. The other messages of a group are between its nodes."""


class Numbered(PeerMessage, frozen=True, array_like=True, tag=48, gc=False):
    """A message between two replicas of which one has a number: `receiver` is that of the one it is for.

    Only members that speak `hello.WIRE_REPLICAS` have, or get, such replicas.
    """

    to_node = True  # which knows what replica it has, or begins the one that the message is for

    message: ReplicaMessage
    receiver: ReplicaNumber
    sender: ReplicaNumber

    @property
    def urgency(self) -> Urgency:  # type: ignore[override]
        """The queue of a link in which it waits: that of the message in it."""
        return self.message.urgency


class MembershipQuestion(PeerMessage, frozen=True, array_like=True, tag=49, gc=False):
    """The replica `number` of the sender has heard no leader for a while: is it a member still?

    Only peers that speak `hello.WIRE_REPLICAS` get it.
    """

    to_node = True

    number: ReplicaNumber


class Dismissal(PeerMessage, frozen=True, array_like=True, tag=50, gc=False):
    """Answers `MembershipQuestion`, by the leader: a committed configuration is without that replica."""

    to_node = True

    number: ReplicaNumber


def without_numbers(message: "Message") -> "Message":
    """The message in `message`, if that is a `Numbered`, or else itself."""
    return message.message if isinstance(message, Numbered) else message


class GroupPlace(PeerMessage, frozen=True, array_like=True, tag=56, gc=False):
    """Tells a node that is no member of a group who leads that, as the sender's replica knows.

    `term` is the replica's, and `leader` leads in it; `configuration` is the index of the configuration in
    force there, which has these `members`. `version` is the machine version in force. For plans of the
    placement there are the `voters`, with those of a joint configuration, the `coming`, new replicas that are
    to vote, and whether the members are `changing` in another way. Only peers that speak
    `hello.WIRE_REPLICAS` get it.
    """

    to_node = True

    term: int
    configuration: int
    leader: str
    members: tuple[str, ...]
    version: int
    voters: tuple[str, ...] = ()
    coming: tuple[Joining, ...] = ()
    changing: bool = False


class ReadKeys(PeerMessage, frozen=True, array_like=True, tag=57, gc=False):
    """Asks a member of a group for a linearizable read of `names`: keys, and kinds of rows of the ledger.

    Without names it is a read of the group as a whole, which shows no key. The member may leave out names
    after the first `needed` ones. `fresh`: the leader is confirmed by a round, not by a lease. Of a kind of
    which `rows` has some, these are enough: each is a key of the ledger. An earlier program sends all.
    """

    urgency = Urgency.BULK

    request: int
    names: tuple[bytes | int, ...]
    needed: int
    fresh: bool = False
    rows: tuple[bytes, ...] = ()


class QueryKeys(PeerMessage, frozen=True, array_like=True, tag=59, gc=False):
    """Asks a member of a group what a command on all keys asks there: `query` as `kraft.server` encodes it.

    It is answered by a `ReadKeysReply`, with an encoded answer in place of the rows. `fresh` is as of
    `ReadKeys`.
    """

    urgency = Urgency.BULK

    request: int
    query: bytes
    fresh: bool = False


class ReadKeysReply(PeerMessage, frozen=True, array_like=True, tag=58, gc=False):
    """Answers `ReadKeys`. `rows` is an encoded `kv.excerpt.ExcerptRows` if `outcome` is READ, else empty."""

    urgency = Urgency.BULK

    request: int
    outcome: int
    rows: bytes


READ, NOT_READ, MOVED, LOCKED, CROWDED, TOO_MUCH = range(6)  # the kinds of `ReadKeysReply.outcome`


Message = (
    raft.Message
    | Forward
    | WaitingForward
    | ForwardReply
    | ReadIndex
    | ReadIndexReply
    | LockQuestion
    | SnapshotOffer
    | SnapshotRequest
    | SnapshotChunk
    | Invitation
    | Admin
    | AdminReply
    | Digest
    | Fence
    | NodeCondition
    | Beat
    | Numbered
    | MembershipQuestion
    | Dismissal
    | GroupPlace
    | ReadKeys
    | QueryKeys
    | ReadKeysReply
)
