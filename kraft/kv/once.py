"""What KRAFT ONCE does to the state: tokens are rows of the ledger, each with the first reply.

A row's data is the fingerprint of the command, FINGERPRINT_BYTES long, and then its encoded reply. In a group
with a `SlotTable` the slots of the command stand between the two, so that the token goes with each of them:
the byte _SLOTS, which begins no reply, their number, and each, in two bytes. Rows whose time has come are
removed a few at a time, with every use and at every marker, so that no command takes long; one that still
waits for that is not known any more.
"""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import Once
from kraft.kv.footprint import footprint
from kraft.kv.ledger import LedgerKind
from kraft.kv.record import Record
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
    state.keyspace.ledger.forget(state.stamp, FORGOTTEN_PER_USE)
    row = remembered(state, command)
    if row is not None:
        if row.value[:FINGERPRINT_BYTES] != command.fingerprint:
            return CommandFailure.TOKEN_REUSED
        state.repeats += 1
        return decode_replies(_parts(row.value)[1])[0]
    if full(state, command):
        return CommandFailure.TOO_MANY_TOKENS
    reply = apply(state, command.command)
    if reply is not CommandFailure.SCRIPT_CONFLICT:
        remember(state, command, reply)
    return reply


def remembered(state: MachineState, command: Once) -> Record | None:
    """The row of the command's token, None if it is not known, or not any more."""
    row = state.keyspace.ledger.get(LedgerKind.TOKEN, command.token)
    return row if row is not None and row.expires > state.stamp else None


def full(state: MachineState, command: Once) -> bool:
    """Whether there is no room for another token."""
    ledger = state.keyspace.ledger
    count, size = ledger.counts[LedgerKind.TOKEN], ledger.sizes[LedgerKind.TOKEN]
    return count >= command.tokens_max or size >= command.bytes_max


def remember(state: MachineState, command: Once, reply: Reply) -> None:
    """Store the token with the first reply."""
    data = command.fingerprint + _slots(state, command) + encode_replies((reply,))
    expires = state.stamp + command.ttl_ms
    state.keyspace.ledger.put(LedgerKind.TOKEN, command.token, data, state.revision, expires)


def token_slots(data: bytes) -> tuple[int, ...] | None:
    """The slots that the token of a row goes with, None if it goes with every slot of its group."""
    return _parts(data)[0]


def _slots(state: MachineState, command: Once) -> bytes:
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
