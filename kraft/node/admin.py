"""Commands of administrators, as values: typed by the client port, carried to the leader, done by its host.

Some concern a single node and are never sent anywhere (`LOCAL`); all others are for the leader of the group,
wherever it is. A result is a plain value: text, number, list or dict.
"""

from collections.abc import Callable

import msgspec


class Add(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Make the standby node `id` at `address` (`host:port` of its peer port) a member.

    It begins as a learner and becomes a voter by itself once it has caught up, unless `learner`. `force`,
    here and below: do it although it puts the quorum at risk.
    """

    id: str
    address: str
    learner: bool = False
    force: bool = False


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Take `id` out of the cluster for good: its data directory can never come back."""

    id: str
    force: bool = False


class Promote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Let the learner `id` vote, at once."""

    id: str
    force: bool = False


class Demote(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Make the voter `id` a learner that stays one."""

    id: str
    force: bool = False


class Readdress(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The peer port of `id` is at `address` from now on."""

    id: str
    address: str
    force: bool = False


class Replace(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """`new` at `address` takes the place of `old`. Equal ids: the same node with an emptied directory."""

    old: str
    new: str
    address: str
    force: bool = False


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Hand leadership to `to`, or to the voter that is most caught up. The result is the new leader."""

    to: str = ""


class StepDown(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Hand leadership to the voter that is most caught up. The result is the new leader."""


class TakeSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Let every replica take a checkpoint now. The result is its index."""


class Verify(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Compare the replicas at one index. The result is a list of dicts: node, index, sum, state."""


class Reseed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Replace the state of `id`, which differs from the others', by a copy of the leader's."""

    id: str


class Drain(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Give up leadership here and take none, until switched off. Local."""

    on: bool


class Compact(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Drop log entries behind the last checkpoint but `keep` (below 0: as configured). Local.

    The result is how many entries went.
    """

    keep: int = -1


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
)
MembershipChange = Add | Remove | Promote | Demote | Readdress | Replace  # what `host.membership` does
LOCAL = (Drain, Compact)  # done by the node that is asked
CHECKPOINTING = (TakeSnapshot, Verify, Reseed)  # wait for a checkpoint of the leader
AdminResult = str | int | list[object] | dict[str, object]
AdminOutcome = AdminResult | Exception
AdminDone = Callable[[AdminOutcome], None]


def command_name(command: AdminCommand) -> str:
    """The name of `command` in the log."""
    return "transfer" if isinstance(command, TransferLeadership) else type(command).__name__.lower()


def encode(command: AdminCommand) -> bytes:
    """The bytes of `Admin.command`."""
    return _encode(command)


def decode(data: bytes) -> AdminCommand:
    """Inverse of `encode`. Raises `msgspec.DecodeError`, also for a command of a newer program."""
    command: AdminCommand = _command.decode(data)
    return command


def encode_result(result: AdminResult) -> bytes:
    """The bytes of a plain result."""
    return _encode(result)


def decode_result(data: bytes) -> AdminResult:
    """Inverse of `encode_result`. Raises `msgspec.DecodeError`."""
    result: AdminResult = _result.decode(data)
    return result


_encode = msgspec.msgpack.Encoder().encode
_command = msgspec.msgpack.Decoder(AdminCommand)
_result = msgspec.msgpack.Decoder(AdminResult)
