"""`Ready`: what the core asks its host to do, with the order of effects in the types (style of etcd's raft).

The order: `send_now` at once; then `persist`; `send_after_persist` only when that write, and every earlier
one of the group, is durable. `apply` waits for no later persist: it only ever holds entries that are
committed and already durable here. Answering before the disk has the data has no spelling.
"""

import msgspec

from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, HardState, Message


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message for one peer."""

    to: str
    message: Message


class Persist(msgspec.Struct, frozen=True, gc=False):
    """One write of a group; writes become durable in the order of `sequence`.

    When `truncate_from` is set, rows at and above it are deleted first. When `base` is set, rows up to its
    index are deleted and it is kept in their place: the log begins behind it; where no row is left the next
    entry follows the base. `entries` then follow contiguously. `state` is the number of the state file that
    is the group's from now on: a received snapshot, switched in by the very transaction that moves the log.
    `commit` is the commit index known now: kept beside the entries so that a restart can replay early.
    An empty write is legal: it only orders `send_after_persist` behind earlier writes.
    """

    sequence: int
    hard_state: HardState | None
    truncate_from: int | None
    entries: tuple[Entry, ...]
    commit: int
    base: Base | None = None
    state: int | None = None


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """The read `ctx` may be answered once `index` is applied (RD 6.4)."""

    ctx: int
    index: int


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """Entries below the in-memory tail are needed for `peer`; answer with `Raft.fetched`."""

    peer: str
    first: int
    last: int
    max_bytes: int


class Ready(msgspec.Struct, frozen=True, gc=False):
    """Effects of everything stepped since the last one.

    `snapshots` are followers whose next entry is not in the leader's log any more: offer them a copy of the
    state machine. Each is named once; `Raft.snapshot_ended` lets it be named again. `restored`: the snapshot
    given to `Raft.install` has taken the place of the log up to its base; everything applied before, and
    everything in `apply` of earlier Readys up to its index, is void. It counts once `persist` is durable.
    """

    send_now: tuple[Outgoing, ...] = ()
    persist: Persist | None = None
    send_after_persist: tuple[Outgoing, ...] = ()
    apply: tuple[Entry, ...] = ()
    reads: tuple[ReadState, ...] = ()
    reads_failed: tuple[int, ...] = ()
    fetch: tuple[Fetch, ...] = ()
    snapshots: tuple[str, ...] = ()
    restored: Base | None = None
