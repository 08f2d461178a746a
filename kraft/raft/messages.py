"""The values of consensus: log entries, hard state and the messages between replicas of one group.

All are frozen and encode to msgpack arrays, so that the same definition serves memory, disk and wire.
Compatibility: a field is only ever appended, with a default; a decoder ignores fields it does not know.
A message carries neither sender nor receiver: the authenticated link it travels on says who sent it.
"""

from enum import IntEnum

import msgspec


class EntryKind(IntEnum):
    """What an entry's `data` holds."""

    NOOP = 0  # nothing: the first entry of each leader's term (RD 6.4), or a stamp alone
    COMMANDS = 1  # a batch of state machine commands, opaque to consensus
    CONFIGURATION = 2  # an encoded `membership.Configuration`
    MARKER = 3  # nothing: every replica takes a checkpoint at this index, so that they can be compared
    VERSION = 4  # the machine version in force from here on, in decimal digits; opaque to consensus


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the log.

    `stamp` is the batch's time in Unix milliseconds, never below that of the entry before it.
    """

    index: int
    term: int
    stamp: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must be on stable storage before any answer depends on it (RP figure 2).

    `vote` is the node id voted for in `term`, empty for none.
    """

    term: int = 0
    vote: str = ""


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Would you vote for me in `term`? Changes nothing at the receiver (RD 9.6)."""

    term: int
    last_index: int
    last_term: int


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A grant carries the asked term; a refusal the voter's own, which the asker adopts when higher."""

    term: int
    granted: bool


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """RequestVote (RP figure 2). `transfer`: the leader itself asked for this election (RD 3.10)."""

    term: int
    last_index: int
    last_term: int
    transfer: bool = False


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """`wall_ms` is the voter's wall clock: the new leader's first stamp is taken from its voters' clocks."""

    term: int
    granted: bool
    wall_ms: int


class Append(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """AppendEntries with, usually, entries (RP figure 2)."""

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...]


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """`index` is durable and matches when accepted; when rejected it is the refused `prev_index`.

    `hint_index` and `hint_term` of a rejection name where the logs may still agree, so that the leader
    skips a whole conflicting term at a time (RP 5.3).
    """

    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Keeps the term and confirms reads: `round` is a token made by the leader, never by a client.

    `commit` never exceeds what the receiver is known to hold; `newest` is the leader's own commit index, by
    which the receiver can tell how old its state is.
    """

    term: int
    commit: int
    round: int
    newest: int = 0


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Echoes `round`; `wall_ms` is the sender's wall clock. `declines`: it would not take over leadership."""

    term: int
    round: int
    wall_ms: int
    declines: bool = False


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """The leader of `term` hands over: campaign at once, without asking first (RD 3.10)."""

    term: int


Message = (
    PreVote | PreVoteReply | Vote | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | TimeoutNow
)
