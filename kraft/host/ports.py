"""What the host needs from outside, as small protocols; `tap` joins them to Twisted, SQLite and sockets.

Callbacks of every port run on the host's own (reactor) thread, never inside the call that asked for them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.node.values import Received, Rows, Transaction
from kraft.raft.messages import Entry


class Disk(Protocol):
    """Stable storage of all groups. An I/O or sync error never comes back: it ends the process."""

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        """Make it durable, in the order of calls, then `done(True)`; `done(False)` when the disk is full
        and nothing of it was written.
        """

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        """Entries from `first` up to at most `last`, at least one, of about `max_bytes` at most.

        None at all when the log meanwhile begins behind `first` or ends before it.
        """

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        """Bring the group's state file to `capture`, durably, beside all other work; one at a time a group.

        None when the disk is full: the file stays as it was.
        """

    def open_snapshot(self, group: int, done: Callable[["SnapshotReader | None"], None]) -> None:
        """A view of the group's last checkpoint that later ones do not change; None when there is none."""

    def receive_snapshot(
        self, group: int, checkpoint: Checkpoint, done: Callable[["SnapshotWriter | None"], None]
    ) -> None:
        """Begin a new state file beside the present one, for a snapshot that arrives. One at a time a group;
        a second one takes the place of the first. None when the disk is full.
        """

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        """Remember, durably, that the group's state here is known to be wrong, or is right again.

        A switch to a received state file undoes a fence by itself, in the same commit.
        """


class SnapshotReader(Protocol):
    """One pinned view of a state file."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What the view holds."""

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        """The rows behind the key `after` (None: from the first), about `max_bytes`, at least one if any."""

    def close(self) -> None:
        """Let go of it; reads under way are not answered any more."""


class SnapshotWriter(Protocol):
    """A state file being received; its rows come in the order of their keys."""

    def write(self, data: bytes, done: Callable[[str], None]) -> None:
        """Add `Rows.data`; '' when it is in the file, else what is wrong, and then nothing of it is."""

    def finish(self, done: Callable[["Received | str"], None]) -> None:
        """All is there: compare with the checkpoint, make it durable, load it. A text says what is wrong."""

    def abandon(self) -> None:
        """Remove the file."""


class Network(Protocol):
    """Links to peers. Sending is fire and forget: consensus repeats what matters."""

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        """Queue (group, message) pairs for one peer.

        False when there is no link or its queue is full, and then certainly no `Forward` or `Admin` of them
        was queued:
        it may be sent again. True promises nothing.
        """

    def greet_again(self, peer: str) -> None:
        """Close the link to `peer`, if there is one, so that a new one brings the greetings of today."""

    def connect(self, peer: str, address: str) -> None:
        """Keep a link to `peer` from now on. A changed address takes the place of the old one."""

    def introduce(self, peer: str, address: str) -> None:
        """Dial `peer` once, whoever of the two dials by rule; nothing when there is a link or a try already.

        For a node that does not know us yet. The link counts like any other.
        """

    def disconnect(self, peer: str) -> None:
        """Close the link to `peer` and dial it no more."""


class Fatal(Protocol):
    """Ends the process with a reason; does not return, but in tests."""

    def __call__(self, reason: str, *, outdated: bool = False) -> None:
        """`outdated`: this program is too old for its cluster, so that starting it again would not help."""


class HostObserver(Protocol):
    """What the host tells of itself; implementations must not raise and must not call back."""

    def proposal(self, group: int, outcome: str, count: int) -> None:
        """`outcome` is committed, rejected, timeout or uncertain."""

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        """An entry of ours was applied `seconds` after it was logged."""

    def applied(self, group: int, seconds: float) -> None:
        """A slice of entries was applied in `seconds`."""

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        """A read round ended; `kind` is read_index, lease or stale, `outcome` served or refused."""

    def forwarded(self, outcome: str, count: int) -> None:
        """Proposals sent to a leader ended; `outcome` is done, not_proposed or uncertain."""

    def compared(self, group: int, outcome: str) -> None:
        """`outcome` is taken: a checkpoint is durable, and can be compared; or different: a replica's is."""

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        """A heartbeat of this leader found no link to `peer`, or no room on it."""

    def snapshot_transfer(self, group: int, direction: str, outcome: str, size: int, seconds: float) -> None:
        """A snapshot of which `size` bytes were moved ended; `direction` is send or receive, `outcome` done,
        abandoned (not needed any more) or failed.
        """

    def event(self, name: str, **fields: object) -> None:
        """Something an operator wants to see in the log, by its documented name."""
