"""`Ready`: what consensus asks its host to do, with the order of effects in the types (as in etcd's raft).

The host sends `send_now` at once and begins the write `persist`. It sends `send_after_persist` only after
that write, and every earlier one of the group, is durable. It may apply `apply` at any time: these entries
are committed, and durable here already. There is no way to express "reply before the data is durable".
"""

import msgspec

from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, HardState, Message


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message for the peer `to`."""

    to: str
    message: Message


class Persist(msgspec.Struct, frozen=True, gc=False):
    """One write of a group, in one transaction; writes become durable in the order of `sequence`.

    The disk carries it out in this order:

    * `truncate_from`, if set: delete the rows at and above that index.
    * `base`, if set: delete the rows up to its index and keep the base in their place. The log begins after
      it; if no row is left, the next entry follows the base.
    * `entries`: append them; they are contiguous.
    * `state_file`, if set: the state file of this number is the group's from now on. It is a received
      snapshot, and the transaction that moves the log switches to it.

    `commit` is the commit index known now. It is stored with the entries, so that a restart can replay them
    before it hears from a leader. A write may be empty: then it only delays `send_after_persist` until the
    earlier writes are durable.
    """

    sequence: int
    hard_state: HardState | None
    truncate_from: int | None
    entries: tuple[Entry, ...]
    commit: int
    base: Base | None = None
    state_file: int | None = None


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """The read `ctx` may be answered when `index` is applied (RD 6.4)."""

    ctx: int
    index: int


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """`peer` needs entries from before the tail in memory: read them from disk and call `Raft.fetched`.

    At least one, from `first` up to `last`, as many as fit `max_bytes`.
    """

    peer: str
    first: int
    last: int
    max_bytes: int


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The effects of all inputs since the last `Ready`.

    `reads` may be answered when their index is applied; `reads_failed` are the `ctx` of reads that will not
    be proven. `snapshots` are the followers whose next entry is not in the leader's log any more: offer them
    a copy of the state machine. Each is named once; `Raft.snapshot_ended` lets it be named again.

    `restored`: the snapshot given to `Raft.install` has replaced the log up to this base. All that was
    applied before is void, as are the entries up to its index in earlier Readys. It counts when `persist` is
    durable.
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
