"""The values of consensus: log entries, hard state and the messages between replicas of one group.

All of them are frozen and encode to msgpack arrays, so that one definition serves memory, disk and wire.
Compatibility: a field is only ever appended, with a default; a decoder ignores fields it does not know.
A message carries neither sender nor receiver: the authenticated link that it travels on names both.
"""

from enum import IntEnum
from typing import ClassVar

import msgspec


class EntryKind(IntEnum):
    """The content of an entry's `data`."""

    NOOP = 0  # nothing: the first entry of each leader's term (RD 6.4), or a stamp alone
    COMMANDS = 1  # a batch of state machine commands, opaque to consensus
    CONFIGURATION = 2  # an encoded `membership.configuration.Configuration`
    MARKER = 3  # nothing: every replica takes a checkpoint at this index, so that they can be compared
    VERSION = 4  # the machine version in force from here on, in decimal digits; opaque to consensus


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the log.

    `stamp` is the time of the entry in Unix ms, never below that of the entry before it.
    """

    index: int
    term: int
    stamp: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Term and vote: on stable storage before any answer depends on them (RP figure 2).

    `vote` is the id of the node voted for in `term`, empty for none.
    """

    term: int = 0
    vote: str = ""


class Urgency(IntEnum):
    """The queue of a link in which a message waits; the most urgent first."""

    CONTROL = 0
    BULK = 1
    CHUNK = 2


class PeerMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message between nodes, of consensus or of the host.

    `to_node`: it is for the node, whatever group it comes with. `is_reply`: it answers a message of a replica
    and counts for the member that was asked, while others ask something of a member.
    """

    urgency: ClassVar[Urgency] = Urgency.CONTROL
    to_node: ClassVar[bool] = False
    is_reply: ClassVar[bool] = False


class ConsensusMessage(PeerMessage, frozen=True, array_like=True, gc=False):
    """A message between two replicas of a group.

    `from_leader`: only the leader of the message's term sends it. Requests go only to a member, and replies
    count only from one (`ReplicaState.is_current_incarnation`).
    """

    from_leader: ClassVar[bool] = False


class PreVote(ConsensusMessage, frozen=True, array_like=True, tag=1, gc=False):
    """Asks whether the receiver would vote for the sender in `term`; changes nothing there (RD 9.6)."""

    term: int
    last_index: int
    last_term: int


class PreVoteReply(ConsensusMessage, frozen=True, array_like=True, tag=2, gc=False):
    """A grant carries the asked term; a refusal the voter's own, which the asker adopts when it is higher."""

    is_reply = True

    term: int
    granted: bool


class Vote(ConsensusMessage, frozen=True, array_like=True, tag=3, gc=False):
    """RequestVote (RP figure 2). `transfer`: the leader itself asked for this election (RD 3.10)."""

    term: int
    last_index: int
    last_term: int
    transfer: bool = False


class VoteReply(ConsensusMessage, frozen=True, array_like=True, tag=4, gc=False):
    """Answers `Vote`. `wall_ms` is the voter's wall clock in Unix ms.

    A new leader takes its first stamp from the clocks of its voters.
    """

    is_reply = True

    term: int
    granted: bool
    wall_ms: int


class Append(ConsensusMessage, frozen=True, array_like=True, tag=5, gc=False):
    """AppendEntries with, usually, entries (RP figure 2).

    It is bulk even without entries. If it overtook the ones before it, the follower would refuse it, and the
    leader would start to probe.
    """

    from_leader = True
    urgency = Urgency.BULK

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...]


class AppendReply(ConsensusMessage, frozen=True, array_like=True, tag=6, gc=False):
    """Accepted: the log up to `index` matches and is durable. Rejected: `index` is the refused `prev_index`.

    `hint_index` and `hint_term` of a rejection name the place up to which the logs may agree, so that the
    leader skips a whole conflicting term at a time (RP 5.3).
    """

    is_reply = True

    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(ConsensusMessage, frozen=True, array_like=True, tag=7, gc=False):
    """Upholds the term, and confirms reads by `round`: the number of a heartbeat round, made by the leader.

    `commit` never exceeds what the receiver is known to hold. `newest` is the leader's own commit index, but
    at least the index of its first entry: before that is committed, the leader does not know how far its
    predecessors have committed. A receiver that has applied `newest` knows that its state is not old.
    """

    from_leader = True

    term: int
    commit: int
    round: int
    newest: int = 0


class HeartbeatReply(ConsensusMessage, frozen=True, array_like=True, tag=8, gc=False):
    """Echoes `round`. `wall_ms` is the sender's wall clock in Unix ms.

    `declines`: the sender would not take over leadership. `slow`: it would, and would be a slow leader; an
    earlier program does not say.
    """

    is_reply = True

    term: int
    round: int
    wall_ms: int
    declines: bool = False
    slow: bool = False


class TimeoutNow(ConsensusMessage, frozen=True, array_like=True, tag=9, gc=False):
    """The leader of `term` transfers its leadership: campaign at once, without asking first (RD 3.10)."""

    from_leader = True

    term: int


Message = (
    PreVote | PreVoteReply | Vote | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | TimeoutNow
)
