"""One read round of a group: its readers, and the view that they are given. `read_rounds` has the rules."""

from collections.abc import Callable

import msgspec

from kraft.kv.keyspace import Keyspace

READ_INDEX, LEASE, STALE = "read_index", "lease", "stale"  # kinds of reads, as observers name them


class View(msgspec.Struct, frozen=True, gc=False):
    """What a read may look at, during its callback only.

    `now_ms` is the stamp at which the read takes place: every key in the keyspace expires later. `revision`
    is that of the group's last change.
    """

    keyspace: Keyspace
    now_ms: int
    revision: int = 0


ReadOutcome = View | Exception
ReadDone = Callable[[ReadOutcome], None]


class Reader(msgspec.Struct, eq=False):
    """One waiting read of a client, or (`remote`) another node's question for a read index.

    `remote` is (peer, request), and such a reader has no `done`. A `fresh` read does not rely on a lease.
    `deadline` is in monotonic seconds. A reader is in one list at a time, and leaves the last one when it is
    answered, so that happens once.
    """

    deadline: float
    done: ReadDone | None
    remote: tuple[str, int] | None = None
    fresh: bool = False


class Round(msgspec.Struct, eq=False):
    """A read round: readers that share one confirmation.

    `asked` is the leader that was asked, empty for a round of this node's own. `kind` is READ_INDEX, or LEASE
    when an earlier round vouches for this one. `begun` is in monotonic seconds. It may be answered when
    `index` is applied, which is known once the round is confirmed.
    """

    ctx: int
    stamp: int
    begun: float
    readers: list[Reader]
    asked: str
    kind: str
    index: int = 0
