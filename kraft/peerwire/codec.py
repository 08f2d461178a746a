"""Batches of messages to bytes and back, and the gate: nothing that no correct peer sends passes `decode`.

A batch is the msgpack array of (group, message). A message is an array with a leading tag; a decoder ignores
fields that a later version appended.

Decoding checks types. The gate checks, once, what a type cannot express, for example that entries are
contiguous, so that consensus and hosts need not. It knows nothing of a replica's state: the receiver decides
whether a message is stale, or comes from a stranger.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from kraft.int64 import INT64_MAX, parse_int64
from kraft.peerwire import messages as peer
from kraft.peerwire.errors import WireError
from kraft.peerwire.frames import CHUNK_BYTES_MAX
from kraft.peerwire.messages import Message
from kraft.raft import messages as raft
from kraft.raft.membership import configuration
from kraft.raft.membership.configuration import MEMBERS_MAX, TEXT_MAX, Base, members_fault

BATCH_MESSAGES_MAX = 65_536  # each takes a few bytes on the wire and an object in memory, which this bounds
NUMBER_MAX = INT64_MAX  # the largest number that a column of the log can hold
GROUP_MAX = (1 << 15) - 1  # as in the keys of the log
GROUPS_MAX = 1024  # of one cluster; each costs memory on a node as soon as it is invited
SUM_BYTES = 16  # of a sum over all keys; `kv.checkpoint.HASH_BYTES`
KEY_BYTES_MAX = 64 << 10  # the longest key that can be configured
ADMIN_BYTES_MAX = 1 << 20  # a command and its answer hold a few words per member
KIND_MAX = 255  # of rows of the ledger: the first byte of their keys
CONFIGURATION_BYTES_MAX = 1 << 20  # two of RETIRED_MAX and MEMBERS_MAX, and room for later fields

_NOOP, _COMMANDS, _CONFIGURATION, _MARKER, _VERSION = map(int, raft.EntryKind)
_OUTCOMES = frozenset((peer.DONE, peer.NOT_PROPOSED, peer.UNCERTAIN))
_READ_OUTCOMES = frozenset((peer.READ, peer.NOT_READ, peer.MOVED, peer.LOCKED, peer.CROWDED, peer.TOO_MUCH))


encode: Callable[[Sequence[tuple[int, Message]]], bytes] = msgspec.msgpack.Encoder().encode
"""The bytes of one batch of at most BATCH_MESSAGES_MAX (group, message) pairs."""

encode_pair: Callable[[tuple[int, Message]], bytes] = msgspec.msgpack.Encoder().encode
"""The bytes of one pair, for `join_pairs`."""

_join: Callable[[Sequence[msgspec.Raw]], bytes] = msgspec.msgpack.Encoder().encode


def join_pairs(pairs: Iterable[bytes]) -> bytes:
    """The bytes of a batch of pairs that are encoded already: what `encode` makes of the pairs."""
    return _join([msgspec.Raw(pair) for pair in pairs])


def decode(data: bytes) -> list[tuple[int, Message]]:
    """Inverse of `encode`. Raises WireError on bytes that no correct peer sends."""
    try:
        batch = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a batch of messages: {error}") from None
    if len(batch) > BATCH_MESSAGES_MAX:
        raise WireError(f"batch of {len(batch)} messages")
    for group, message in batch:
        if not 0 <= group <= GROUP_MAX:
            raise WireError(f"group {group}")
        if not _is_possible(message):
            raise WireError(f"impossible {type(message).__name__}")
    return batch


# The gate


def _is_possible(message: Message) -> bool:
    """Whether a correct peer can send `message`."""
    return _CHECKS[type(message)](message)


def _are_numbers(*names: str) -> Callable[[Any], bool]:
    """Returns a check that the named fields are numbers a replica can hold."""

    def check(message: Any) -> bool:
        return all(0 <= getattr(message, name) <= NUMBER_MAX for name in names)

    return check


# Consensus


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
        if entry.term < 1 or (entry.kind != _COMMANDS and not _is_rare_entry(entry)):
            return False
        term, stamp = entry.term, entry.stamp
    return index <= NUMBER_MAX and stamp <= NUMBER_MAX


def _is_rare_entry(entry: raft.Entry) -> bool:
    """Whether an entry without commands holds what its kind requires."""
    if entry.kind in (_NOOP, _MARKER):
        return not entry.data
    if entry.kind == _VERSION:
        return (parse_int64(entry.data) or 0) >= 1
    if entry.kind != _CONFIGURATION or len(entry.data) > CONFIGURATION_BYTES_MAX:
        return False
    try:
        value = configuration.decode(entry.data)
        return value.fault() is None and value.numbers_fault(entry.index, entry.term) is None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _is_append_reply(m: raft.AppendReply) -> bool:
    return (
        0 <= m.term <= NUMBER_MAX
        and 0 <= m.index <= NUMBER_MAX
        and 0 <= m.hint_index <= m.index
        and 0 <= m.hint_term <= m.term
    )


def _is_heartbeat(m: raft.Heartbeat) -> bool:
    return (
        0 < m.term <= NUMBER_MAX
        and 0 <= m.commit <= NUMBER_MAX
        and 0 <= m.round <= NUMBER_MAX
        and 0 <= m.newest <= NUMBER_MAX
    )


def _is_heartbeat_reply(m: raft.HeartbeatReply) -> bool:
    return 0 <= m.term <= NUMBER_MAX and 0 <= m.round <= NUMBER_MAX and 0 <= m.wall_ms <= NUMBER_MAX


def _is_timeout_now(m: raft.TimeoutNow) -> bool:
    return 0 < m.term <= NUMBER_MAX


# Snapshots


def _is_offer(m: peer.SnapshotOffer) -> bool:
    return (
        _is_base(m.base)
        and all(0 <= number <= NUMBER_MAX for number in (m.revision, m.keys, m.size))
        and (m.keys > 0 or m.size == 0)
        and len(m.sum) == SUM_BYTES
        and 1 <= m.machine_version <= NUMBER_MAX
    )


def _is_base(base: Base) -> bool:
    """Whether a copy can exist at this base: it has an entry, and a configuration at or before that entry."""
    return (
        1 <= base.configuration_index <= base.index <= NUMBER_MAX
        and 1 <= base.term <= NUMBER_MAX
        and 0 <= base.stamp <= NUMBER_MAX
        and base.configuration.fault() is None
        and base.configuration.numbers_fault(base.configuration_index, base.term) is None
    )


def _is_place(index: int, term: int, after: bytes | None) -> bool:
    """Whether this is a place in a snapshot: the one at (index, term), after the key `after`."""
    return (
        1 <= index <= NUMBER_MAX
        and 1 <= term <= NUMBER_MAX
        and (after is None or len(after) <= KEY_BYTES_MAX)
    )


def _is_snapshot_request(m: peer.SnapshotRequest) -> bool:
    return _is_place(m.index, m.term, m.after)


def _is_chunk(m: peer.SnapshotChunk) -> bool:
    if not _is_place(m.index, m.term, m.after) or len(m.last) > KEY_BYTES_MAX:
        return False
    goes_on = m.after is None or m.after < m.last
    return (goes_on or m.end) and len(m.rows) <= CHUNK_BYTES_MAX and m.checksum == crc32(m.rows)


# Hosts


def _is_forward_reply(m: peer.ForwardReply) -> bool:
    return (
        0 <= m.request <= NUMBER_MAX and m.outcome in _OUTCOMES and (m.outcome == peer.DONE or not m.replies)
    )


def _is_invitation(m: peer.Invitation) -> bool:
    return (
        0 < len(m.cluster) <= TEXT_MAX
        and m.cluster.isprintable()
        and len(m.founders) > 0
        and members_fault(m.founders) is None
        and 1 <= m.groups <= GROUPS_MAX
    )


def _is_admin(m: peer.Admin) -> bool:
    return (
        0 <= m.request <= NUMBER_MAX
        and 0 <= m.timeout_ms <= NUMBER_MAX
        and 0 < len(m.command) <= ADMIN_BYTES_MAX
    )


def _is_admin_reply(m: peer.AdminReply) -> bool:
    return 0 <= m.request <= NUMBER_MAX and len(m.result) <= ADMIN_BYTES_MAX


def _is_sum(m: peer.Digest | peer.Fence) -> bool:
    return 1 <= m.index <= NUMBER_MAX and len(m.sum) == SUM_BYTES


_are_numbers_of_beat = _are_numbers("epoch", "to_epoch", "sequence", "answers", "version", "knows", "wall_ms")


def _is_beat(m: peer.Beat) -> bool:
    return (
        _are_numbers_of_beat(m)
        and len(m.changes) <= GROUPS_MAX
        and len(m.awake) <= GROUPS_MAX
        and all(0 <= group <= GROUP_MAX for group in m.awake)
        and all(
            0 <= group <= GROUP_MAX and 0 <= term <= NUMBER_MAX and 0 <= index <= NUMBER_MAX
            for group, term, index in m.changes
        )
    )


def _is_numbered(m: peer.Numbered) -> bool:
    numbers = (m.receiver.term, m.receiver.index, m.sender.term, m.sender.index)
    return all(0 <= number <= NUMBER_MAX for number in numbers) and _is_possible(m.message)


def _has_number(m: peer.MembershipQuestion | peer.Dismissal) -> bool:
    return 0 <= m.number.term <= NUMBER_MAX and 0 <= m.number.index <= NUMBER_MAX


def _is_text(text: str) -> bool:
    return 0 < len(text) <= TEXT_MAX and text.isprintable()


def _is_place_of_group(m: peer.GroupPlace) -> bool:
    return (
        1 <= m.term <= NUMBER_MAX
        and 1 <= m.configuration <= NUMBER_MAX
        and 1 <= m.version <= NUMBER_MAX
        and 0 < len(m.members) <= 2 * MEMBERS_MAX  # of a joint configuration
        and all(map(_is_text, (m.leader, *m.members)))
        and set(m.voters) <= set(m.members)
        and all(each.id in m.members and len(each.replaces) <= TEXT_MAX for each in m.coming)
    )


def _is_lock_question(m: peer.LockQuestion) -> bool:
    named = all(0 < len(holder) <= KEY_BYTES_MAX for holder in m.holders)
    return named and 0 < len(m.holders) <= peer.HOLDERS_MAX


def _is_name(name: bytes | int) -> bool:
    return len(name) <= KEY_BYTES_MAX if isinstance(name, bytes) else 0 < name <= KIND_MAX


def _is_read_keys(m: peer.ReadKeys) -> bool:
    rows = all(0 < len(row) <= KEY_BYTES_MAX for row in m.rows)
    return (
        rows
        and 0 <= m.request <= NUMBER_MAX
        and 0 <= m.needed <= len(m.names)
        and all(map(_is_name, m.names))
    )


def _is_query(m: peer.QueryKeys) -> bool:
    return 0 <= m.request <= NUMBER_MAX and bool(m.query)  # a client's words, of any length


def _is_read_keys_reply(m: peer.ReadKeysReply) -> bool:
    return (
        0 <= m.request <= NUMBER_MAX
        and m.outcome in _READ_OUTCOMES
        and (m.outcome == peer.READ) == bool(m.rows)
    )


_CHECKS: dict[type, Callable[[Any], bool]] = {
    raft.PreVote: _is_asking,
    raft.PreVoteReply: _are_numbers("term"),
    raft.Vote: _is_asking,
    raft.VoteReply: _are_numbers("term", "wall_ms"),
    raft.Append: _is_append,
    raft.AppendReply: _is_append_reply,
    raft.Heartbeat: _is_heartbeat,
    raft.HeartbeatReply: _is_heartbeat_reply,
    raft.TimeoutNow: _is_timeout_now,
    peer.Forward: _are_numbers("request", "timeout_ms"),
    peer.WaitingForward: _are_numbers("request", "timeout_ms"),
    peer.ForwardReply: _is_forward_reply,
    peer.ReadIndex: _are_numbers("request"),
    peer.ReadIndexReply: _are_numbers("request", "index", "stamp"),
    peer.LockQuestion: _is_lock_question,
    peer.SnapshotOffer: _is_offer,
    peer.SnapshotRequest: _is_snapshot_request,
    peer.SnapshotChunk: _is_chunk,
    peer.Invitation: _is_invitation,
    peer.Admin: _is_admin,
    peer.AdminReply: _is_admin_reply,
    peer.Digest: _is_sum,
    peer.Fence: _is_sum,
    peer.NodeCondition: _are_numbers("wall_ms"),
    peer.Beat: _is_beat,
    peer.Numbered: _is_numbered,
    peer.MembershipQuestion: _has_number,
    peer.Dismissal: _has_number,
    peer.GroupPlace: _is_place_of_group,
    peer.ReadKeys: _is_read_keys,
    peer.QueryKeys: _is_query,
    peer.ReadKeysReply: _is_read_keys_reply,
}

_decoder = msgspec.msgpack.Decoder(list[tuple[int, Message]])
