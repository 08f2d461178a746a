"""The leader's side of snapshots: one pinned view of its last checkpoint for all receivers.

A chunk is read when it is requested and the throttle allows it, and is forgotten when it is sent. The view is
closed with its last receiver, so the next receiver gets a newer checkpoint. A receiver that asks for nothing
for a long time is given back to consensus, which may name it again.
"""

from collections.abc import Collection
from functools import partial
from typing import Protocol
from zlib import crc32

from kraft.host.context import GroupContext
from kraft.host.ports import SnapshotReader
from kraft.host.snapshots.outbound import OutboundTransfer
from kraft.host.snapshots.settings import ABANDONED, DONE, FAILED, SEND, SnapshotSettings
from kraft.host.snapshots.throttle import Throttle
from kraft.node.status import TransferStatus
from kraft.node.values import Rows
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest

OFFER_SECONDS = 1.0  # between offers to a receiver that does not ask: an offer is small, and may get lost
NO_CHECKPOINT_SECONDS = 1.0  # for a first checkpoint to be made, before consensus is told that there is none
QUIET_SECONDS = 30.0  # for a reseeded replica to load the snapshot; if that fails, it requests again by then


class SnapshotSource(Protocol):
    """The group, as `SnapshotSender` sees it. Neither method calls back."""

    def snapshot_ended(self, peer: str) -> None:
        """The transfer ended for a reason that consensus does not know; it may name the peer again."""

    def checkpoint_wanted(self) -> None:
        """There is no checkpoint yet: take one."""


class SnapshotSender:
    """All transfers from one group's replica, while it leads."""

    def __init__(
        self, group: int, source: SnapshotSource, context: GroupContext, settings: SnapshotSettings
    ) -> None:
        self._group = group
        self._source = source
        self._clock = context.clock
        self._disk = context.disk
        self._observer = context.observer
        self._turns = context.turns
        self._settings = settings
        self._transfers: dict[str, OutboundTransfer] = {}  # by receiver
        self._view: SnapshotReader | None = None
        self._open_attempt: object | None = None  # identifies the newest attempt to open a view
        self._missing_until = 0.0  # there is no checkpoint: when to give up

    # -- input ----------------------------------------------------------------------------------------

    def offer(self, peer: str, reseed: bool = False) -> None:
        """Offer a snapshot to `peer`; with `reseed` to replace its wrong state. May be repeated."""
        now = self._clock.seconds()
        transfer = self._transfers.get(peer)
        if transfer is not None and reseed and transfer.last_chunk_sent:
            self._end(transfer, DONE)  # that snapshot is old by now: the peer needs a newer one
            transfer = None
        if transfer is None:
            throttle = Throttle(self._settings.bytes_per_second)
            transfer = self._transfers[peer] = OutboundTransfer(peer, reseed, throttle, now)
        if self._view is not None:
            self._send_offer(transfer, self._view, now)
        elif self._open_attempt is None:
            self._open()

    def requested(self, peer: str, request: SnapshotRequest) -> None:
        """`peer` requests a chunk. A request for a snapshot that is not here is answered by an offer."""
        transfer, view = self._transfers.get(peer), self._view
        if transfer is None or view is None:
            return  # nothing was offered, or the offer follows when the view is open
        now = self._clock.seconds()
        base = view.checkpoint.base
        if (request.index, request.term) != (base.index, base.term):
            self._send_offer(transfer, view, now)
            return
        transfer.requested_at = now
        if transfer.started_at is None:
            transfer.started_at = now
            self._observer.event("snapshot_send_started", **self._fields(peer), bytes=view.checkpoint.size)
        if transfer.supersedes(request):
            return
        transfer.pending = request
        if transfer.reading is None and transfer.timer is None:
            self._throttle(transfer)

    def checkpointed(self) -> None:
        """A newer checkpoint is durable: offer that one, unless the present one is already being fetched."""
        if self._transfers and all(t.started_at is None for t in self._transfers.values()):
            self._close()
            self._open()

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone: it asks again when it is back."""
        transfer = self._transfers.get(peer)
        if transfer is not None:
            transfer.cancel()

    def tick(self, now: float, needy: Collection[str]) -> None:
        """Repeat offers and end transfers. `needy` are the followers that consensus keeps waiting for a
        snapshot.

        A reseeded replica is not among them: its transfer ends when it has requested nothing for a while
        after the last chunk.
        """
        for transfer in list(self._transfers.values()):
            quiet = transfer.requested_at + QUIET_SECONDS <= now
            if not transfer.reseed and transfer.peer not in needy:
                self._end(transfer, DONE if transfer.last_chunk_sent else ABANDONED)
            elif transfer.reseed and transfer.last_chunk_sent and quiet:
                self._end(transfer, DONE)
                self._source.snapshot_ended(transfer.peer)
            else:
                self._repeat_offer(transfer, now)

    @property
    def active(self) -> bool:
        """Whether a transfer is under way."""
        return bool(self._transfers)

    def stop(self) -> None:
        """This replica no longer leads."""
        for transfer in list(self._transfers.values()):
            self._end(transfer, ABANDONED)

    # -- output ---------------------------------------------------------------------------------------

    @property
    def index(self) -> int | None:
        """The index of the pinned view, or None. Its receivers still need the log after that index."""
        return self._view.checkpoint.base.index if self._view is not None else None

    def status(self) -> tuple[TransferStatus, ...]:
        """All transfers under way, including offers that have not been taken up."""
        if self._view is None:
            return ()
        now, checkpoint = self._clock.seconds(), self._view.checkpoint
        return tuple(
            TransferStatus(
                peer=t.peer,
                direction=SEND,
                index=checkpoint.base.index,
                done_bytes=checkpoint.size if t.last_chunk_sent else min(t.done_bytes, checkpoint.size),
                size_bytes=checkpoint.size,
                seconds=0.0 if t.started_at is None else now - t.started_at,
            )
            for t in self._transfers.values()
        )

    # -- the view -------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._open_attempt = attempt = object()
        self._disk.open_snapshot(self._group, partial(self._opened, attempt))

    def _opened(self, attempt: object, view: SnapshotReader | None) -> None:
        if self._open_attempt is not attempt:
            if view is not None:
                view.close()
            return
        self._open_attempt = None
        self._view = view
        now = self._clock.seconds()
        if view is None:
            self._missing_until = now + NO_CHECKPOINT_SECONDS
            self._source.checkpoint_wanted()
            return
        for transfer in self._transfers.values():
            self._send_offer(transfer, view, now)

    def _close(self) -> None:
        self._open_attempt = None
        if self._view is not None:
            self._view.close()
            self._view = None

    # -- one transfer ---------------------------------------------------------------------------------

    def _send_offer(self, transfer: OutboundTransfer, view: SnapshotReader, now: float) -> None:
        transfer.offered_at = now
        checkpoint = view.checkpoint
        offer = SnapshotOffer(
            checkpoint.base,
            checkpoint.revision,
            checkpoint.keys,
            checkpoint.size,
            checkpoint.sum,
            reseed=transfer.reseed,
            machine_version=checkpoint.machine_version,
        )
        self._turns.post(transfer.peer, self._group, offer)

    def _repeat_offer(self, transfer: OutboundTransfer, now: float) -> None:
        """Repeat the offer until the transfer is given up.

        A receiver whose request waits for the throttle gets offers too, as signs of life.
        """
        missing = self._view is None and self._open_attempt is None and self._missing_until <= now
        silent = not transfer.busy and transfer.requested_at + self._settings.hold <= now
        if missing or silent:
            self._end(transfer, FAILED)
            self._source.snapshot_ended(transfer.peer)
        elif (
            self._view is not None and max(transfer.requested_at, transfer.offered_at) + OFFER_SECONDS <= now
        ):
            self._send_offer(transfer, self._view, now)

    def _throttle(self, transfer: OutboundTransfer) -> None:
        wait = transfer.throttle.wait(self._clock.seconds())
        if wait > 0.0:
            transfer.timer = self._clock.call_later(wait, partial(self._read, transfer))
        else:
            self._read(transfer)

    def _read(self, transfer: OutboundTransfer) -> None:
        transfer.timer = None
        request, view = transfer.pending, self._view
        if request is None or view is None:
            return
        transfer.reading, transfer.pending = request, None
        view.read(
            request.after, self._settings.chunk_bytes, partial(self._send_chunk, view, transfer, request)
        )

    def _send_chunk(
        self, view: SnapshotReader, transfer: OutboundTransfer, request: SnapshotRequest, rows: Rows
    ) -> None:
        if self._view is not view or self._transfers.get(transfer.peer) is not transfer:
            return
        void, transfer.void, transfer.reading = transfer.void, False, None
        if not void:
            transfer.sent(request, rows, self._clock.seconds())
            checksum = crc32(rows.data)
            chunk = SnapshotChunk(
                request.index, request.term, request.after, rows.data, checksum, rows.last, rows.end
            )
            self._turns.post(transfer.peer, self._group, chunk)
        if transfer.pending is not None and transfer.timer is None:
            self._throttle(transfer)

    def _end(self, transfer: OutboundTransfer, outcome: str) -> None:
        del self._transfers[transfer.peer]
        transfer.cancel()
        if transfer.started_at is not None:
            seconds = self._clock.seconds() - transfer.started_at
            self._observer.snapshot_transfer(self._group, SEND, outcome, transfer.sent_bytes, seconds)
            self._observer.event(
                "snapshot_send_ended",
                **self._fields(transfer.peer),
                outcome=outcome,
                bytes=transfer.sent_bytes,
                seconds=round(seconds, 3),
            )
        if not self._transfers:
            self._close()
        else:
            self.checkpointed()  # receivers that have not begun get the newest checkpoint

    def _fields(self, peer: str) -> dict[str, object]:
        return {"group": self._group, "peer": peer, "index": self.index}
