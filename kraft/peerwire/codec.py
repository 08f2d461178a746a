"""Batches of messages to bytes and back. The receiver may trust what `decode` returns: `gate` has checked it.

A batch is the msgpack array of (group, message). A message is an array with a leading tag; a decoder ignores
fields that a later version appended.
"""

from collections.abc import Callable, Sequence

import msgspec

from kraft.peerwire.errors import WireError
from kraft.peerwire.gate import GROUP_MAX, is_possible
from kraft.peerwire.messages import Message

BATCH_MESSAGES_MAX = 65_536  # each takes a few bytes on the wire and an object in memory, which this bounds


encode: Callable[[Sequence[tuple[int, Message]]], bytes] = msgspec.msgpack.Encoder().encode
"""The bytes of one batch of at most BATCH_MESSAGES_MAX (group, message) pairs."""


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
        if not is_possible(message):
            raise WireError(f"impossible {type(message).__name__}")
    return batch


_decoder = msgspec.msgpack.Decoder(list[tuple[int, Message]])
