"""The bytes of the batch that leaves, whole or in parts, for all links that send the same one."""

from collections.abc import Iterator
from dataclasses import dataclass

from kraft.peerwire import codec
from kraft.peerwire.frames import PIECE_BYTES
from kraft.peerwire.messages import Message

Batch = tuple[tuple[int, Message], ...]

# A larger batch leaves in parts. The other end has a message when all of its part has arrived, and on a
# narrow link the first of several large ones should not wait for the last.
PART_BYTES = 4 * PIECE_BYTES


@dataclass(slots=True)
class EncodedBatch:
    """The last batch that was sent on any link, and its bytes: followers in step get the same one."""

    batch: Batch = ()
    payload: bytes = codec.encode(())
    _parts: tuple[Batch, tuple[tuple[Batch, bytes], ...]] = ((), ())

    def parts(self) -> tuple[tuple[Batch, bytes], ...]:
        """The batch as it leaves, each part with its bytes: whole, or cut where PART_BYTES are reached."""
        if len(self.payload) <= PART_BYTES or len(self.batch) == 1:
            return ((self.batch, self.payload),)
        batch, parts = self._parts
        if batch != self.batch:
            parts = tuple((part, codec.encode(part)) for part in _cut(self.batch))
            self._parts = self.batch, parts
        return parts


def _cut(batch: Batch) -> Iterator[Batch]:
    part: list[tuple[int, Message]] = []
    size = 0
    for pair in batch:
        part.append(pair)
        size += len(codec.encode((pair,)))
        if size >= PART_BYTES:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)
