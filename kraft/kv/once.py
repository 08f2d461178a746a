"""What KRAFT ONCE does to the state: tokens are rows of the ledger, each with the first reply.

A row's data is the fingerprint of the command, FINGERPRINT_BYTES long, and then its encoded reply. Rows whose
time has come are removed a few at a time, with every use and at every marker, so that no command takes long;
one that still waits for that is not known any more.
"""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import Once
from kraft.kv.ledger import LedgerKind
from kraft.kv.record import Record
from kraft.kv.replies import CommandFailure, Reply, decode_replies, encode_replies
from kraft.kv.state import MachineState

FINGERPRINT_BYTES = 16
FORGOTTEN_PER_USE = 64  # about 0.2 ms
FORGOTTEN_PER_MARKER = 512


def once(state: MachineState, command: Once, apply: Callable[[MachineState, Any], Reply]) -> Reply:
    """The reply to the first use of the token; `apply` applies a command."""
    state.keyspace.ledger.forget(state.stamp, FORGOTTEN_PER_USE)
    row = remembered(state, command)
    if row is not None:
        if row.value[:FINGERPRINT_BYTES] != command.fingerprint:
            return CommandFailure.TOKEN_REUSED
        state.repeats += 1
        return decode_replies(row.value[FINGERPRINT_BYTES:])[0]
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
    data = command.fingerprint + encode_replies((reply,))
    expires = state.stamp + command.ttl_ms
    state.keyspace.ledger.put(LedgerKind.TOKEN, command.token, data, state.revision, expires)
