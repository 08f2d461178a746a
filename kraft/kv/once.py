"""What KRAFT ONCE does to the state: tokens are rows of the ledger, each with the first reply.

A row's data is the fingerprint of the command, FINGERPRINT_BYTES long, and then its encoded reply. Rows whose
time has come are removed a few at a time, with every use and at every marker, so that no command takes long;
one that still waits for that is not known any more.
"""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import Once
from kraft.kv.ledger import LedgerKind
from kraft.kv.replies import CommandFailure, Reply, decode_replies, encode_replies
from kraft.kv.state import MachineState

FINGERPRINT_BYTES = 16
FORGOTTEN_PER_USE = 64  # about 0.2 ms
FORGOTTEN_PER_MARKER = 512


def once(state: MachineState, command: Once, apply: Callable[[MachineState, Any], Reply]) -> Reply:
    """The reply to the first use of the token; `apply` applies a command."""
    ledger = state.keyspace.ledger
    ledger.forget(state.stamp, FORGOTTEN_PER_USE)
    row = ledger.get(LedgerKind.TOKEN, command.token)
    if row is not None and row.expires > state.stamp:
        if row.value[:FINGERPRINT_BYTES] != command.fingerprint:
            return CommandFailure.TOKEN_REUSED
        state.repeats += 1
        return decode_replies(row.value[FINGERPRINT_BYTES:])[0]
    count, size = ledger.counts[LedgerKind.TOKEN], ledger.sizes[LedgerKind.TOKEN]
    if count >= command.tokens_max or size >= command.bytes_max:
        return CommandFailure.TOO_MANY_TOKENS
    reply = apply(state, command.command)
    data = command.fingerprint + encode_replies((reply,))
    ledger.put(LedgerKind.TOKEN, command.token, data, state.revision, state.stamp + command.ttl_ms)
    return reply
