"""What goes into storage and comes out of it.

Storage and host stand beside each other and do not import one another: a host's transaction fits the
protocols here by its shape, and `tap` turns `Loaded` into what the host is given.
"""

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from kraft.kv.checkpoint import Image
from kraft.kv.keyspace import Keyspace
from kraft.raft.membership import Member
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist


class NodeIdentity(Protocol):
    """Who this node is; until it has formed or joined, `cluster` is empty and `members` is ()."""

    @property
    def id(self) -> str:
        """The node's id."""

    @property
    def incarnation(self) -> str:
        """32 hex digits, made with the directory."""

    @property
    def cluster(self) -> str:
        """The cluster id; empty for none."""

    @property
    def members(self) -> tuple[Member, ...]:
        """The sorted members that the cluster id was made from."""


class Writes(Protocol):
    """What goes to disk in one commit: writes of groups, in order, and the identity when it changed."""

    @property
    def writes(self) -> tuple[tuple[int, Persist], ...]:
        """(group, write) pairs."""

    @property
    def identity(self) -> NodeIdentity | None:
        """The identity from now on; id and incarnation never change."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`NodeIdentity` as stored."""

    id: str
    incarnation: str
    cluster: str = ""
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a data directory held at start.

    `images` has the state of every group that has a checkpoint; `fenced` the groups whose state is known to
    be wrong. `starts` counts the starts of a process on this directory, this one included.
    """

    identity: Identity
    groups: dict[int, Restored]
    images: dict[int, tuple[Image, Keyspace]] = field(default_factory=dict)
    fenced: frozenset[int] = frozenset()
    starts: int = 1


class Rows(msgspec.Struct, frozen=True, gc=False):
    """A piece of an image: encoded rows in the order of their keys. `last` is the last key of the piece."""

    data: bytes
    last: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A complete state file, durable and not in use yet."""

    number: int
    image: Image
    keyspace: Keyspace
