"""What KRAFT ONCE does to the state: tokens are rows of the ledger, each with the first reply.

A row's data is the fingerprint of the command, FINGERPRINT_BYTES long, and then its encoded reply. In a group
with a `SlotTable` the slots of the command stand between the two, so that the token goes with each of them:
the byte _SLOTS, which begins no reply, their number, and each, in two bytes. Of a command with keys in
several groups it is the slot of the first key, and the reply has the form that it has in one group: so each
attempt may find the keys in one group or in several. Rows whose time has come are removed a few at a time,
with every use and at every marker, so that no command takes long; one that still waits for that is not known
any more.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import Once, OnceToken
from kraft.kv.footprint import footprint
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import CommandFailure, Reply, decode_replies, encode_replies
from kraft.kv.slots import slot_of
from kraft.kv.state import MachineState

FINGERPRINT_BYTES = 16
FORGOTTEN_PER_USE = 64  # about 0.2 ms
FORGOTTEN_PER_MARKER = 512
SLOTS_MAX = 64  # that a row names; a token with more goes with every slot
_SLOTS = b"\xc1"


def once(state: MachineState, command: Once, apply: Callable[[MachineState, Any], Reply]) -> Reply:
    """The reply to the first use of the token; `apply` applies a command."""
    ledger = state.keyspace.ledger
    ledger.forget(state.stamp, FORGOTTEN_PER_USE)
    known = settled(ledger, state.stamp, command)
    if known is not None:
        state.repeats += known.repeats
        return known.reply
    reply = apply(state, command.command)
    if reply is not CommandFailure.SCRIPT_CONFLICT:
        remember(state, command, reply)
    return reply


class OnceReply(msgspec.Struct, frozen=True, gc=False):
    """What a token replies without effect. `repeats`: it is the first reply."""

    reply: Reply
    repeats: bool = False


def settled(ledger: Ledger, stamp: int, use: Once | OnceToken) -> OnceReply | None:
    """What is replied at `stamp` without effect; None if the token is not known, and there is room for it."""
    row = ledger.get(LedgerKind.TOKEN, use.token)
    if row is None or row.expires <= stamp:
        count, size = ledger.counts[LedgerKind.TOKEN], ledger.sizes[LedgerKind.TOKEN]
        is_full = count >= use.tokens_max or size >= use.bytes_max
        return OnceReply(CommandFailure.TOO_MANY_TOKENS) if is_full else None
    if row.value[:FINGERPRINT_BYTES] != use.fingerprint:
        return OnceReply(CommandFailure.TOKEN_REUSED)
    return OnceReply(decode_replies(_parts(row.value)[1])[0], repeats=True)


def remember(state: MachineState, command: Once | OnceToken, reply: Reply) -> None:
    """Store the token with the first reply."""
    data = command.fingerprint + _slots(state, command) + encode_replies((reply,))
    expires = state.stamp + command.ttl_ms
    state.keyspace.ledger.put(LedgerKind.TOKEN, command.token, data, state.revision, expires)


def token_slots(data: bytes) -> tuple[int, ...] | None:
    """The slots that the token of a row goes with, None if it goes with every slot of its group."""
    return _parts(data)[0]


def _slots(state: MachineState, command: Once | OnceToken) -> bytes:
    if isinstance(command, OnceToken):
        return _SLOTS + b"".join([number.to_bytes(2, "big") for number in (1, slot_of(command.key))])
    if state.keyspace.slots is None:
        return b""
    found = footprint(command.command)
    names = (*found.written, *found.read)
    slots = sorted({slot_of(name) for name in names if isinstance(name, bytes)})
    if len(slots) > SLOTS_MAX:
        return b""
    return _SLOTS + b"".join([number.to_bytes(2, "big") for number in (len(slots), *slots)])


def _parts(data: bytes) -> tuple[tuple[int, ...] | None, bytes]:
    """The slots, and the encoded reply."""
    place = FINGERPRINT_BYTES
    if data[place : place + 1] != _SLOTS:
        return None, data[place:]
    numbers = data[place + 1 :]
    end = 2 + 2 * int.from_bytes(numbers[:2], "big")
    slots = [int.from_bytes(numbers[place : place + 2], "big") for place in range(2, end, 2)]
    return tuple(slots), numbers[end:]
