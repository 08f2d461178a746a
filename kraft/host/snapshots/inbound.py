"""The state of one snapshot transfer on the receiving side, and how long it waits for a chunk."""

from enum import Enum

from kraft.host.ports import SnapshotWriter
from kraft.host.snapshots.settings import RECEIVE
from kraft.node.status import TransferStatus
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer

PATIENCE_SECONDS = 1.0  # until a request is repeated for the first time; then twice as long each time
PATIENCE_SECONDS_MAX = 15.0
PATIENCE_FACTOR = 3.0  # times what a chunk took that came after one request, where that is longer
QUIET_SECONDS = 3.0  # without a sign of the sender; then another node may take over

SnapshotIdentity = tuple[int, int, bytes]  # index, term and sum


class Phase(Enum):
    """What a transfer waits for."""

    OPENING = "the disk opens the file"
    FETCHING = "the sender sends a chunk"
    WRITING = "the disk writes a chunk"
    FINISHING = "the disk verifies and loads the snapshot"


class InboundTransfer:
    """The snapshot that is being fetched from `sender`. Times are monotonic seconds.

    `after` is the last key in the file. `requests` counts the requests for the present chunk, which was first
    requested at `requested_at` and last at `repeated_at`; after `patience` seconds it is requested again.
    `refusals` counts the times in a row that the present chunk could not be used. Once a transfer is
    `dropped` the outcome of what the disk still does for it is ignored.
    """

    __slots__ = (
        "_first_patience",
        "_repeated_chunk",
        "after",
        "bytes",
        "dropped",
        "heard_at",
        "linked",
        "offer",
        "patience",
        "phase",
        "progress_at",
        "refusals",
        "repeated_at",
        "requested_at",
        "requests",
        "sender",
        "started_at",
        "writer",
    )

    def __init__(self, sender: str, offer: SnapshotOffer, now: float) -> None:
        self.sender = sender
        self.offer = offer
        self.phase = Phase.OPENING
        self.writer: SnapshotWriter | None = None
        self.dropped = False
        self.after: bytes | None = None
        self.bytes = 0
        self.started_at = now
        self.progress_at = now  # when progress was last reported
        self.requested_at = now
        self.requests = 0
        self.repeated_at = now
        self.heard_at = now
        self.linked = True
        self.patience = PATIENCE_SECONDS
        self.refusals = 0
        self._first_patience = 0.0  # after the first request for a chunk; 0 until a chunk has come
        self._repeated_chunk: tuple[bytes | None] | None = None  # the chunk before, if requested repeatedly

    @property
    def identity(self) -> SnapshotIdentity:
        """Equal for snapshots that hold the same rows, whichever node made them."""
        return identity(self.offer)

    def next_chunk(self, now: float) -> None:
        """Another chunk is to be requested."""
        self.requested_at = now
        self.requests = 0
        self.patience = self._first_patience or PATIENCE_SECONDS

    def requested(self, now: float) -> None:
        """The present chunk is requested, perhaps again."""
        self.phase = Phase.FETCHING
        self.repeated_at = now
        self.requests += 1

    def received(self, now: float) -> None:
        """The present chunk came: learn from it how long the next one may take.

        A chunk that was requested twice says little, because the first request may have been lost.
        """
        if self.requests == 1 or not self._first_patience:
            took = PATIENCE_FACTOR * (now - self.requested_at)
            self._first_patience = min(PATIENCE_SECONDS_MAX, max(PATIENCE_SECONDS, took))
        self._repeated_chunk = (self.after,) if self.requests > 1 else None

    def unexpected(self, chunk: SnapshotChunk) -> None:
        """A chunk came that is not expected: if a repeated request brought it, that came too early."""
        if self._repeated_chunk == (chunk.after,):
            self._repeated_chunk = None
            self._first_patience = min(PATIENCE_SECONDS_MAX, 2.0 * self._first_patience)

    def refused(self, now: float, retry: float) -> None:
        """The present chunk could not be used: request it again in `retry` seconds."""
        self.phase = Phase.FETCHING
        self.repeated_at = now
        self.patience = retry

    def quiet(self, now: float) -> bool:
        """Whether there is no sign that the sender goes on."""
        silent = not self.linked or self.heard_at + QUIET_SECONDS <= now
        return self.phase is Phase.FETCHING and silent

    def expects(self, sender: str, chunk: SnapshotChunk) -> bool:
        """Whether `chunk` is the one requested, not a late or repeated one, or one of another snapshot."""
        base = self.offer.base
        return (
            self.phase is Phase.FETCHING
            and sender == self.sender
            and (chunk.index, chunk.term) == (base.index, base.term)
            and chunk.after == self.after
        )

    def status(self, now: float) -> TransferStatus:
        """The transfer as operators see it."""
        size = self.offer.size
        return TransferStatus(
            peer=self.sender,
            direction=RECEIVE,
            index=self.offer.base.index,
            done_bytes=size if self.phase is Phase.FINISHING else min(self.bytes, size),
            size_bytes=size,
            seconds=now - self.started_at,
        )


def identity(offer: SnapshotOffer) -> SnapshotIdentity:
    """The identity of an offered snapshot."""
    return (offer.base.index, offer.base.term, offer.sum)
