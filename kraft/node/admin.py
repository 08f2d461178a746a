"""Administrators' commands as values: a client's node makes them, and the leader's node carries them out.

The commands in `LOCAL` concern the node that is asked, and are never sent to another one. A `SlotChange` or
`PlacementChange` is carried out by that node as well, which writes to group 0 as for a client. All others go
to the leader of every group, wherever it is. A result is a plain value: text, number, list or dict.
"""

from collections.abc import Callable

import msgspec


class Add(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make the standby node `id` at `address` (`host:port` of its peer port) a member.

    It begins as a learner and becomes a voter by itself once it has caught up; with `learner` it stays a
    learner. `force`, here and below: do it even if it puts the quorum at risk.
    """

    id: str
    address: str
    learner: bool = False
    force: bool = False


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Remove `id` from the cluster for good: its data directory can never come back."""

    id: str
    force: bool = False


class Promote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Make the learner `id` a voter at once."""

    id: str
    force: bool = False


class Demote(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Make the voter `id` a learner, which stays a learner."""

    id: str
    force: bool = False


class Readdress(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """From now on the peer port of `id` is at `address` (`host:port`)."""

    id: str
    address: str
    force: bool = False


class Replace(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Let `new` at `address` take the place of `old`. Equal ids: the same node with an emptied directory.

    A learner may take the place of a voter; then `address` may be ''.
    """

    old: str
    new: str
    address: str
    force: bool = False


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Transfer leadership to `to`, or to the best voter. The result is the id of the new leader.

    A `group` below 0 means all groups.
    """

    to: str = ""
    group: int = -1


class StepDown(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Transfer leadership to the best voter. The result is the id of the new leader."""


class TakeSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Let every replica take a checkpoint now. The result is the index of the checkpoint."""


class Verify(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Compare the replicas at one index. The result has a dict for each: node, index, sum, state."""


class Reseed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Replace the state of `id`, which differs from the others, by a copy of the leader's state."""

    id: str


class Drain(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """While `on`: transfer the leadership of this node away, and take none. Local."""

    on: bool


class Compact(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Drop log entries up to the last checkpoint except the last `keep` (below 0: as configured). Local.

    The result is the number of entries that are dropped.
    """

    keep: int = -1


MembershipChange = (
    Add | Remove | Promote | Demote | Readdress | Replace
)  # carried out by `host.membership.changes`


class Rehearse(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Say whether the leader of a group would begin `command` now, and do nothing.

    `everywhere`: every group has all members. Nodes of earlier versions do not say.
    """

    command: MembershipChange
    everywhere: bool = False


class OpenImage(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Take a checkpoint and keep it open on this node. Local.

    The result is its token and its head, the JSON of a `backup.manifest.Manifest` without parts.
    """


class ReadImage(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Read a piece of the open image `token` after the key `after` (None: from the first row). Local.

    The result is the piece, its last key, and 1 if it is the last piece of the group.
    """

    token: int
    group: int
    after: bytes | None = None


class CloseImage(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Close the open image `token`. Local."""

    token: int


class TakeBackup(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Write the image `name` into the backup directory of this node; '' names it by the time. Local.

    The result is a dict: name, directory, keys, bytes, and the index of each group.
    """

    name: str


class HoldProposals(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Let the leader log no commands for so many `milliseconds`, or until `LogHeldMarker` with this `token`.

    No client sends it. Writes wait meanwhile. The result is `OK`.
    """

    token: int
    milliseconds: int


class LogHeldMarker(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Log a marker for a checkpoint, if nothing was logged since `HoldProposals` with this `token`.

    Then writes go on. The result is [index, term] of the marker.
    """

    token: int


class PinCheckpoint(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Pin the checkpoint of a group at the marker (`index`, `term`), for an image of a node without it.

    No client sends it, nor those below. The result is [token, `backup.manifest.GroupImage` as JSON], or [] if
    there is no such checkpoint. What was pinned before for the same `image` and group is closed: the answer
    was lost. Nodes of earlier versions name no image (0).
    """

    index: int
    term: int
    image: int = 0


class ReadCheckpoint(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """Read a piece of a pinned checkpoint after the key `after` (None: the first), from byte `offset` on.

    The result is [a part of the piece, the bytes of all of it, its last key, whether it is the last piece].
    """

    token: int
    after: bytes | None
    offset: int


class KeepCheckpoint(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Keep a pinned checkpoint, though nobody reads it just now. The result is `OK`."""

    token: int


class CloseCheckpoint(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """Unpin a checkpoint. The result is `OK`."""

    token: int


CheckpointLoan = PinCheckpoint | ReadCheckpoint | KeepCheckpoint | CloseCheckpoint
"""What a node without a group asks of its leader for an image (`host.backup.lent_checkpoints`)."""


class FindLogs(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """Tell how far the logs of these groups reach, if the node leads them. No client sends it, nor the next.

    The result has [group, index of the first entry, index up to which entries are applied] for each.
    """

    groups: tuple[int, ...]


class ReadLog(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """Read some entries of a group from `first` up to at most `last`, as MessagePack, from byte `offset` on.

    The result is [a part of them, the bytes of all of it], 0 bytes if the log begins later.
    """

    first: int
    last: int
    offset: int


LogLoan = FindLogs | ReadLog
"""What a node without a group asks of its leader for a shipped log (`host.backup.lent_logs`)."""


class MoveSlots(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Move the slots from `first` to `last`, all of one group, to `group`.

    The result is the id of the move, which is planned by then, and not done.
    """

    first: int
    last: int
    group: int


class CancelMove(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Cancel the move with this `id`. It may take place nevertheless, if it was about to."""

    id: int


class SplitGroup(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Divide the slots of `group` evenly among `parts` groups: itself, and others that have none.

    The result, here and below, is a list with a dict for each move that is planned: id, slots, from, to.
    """

    group: int
    parts: int = 2


class MergeGroups(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """Give all slots of `group` to the group `into`. The first one stays, and has none."""

    group: int
    into: int


class RebalanceSlots(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Give all groups that have slots the same number of them. `dry`: only tell the moves, without ids."""

    dry: bool = False


SlotChange = MoveSlots | CancelMove | SplitGroup | MergeGroups | RebalanceSlots
"""What the node that is asked lets group 0 plan (`host.moves.planner`)."""


class CreateGroups(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Let the cluster have as many as `groups` groups. Those that are created have no slots.

    The result is the number of groups, which is higher where there were more before.
    """

    groups: int


class SetVoters(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """Let the members `voters` vote in `group`, in the place of the voters `before`. No client sends it."""

    group: int
    before: tuple[str, ...]
    voters: tuple[str, ...]
    force: bool = False


class PlaceReplica(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """Give `node`, a member of the cluster, a replica of `group`, which has the voters `before`.

    It votes once it has caught up, in the place of the voter `replaces`, whose replica then leaves; '': in
    addition. The result is 'OK' once it is on its way. No client sends it.
    """

    group: int
    before: tuple[str, ...]
    node: str
    replaces: str
    force: bool = False


class DropReplica(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """Take the replica of `node`, which has no vote, out of `group`, which has the voters `before`.

    `coming`: it is on its way to a vote. No client sends it.
    """

    group: int
    before: tuple[str, ...]
    node: str
    coming: bool = False
    force: bool = False


ReplicaChange = SetVoters | PlaceReplica | DropReplica
"""What the placement asks of the leader of one group."""

GroupChange = MembershipChange | ReplicaChange
"""What the leader of one group can change of its members."""


class SetReplication(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Let so many nodes vote in each group, 0: all members in all groups.

    The result is 'OK' once that is logged. The votes then move by themselves. `force`: even if no group then
    survives the loss of a node, or if learners get votes that were to stay without.
    """

    replication: int
    force: bool = False


class ShowReplication(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """Tell how many nodes vote in a group, and what is to be done about it.

    The result is a dict: replication, settling, leaving, steps, votes.
    """


class RebalanceReplicas(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """Give all nodes about the same number of votes. `dry`: only tell the steps.

    The result is a list with a dict for each step: group, voters, to.
    """

    dry: bool = False


PlacementChange = SetReplication | ShowReplication | RebalanceReplicas
"""What the node that is asked lets group 0 log (`host.placement`)."""


AdminCommand = (
    Add
    | Remove
    | Promote
    | Demote
    | Readdress
    | Replace
    | TransferLeadership
    | StepDown
    | TakeSnapshot
    | Verify
    | Reseed
    | Drain
    | Compact
    | Rehearse
    | OpenImage
    | ReadImage
    | CloseImage
    | TakeBackup
    | HoldProposals
    | LogHeldMarker
    | CheckpointLoan
    | LogLoan
    | SlotChange
    | CreateGroups
    | ReplicaChange
    | PlacementChange
)
LOCAL = (
    Drain,
    Compact,
    OpenImage,
    ReadImage,
    CloseImage,
    TakeBackup,
)  # carried out by the node that is asked
CHECKPOINTING = (TakeSnapshot, Verify, Reseed, PinCheckpoint)  # these wait for a checkpoint of the leader
# These do the same when they are carried out again, so the next leader gets them when one is lost.
REPEATABLE = (Rehearse, TakeSnapshot, Verify, Reseed, ReadLog)
DONE = "DONE"  # the result of a rehearsal where the members are as the command wants them
SILENT = (  # too many of them to be logged
    ReadImage,
    CloseImage,
    HoldProposals,
    LogHeldMarker,
    SetVoters,
    PlaceReplica,
    DropReplica,
    PinCheckpoint,
    ReadCheckpoint,
    KeepCheckpoint,
    CloseCheckpoint,
    FindLogs,
    ReadLog,
)
AdminResult = str | int | list[object] | dict[str, object]
AdminOutcome = AdminResult | Exception
AdminDone = Callable[[AdminOutcome], None]


def command_name(command: AdminCommand) -> str:
    """The name of `command` in the log."""
    return _NAMES.get(type(command)) or type(command).__name__.lower()


def encode(command: AdminCommand) -> bytes:
    """The bytes of `peerwire.messages.Admin.command`."""
    return _encode(command)


def decode(data: bytes) -> AdminCommand:
    """The inverse of `encode`. Raises `msgspec.DecodeError`, even for a command of a newer program."""
    command: AdminCommand = _command.decode(data)
    return command


def encode_result(result: AdminResult) -> bytes:
    """The bytes of a result."""
    return _encode(result)


def decode_result(data: bytes) -> AdminResult:
    """The inverse of `encode_result`. Raises `msgspec.DecodeError`."""
    result: AdminResult = _result.decode(data)
    return result


_NAMES: dict[type, str] = {
    TransferLeadership: "transfer",
    MoveSlots: "move slots",
    CancelMove: "move cancel",
    SplitGroup: "split",
    MergeGroups: "merge",
    RebalanceSlots: "rebalance slots",
    SetReplication: "replication",
    ShowReplication: "replication",
    RebalanceReplicas: "rebalance replicas",
    SetVoters: "voters",
    PlaceReplica: "place replica",
    DropReplica: "drop replica",
}
_encode = msgspec.msgpack.Encoder().encode
_command = msgspec.msgpack.Decoder(AdminCommand)
_result = msgspec.msgpack.Decoder(AdminResult)
