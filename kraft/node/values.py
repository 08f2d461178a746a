"""Values that the host, storage and the composition root exchange; each is declared once, here."""

from dataclasses import dataclass, field

import msgspec

from kraft.kv.checkpoint import Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.raft.membership.configuration import Member
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is. `cluster` is empty and `members` is () until the node has formed or joined a cluster.

    `members` is the bootstrap list: the sorted members the cluster id was made from.
    """

    id: str
    incarnation: str
    cluster: str = ""
    members: tuple[Member, ...] = ()


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What goes to disk in one commit: an identity when it changed, and the groups' writes in their order."""

    writes: tuple[tuple[int, Persist], ...] = ()
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a data directory held at start.

    `checkpoints` has the state of every group that has a checkpoint; `fenced` the groups whose state is
    known to be wrong. `starts` counts the starts of a process on this directory, this one included.
    """

    identity: Identity
    groups: dict[int, Restored]
    checkpoints: dict[int, tuple[Checkpoint, Keyspace]] = field(default_factory=dict)
    fenced: frozenset[int] = frozenset()
    starts: int = 1


class Rows(msgspec.Struct, frozen=True, gc=False):
    """A piece of a snapshot: encoded rows in the order of their keys. `last` is the last key of the piece."""

    data: bytes
    last: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A complete state file, durable and not in use yet: `raft.ready.Persist.state` switches to `number`."""

    number: int
    checkpoint: Checkpoint
    keyspace: Keyspace
