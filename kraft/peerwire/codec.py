"""Batches of messages to bytes and back, and the gate: what `decode` lets through is safe to trust.

A batch is the msgpack array of (group, message). Messages are arrays with a leading tag; a field appended by
a later version is ignored. Types are checked while decoding; what a type cannot say, such as that entries
follow each other, is checked here once, so that consensus need not. The checks know nothing of a replica's
state: whether a message is stale, or from a stranger, is for its receiver to decide.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kraft.peerwire import messages as peer
from kraft.peerwire.errors import WireError
from kraft.peerwire.messages import Message
from kraft.raft import messages as raft

NUMBER_MAX = (1 << 63) - 1  # what a column of the log can hold
GROUP_MAX = (1 << 31) - 1
BATCH_MESSAGES_MAX = 65_536  # a few bytes of wire become an object each: bounds what a batch costs in memory

_ENTRY_KINDS = frozenset(int(kind) for kind in raft.EntryKind)
_OUTCOMES = frozenset((peer.DONE, peer.NOT_PROPOSED, peer.UNCERTAIN))


def encode(messages: Sequence[tuple[int, Message]]) -> bytes:
    """The bytes of one batch of at most BATCH_MESSAGES_MAX (group, message) pairs."""
    return _encode(messages)


def decode(data: bytes) -> list[tuple[int, Message]]:
    """Inverse of `encode`. Raises WireError on anything that `encode` of a correct peer would not give."""
    try:
        batch = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a batch of messages: {error}") from None
    if len(batch) > BATCH_MESSAGES_MAX:
        raise WireError(f"batch of {len(batch)} messages")
    for group, message in batch:
        if not 0 <= group <= GROUP_MAX:
            raise WireError(f"group {group}")
        if not _CHECKS[type(message)](message):
            raise WireError(f"impossible {type(message).__name__}")
    return batch


def _is_asking(m: raft.PreVote | raft.Vote) -> bool:
    return 1 <= m.term <= NUMBER_MAX and 0 <= m.last_index <= NUMBER_MAX and 0 <= m.last_term < m.term


def _is_append(m: raft.Append) -> bool:
    if not (
        0 < m.term <= NUMBER_MAX
        and 0 <= m.prev_index <= NUMBER_MAX
        and 0 <= m.prev_term <= m.term
        and 0 <= m.commit <= NUMBER_MAX
    ):
        return False
    index, term, stamp = m.prev_index, m.prev_term, 0
    for entry in m.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= m.term or entry.stamp < stamp:
            return False
        if entry.kind not in _ENTRY_KINDS or entry.term < 1:
            return False
        term, stamp = entry.term, entry.stamp
    return index <= NUMBER_MAX and stamp <= NUMBER_MAX


def _is_append_reply(m: raft.AppendReply) -> bool:
    return (
        0 <= m.term <= NUMBER_MAX
        and 0 <= m.index <= NUMBER_MAX
        and 0 <= m.hint_index <= m.index
        and 0 <= m.hint_term <= m.term
    )


def _is_forward_reply(m: peer.ForwardReply) -> bool:
    return (
        0 <= m.request <= NUMBER_MAX
        and m.outcome in _OUTCOMES
        and (m.outcome == peer.DONE or not m.replies)
    )


def _are_numbers(*names: str) -> Callable[[Any], bool]:
    """A check that the named fields are numbers a replica can hold."""

    def check(message: Any) -> bool:
        return all(0 <= getattr(message, name) <= NUMBER_MAX for name in names)

    return check


def _is_heartbeat(m: raft.Heartbeat) -> bool:
    return 0 < m.term <= NUMBER_MAX and 0 <= m.commit <= NUMBER_MAX and 0 <= m.round <= NUMBER_MAX


def _is_heartbeat_reply(m: raft.HeartbeatReply) -> bool:
    return 0 <= m.term <= NUMBER_MAX and 0 <= m.round <= NUMBER_MAX and 0 <= m.wall_ms <= NUMBER_MAX


_CHECKS: dict[type, Callable[[Any], bool]] = {
    raft.PreVote: _is_asking,
    raft.PreVoteReply: _are_numbers("term"),
    raft.Vote: _is_asking,
    raft.VoteReply: _are_numbers("term", "wall_ms"),
    raft.Append: _is_append,
    raft.AppendReply: _is_append_reply,
    raft.Heartbeat: _is_heartbeat,
    raft.HeartbeatReply: _is_heartbeat_reply,
    peer.Forward: _are_numbers("request", "timeout_ms"),
    peer.ForwardReply: _is_forward_reply,
    peer.ReadIndex: _are_numbers("request"),
    peer.ReadIndexReply: _are_numbers("request", "index", "stamp"),
}

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[tuple[int, Message]])
