"""The bytes of the batch that leaves, whole or in parts, for all links that send the same one."""

from collections.abc import Iterator, Sequence

from kraft.peerwire import codec
from kraft.peerwire.frames import PIECE_BYTES
from kraft.peerwire.messages import Message

Batch = tuple[tuple[int, Message], ...]
Parts = Sequence[tuple[Batch, bytes]]

# A larger batch leaves in parts. The other end has a message when all of its part has arrived, and on a
# narrow link the first of several large ones should not wait for the last.
PART_BYTES = 4 * PIECE_BYTES


class EncodedBatch:
    """The last batch that was sent on any link, and its bytes: followers in step get the same one.

    It stays until another one is sent. Whoever sets `batch` sets `payload`, its encoding, and empties `cut`.
    """

    __slots__ = ("batch", "cut", "payload")

    def __init__(self) -> None:
        self.batch: Batch = ()
        self.payload = codec.encode(())
        self.cut: Parts = ()

    def parts(self) -> Parts:
        """The batch as it leaves, each part with its bytes.

        It is whole, or cut where PART_BYTES or BATCH_MESSAGES_MAX are reached.
        """
        if not self.cut:
            few = len(self.batch) <= codec.BATCH_MESSAGES_MAX
            whole = (few and len(self.payload) <= PART_BYTES) or len(self.batch) == 1
            self.cut = ((self.batch, self.payload),) if whole else tuple(_cut(self.batch))
        return self.cut


def _cut(batch: Batch) -> Iterator[tuple[Batch, bytes]]:
    start = size = 0
    encoded: list[bytes] = []
    for end, pair in enumerate(batch, 1):
        encoded.append(codec.encode_pair(pair))
        size += len(encoded[-1])
        if size >= PART_BYTES or len(encoded) == codec.BATCH_MESSAGES_MAX or end == len(batch):
            yield batch[start:end], codec.join_pairs(encoded)
            start, size, encoded = end, 0, []
