"""What the host needs from outside, as small protocols.

`kraft.process.service` connects them to Twisted, SQLite and sockets.

The callbacks of every port run on the reactor's thread, and never inside the call that asked for them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.kv.commands import Change, ScriptCall
from kraft.kv.overlay import Overlay
from kraft.kv.replies import Reply
from kraft.node.admin import AdminDone
from kraft.node.values import Received, Rows, Transaction
from kraft.raft.messages import Entry


class Disk(Protocol):
    """Stable storage of all groups. An error of I/O or sync is not reported: it ends the process."""

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        """Make `transaction` durable, in the order of calls, and call `done(True)`.

        `done(False)`: the disk is full, and nothing of the transaction was written.
        """

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """Read entries from `first` up to at most `last`: at least one, and about `max_bytes` at most.

        `done` gets none when the log meanwhile begins after `first`, or ends before it.
        """

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """Bring the group's state file to `capture`, alongside all other work, and make it durable.

        At most one at a time for each group. `done` gets None when the disk is full: the file is unchanged.
        """

    def open_snapshot(self, group: int, done: Callable[["SnapshotReader | None"], None]) -> None:
        """Open a view of the group's last checkpoint, which later ones do not change.

        `done` gets None when there is no checkpoint.
        """

    def receive_snapshot(
        self, group: int, checkpoint: Checkpoint, done: Callable[["SnapshotWriter | None"], None]
    ) -> None:
        """Begin a new state file in addition to the present one, for a snapshot that arrives.

        There is one at a time for each group: a second one replaces the first. `done` gets None when the disk
        is full.
        """

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        """Record durably that the group's state here is known to be wrong, or is right again.

        A switch to a received state file removes a fence by itself, in the same commit.
        """


class SnapshotReader(Protocol):
    """One pinned view of a state file."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the view shows."""

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        """Read rows after the key `after` (None: from the first): about `max_bytes`, and at least one."""

    def close(self) -> None:
        """Close the view. Reads under way are not answered any more."""


class SnapshotWriter(Protocol):
    """A state file that is being received. Its rows come in the order of their keys."""

    def write(self, data: bytes, done: Callable[[str], None]) -> None:
        """Add `Rows.data`. `done` gets '', or the reason why nothing of it was added."""

    def finish(self, done: Callable[["Received | str"], None]) -> None:
        """All rows are there: compare them with the checkpoint, make the file durable, and load it.

        `done` gets the reason as a text when that fails.
        """

    def abandon(self) -> None:
        """Remove the file."""


class Network(Protocol):
    """Links to peers. A message may get lost: consensus repeats what matters."""

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        """Queue (group, message) pairs for one peer. True promises nothing.

        False when there is no link, or its queue is full. Then certainly no `Forward` and no `Admin` of them
        was queued, and may be sent again.
        """

    def windows(self) -> Mapping[str, int]:
        """The bytes that each open link carries within its round trip and a short queue."""

    def congested(self) -> Collection[str]:
        """The peers whose links were full within the last second."""

    def greet_again(self, peer: str) -> None:
        """Close the link to `peer`, if there is one, so that a new link brings new greetings."""

    def ping(self, peer: str, answered: Callable[[], None]) -> None:
        """Ask the process at the other end of the link to `peer`. `answered` is called with its answer.

        It is not called when there is no link, or when the link ends first, at either end.
        """

    def connect(self, peer: str, address: str) -> None:
        """Keep a link to `peer` from now on. Another address replaces the old one."""

    def introduce(self, peer: str, address: str) -> None:
        """Dial `peer` once, even if that peer dials this node by rule, as it may not know this node yet.

        Does nothing when there is a link, or a try under way. The link counts like any other.
        """

    def disconnect(self, peer: str) -> None:
        """Close the link to `peer`, and do not dial it any more."""


class BackupTaker(Protocol):
    """Writes backups to a directory of this node."""

    def take(self, name: str, done: AdminDone) -> None:
        """Write the image `name`, verified; '' names it by the time. `done` gets `TakeBackup`'s result."""


class Fatal(Protocol):
    """Ends the process with a reason. It returns in tests only."""

    def __call__(self, reason: str, *, outdated: bool = False) -> None:
        """`outdated`: this program is too old for its cluster, so starting it again would not help."""


class HostObserver(Protocol):
    """Gets the reports of the host. It must not raise, and must not call back."""

    def proposal(self, group: int, outcome: str, count: int) -> None:
        """`count` proposals ended. `outcome` is committed, rejected, timeout or uncertain."""

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        """An entry with `proposals` of this node was applied `seconds` after it was logged."""

    def applied(self, group: int, seconds: float) -> None:
        """A slice of entries was applied in `seconds`."""

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        """A read round ended. `kind` is read_index, lease or stale; `outcome` is served or refused."""

    def forwarded(self, outcome: str, count: int) -> None:
        """`count` forwarded proposals ended. `outcome` is done, not_proposed or uncertain."""

    def replaying(self, group: int, entries: int, of: int) -> None:
        """At a start, `entries` of `of` entries are applied: again and again until all are."""

    def compared(self, group: int, outcome: str) -> None:
        """`outcome` is taken: a checkpoint is durable, and is compared; or different: a replica differs."""

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        """A heartbeat of this leader found no link to `peer`, or no room in its queue."""

    def snapshot_transfer(self, group: int, direction: str, outcome: str, size: int, seconds: float) -> None:
        """The transfer of a snapshot ended after `size` bytes.

        `direction` is send or receive; `outcome` is done, abandoned (not needed any more) or failed.
        """

    def slots_frozen(self, group: int, seconds: float) -> None:
        """Slots of `group`, which is led here, were frozen for so long, and are not any more."""

    def event(self, name: str, **fields: object) -> None:
        """Something happened that an operator wants to see in the log. `name` is documented."""


class ScriptEffects(msgspec.Struct, frozen=True):
    """What a script did: its writes, and the reply to its caller.

    `encoded` is the same reply for the log, if it was asked for; `size` the bytes of all that together. A
    reply that is not `final` is no outcome of the script: it was not run, or stopped, and may succeed later.
    """

    steps: tuple[Change, ...]
    reply: Reply
    encoded: bytes = b""
    size: int = 0
    final: bool = True


QueryDone = Callable[[bytes | Exception], None]


class KeyQueries(Protocol):
    """Answers what a command on all keys asks of one group, for other nodes; `kraft.server` provides it."""

    def answer(self, group: int, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """Answer `query` from a linearizable view of the group, perhaps before this returns.

        `fresh` is as of `Host.read`. Raises msgspec.MsgspecError when the query cannot be decoded.
        """


class ScriptEvaluator(Protocol):
    """Evaluates scripts; `kraft.server` provides it."""

    def evaluate(
        self, overlay: Overlay, script: ScriptCall, used: int = 0, *, logged: bool = False
    ) -> ScriptEffects:
        """Run `script` on `overlay`, which has its effects afterwards. Never raises.

        The overlay has held what was before. Scripts of the same proposal have done `used` bytes before.
        `logged` asks for `ScriptEffects.encoded`.
        """
