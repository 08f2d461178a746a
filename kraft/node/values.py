"""Values that the host and storage exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from kraft.int64 import INT64_MAX
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.raft.membership.configuration import Member
from kraft.raft.membership.replica_number import ReplicaNumber
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist

_Number = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is. `cluster` is '' and `members` is () until the node has formed or joined a cluster.

    `members` are the founders of the cluster, sorted, and `groups` is the number of Raft groups with which it
    was formed: the cluster id is made from both. `created` is how many groups this node has made since.
    """

    id: str
    incarnation: str
    cluster: str = ""
    members: tuple[Member, ...] = ()
    groups: int = 1
    created: int = 0

    @property
    def total(self) -> int:
        """The number of groups of which this node has a replica."""
        return self.groups + self.created


class LastReplica(msgspec.Struct, frozen=True, gc=False):
    """The last replica that the node had of a group. `held`: it has it still, and has not destroyed it."""

    number: ReplicaNumber
    held: bool


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What one commit makes durable: (group, write) pairs in their order, and the identity if it changed.

    Each of `replicas`, by group, is noted in the place of all that the directory has of the group: its log,
    term, vote and state. So the node destroys a replica, or begins an empty one after that.
    """

    writes: tuple[tuple[int, Persist], ...] = ()
    identity: Identity | None = None
    replicas: tuple[tuple[int, LastReplica], ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a data directory held when the process started.

    `groups` has the log of every group, `checkpoints` the last checkpoint and its keys of every group that
    has one, `fenced` the groups whose state is known to be wrong. `starts` counts the processes that were
    started on this directory, this one included. `replicas` are the last ones of the groups that the node has
    left at least once; those that it does not hold are not in `groups`.
    """

    identity: Identity
    groups: dict[int, Restored]
    checkpoints: dict[int, tuple[Checkpoint, Keyspace]] = field(default_factory=dict)
    fenced: frozenset[int] = frozenset()
    starts: int = 1
    replicas: Mapping[int, LastReplica] = field(default_factory=dict)


class Rows(msgspec.Struct, frozen=True, gc=False):
    """A piece of a snapshot: encoded rows in the order of their keys.

    `last` is the last key of the piece. `end` is true for the last piece of the snapshot.
    """

    data: bytes
    last: bytes
    end: bool


class SnapshotRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of `Rows.data`: a key, or with `ledger` a row of the ledger."""

    key: bytes
    value: bytes
    revision: _Number
    expires: _Number
    ledger: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


_decode_rows = msgspec.msgpack.Decoder(list[SnapshotRow]).decode


def decode_rows(data: bytes) -> list[SnapshotRow]:
    """The rows in `Rows.data`. Raises `msgspec.DecodeError`."""
    return _decode_rows(data)


@dataclass(frozen=True, slots=True)
class Received:
    """A complete state file. It is durable, and in use once a `raft.ready.Persist` names its `number`."""

    number: int
    checkpoint: Checkpoint
    keyspace: Keyspace
