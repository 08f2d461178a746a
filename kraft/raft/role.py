"""The interface of a role. The term rules come before it: it gets messages of its own term only.

There is one class for each role: `Follower`, `PreCandidate`, `Candidate`, `Leader`. A role works on the
replica's state, and asks for another role by `ReplicaState.role_change`.
"""

from collections.abc import Collection, Sequence

from kraft.raft.ballot import Ballot
from kraft.raft.errors import NotLeading
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    VoteReply,
)
from kraft.raft.progress import FollowerStatus
from kraft.raft.state import ReplicaState


class Role:
    """Ignores every message, and refuses what only a leader does."""

    __slots__ = ("_state",)

    ballot: Ballot | None = None  # of a candidate, and of a precandidate that was one in this term

    def __init__(self, state: ReplicaState) -> None:
        self._state = state

    # The course of a role

    def start(self) -> None:
        """The node has just taken this role."""

    def left(self) -> None:
        """The node takes another role."""

    def tick(self) -> None:
        """One tick passed."""

    def skip(self, ticks: int) -> None:
        """So many ticks passed in which nothing was due."""

    @property
    def spare_ticks(self) -> int:
        """How many ticks may pass before the next call of `tick`."""
        return 0

    def persisted(self) -> None:
        """More of this node's state is durable."""

    # Messages

    def append(self, sender: str, message: Append) -> None:
        """The leader of this term sends entries."""

    def heartbeat(self, sender: str, message: Heartbeat) -> None:
        """The leader of this term is there."""

    def receiving(self, sender: str) -> None:
        """A part of a message arrived from another node."""

    def append_reply(self, sender: str, message: AppendReply) -> None:
        """A follower answers an `Append`."""

    def heartbeat_reply(self, sender: str, message: HeartbeatReply) -> None:
        """A follower answers a `Heartbeat`."""

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """A voter answers a `Vote`."""

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """A voter answers a `PreVote`; the reply may be of any term."""

    def timeout_now(self, sender: str) -> None:
        """The leader of this term transfers its leadership to this node."""

    # What only a leader does

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:  # noqa: ARG002
        """Append an entry: its (index, term). Raises `NotLeading` or `LogFull`."""
        raise NotLeading(self._state.leader)

    def read(self, ctx: int, floor: int) -> None:  # noqa: ARG002
        """Begin a read of at least index `floor`. Raises `NotLeading`."""
        raise NotLeading(self._state.leader)

    def reconfigure(self, target: Configuration) -> tuple[int, int]:  # noqa: ARG002
        """Begin to change the configuration: (index, term). Raises `NotLeading` or `ChangeRefused`."""
        raise NotLeading(self._state.leader)

    def transfer(self, to: str) -> None:  # noqa: ARG002
        """Begin to transfer leadership. Raises `NotLeading` or `TransferRefused`."""
        raise NotLeading(self._state.leader)

    def is_settled(self, linked: Collection[str]) -> bool:  # noqa: ARG002
        """Whether this node leads and the `linked` followers lack nothing."""
        return False

    def replicate(self) -> None:
        """Send followers what they lack."""

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """Older entries for `peer` were read from disk."""

    def snapshot_ended(self, peer: str) -> None:
        """The copying of the state machine to `peer` ended, successfully or not."""

    def unreachable(self, peer: str) -> None:
        """The link to `peer` is down, or did not take a message."""

    def spoken_for(self, peer: str, heard: int) -> None:
        """A beat of the node `peer` spoke for this quiet group at the tick `heard`."""

    def progress(self) -> tuple[FollowerStatus, ...]:
        """The followers in the order of their ids."""
        return ()
