"""Batches of messages to bytes and back; what `decode` lets through is safe to trust, see `gate`.

A batch is the msgpack array of (group, message). Messages are arrays with a leading tag; a field appended by
a later version is ignored.
"""

from collections.abc import Sequence

import msgspec

from kraft.peerwire.errors import WireError
from kraft.peerwire.gate import GROUP_MAX, is_possible
from kraft.peerwire.messages import Message

BATCH_MESSAGES_MAX = 65_536  # a few bytes of wire become an object each: bounds what a batch costs in memory


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
        if not is_possible(message):
            raise WireError(f"impossible {type(message).__name__}")
    return batch


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[tuple[int, Message]])
