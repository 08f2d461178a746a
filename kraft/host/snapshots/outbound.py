"""The state of one snapshot transfer on the sending side."""

from kraft.host.snapshots.throttle import Throttle
from kraft.node.ports import Cancellable
from kraft.node.values import Rows
from kraft.peerwire.messages import SnapshotRequest


class OutboundTransfer:
    """The transfer to one receiver. With `reseed` the snapshot replaces a state that is wrong.

    A request is first `pending`, while the throttle holds it back, and then `reading`, while the disk works
    on it. A request whose link is gone is `void`: its chunk is read but not sent. Times are monotonic
    seconds.
    """

    __slots__ = (
        "_position",
        "done_bytes",
        "last_chunk_sent",
        "offered_at",
        "peer",
        "pending",
        "reading",
        "requested_at",
        "reseed",
        "sent_bytes",
        "started_at",
        "throttle",
        "timer",
        "void",
    )

    def __init__(self, peer: str, reseed: bool, throttle: Throttle, now: float) -> None:
        self.peer = peer
        self.reseed = reseed
        self.throttle = throttle
        self.requested_at = now  # or when consensus named the receiver
        self.offered_at = float("-inf")
        self.started_at: float | None = None  # when the first chunk was requested
        self.pending: SnapshotRequest | None = None
        self.timer: Cancellable | None = None  # runs until the throttle lets the pending request go on
        self.reading: SnapshotRequest | None = None
        self.void = False
        self.last_chunk_sent = False
        self.done_bytes = 0
        self.sent_bytes = 0  # counts repeated chunks again
        self._position: bytes | None = None  # the last key that was sent

    @property
    def busy(self) -> bool:
        """Whether a request is being served, so that silence of the receiver means nothing."""
        return self.pending is not None or self.reading is not None

    def supersedes(self, request: SnapshotRequest) -> bool:
        """Whether the request being served is for the same place or a later one: `request` is a late copy."""
        served = self.pending or (None if self.void else self.reading)
        return served is not None and _place(request.after) <= _place(served.after)

    def cancel(self) -> None:
        """Forget all requests: their link is gone."""
        self.pending = None
        self.void = self.reading is not None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def sent(self, request: SnapshotRequest, rows: Rows, now: float) -> None:
        """Account for the chunk that answers `request`."""
        size = len(rows.data)
        self.throttle.spend(size, now)
        self.sent_bytes += size
        if request.after is None:
            self._position, self.done_bytes = None, 0
        if _place(rows.last) > _place(self._position):
            self._position = rows.last
            self.done_bytes += size
        self.last_chunk_sent = rows.end


def _place(key: bytes | None) -> tuple[bool, bytes]:
    """Orders keys after None, which stands for the beginning."""
    return (key is not None, key or b"")
