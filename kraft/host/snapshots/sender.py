"""The leader's side of snapshots: one pinned view of its last checkpoint for all who need a copy of it.

See `snapshots` for the conversation. A piece is read when it was asked for and the speed allows it, and is
forgotten when it is sent. The view is let go of with its last receiver, so the next one gets a newer
checkpoint. A receiver that does not ask for long is given back to consensus, which may name it again.
"""

from collections.abc import Callable, Collection
from functools import partial
from zlib import crc32

from kraft.host.ports import Disk, HostObserver, SnapshotReader
from kraft.host.snapshots.settings import ABANDONED, DONE, FAILED, SEND, SnapshotSettings
from kraft.host.snapshots.throttle import Throttle
from kraft.node.ports import Cancellable, Clock
from kraft.node.status import TransferStatus
from kraft.node.values import Rows
from kraft.peerwire.messages import Message, SnapshotChunk, SnapshotOffer, SnapshotRequest

OFFER_SECONDS = 1.0  # between offers to somebody who does not ask: an offer is small, and may get lost
NO_CHECKPOINT_SECONDS = 1.0  # for a checkpoint to be made where there is none, before consensus is told
QUIET_SECONDS = 30.0  # after the last piece a reseeded replica loads it; asking again by then means it failed


class _Transfer:
    """One receiver of the view."""

    __slots__ = (
        "asked_at",
        "done_bytes",
        "ended",
        "offered_at",
        "pace",
        "peer",
        "position",
        "reading",
        "reseed",
        "sent_bytes",
        "started_at",
        "timer",
        "void",
        "waiting",
    )

    def __init__(self, peer: str, reseed: bool, pace: Throttle, now: float) -> None:
        self.peer = peer
        self.reseed = reseed
        self.pace = pace
        self.asked_at = now  # or named
        self.offered_at = float("-inf")
        self.started_at: float | None = None  # when the first piece was asked for
        self.waiting: SnapshotRequest | None = None  # for its turn
        self.timer: Cancellable | None = None  # until then
        self.reading: SnapshotRequest | None = None  # the disk works on it
        self.void = False  # nobody waits for what is being read
        self.ended = False  # the last piece was sent
        self.position: bytes | None = None  # the last key that was sent
        self.done_bytes = 0
        self.sent_bytes = 0  # with repetitions

    @property
    def busy(self) -> bool:
        """The next step is ours."""
        return self.waiting is not None or self.reading is not None

    def overtakes(self, request: SnapshotRequest) -> bool:
        """What is being served comes at or behind `request`: that one is a late copy."""
        pending = self.waiting or (None if self.void else self.reading)
        return pending is not None and _position(request.after) <= _position(pending.after)

    def silence(self) -> None:
        """Forget what was asked."""
        self.waiting = None
        self.void = self.reading is not None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class SnapshotSender:
    """All receivers of one group, while its replica here leads."""

    def __init__(
        self,
        group: int,
        clock: Clock,
        disk: Disk,
        post: Callable[[str, Message], None],
        ended: Callable[[str], None],
        observer: HostObserver,
        settings: SnapshotSettings,
        wanted: Callable[[], None],
    ) -> None:
        """`ended(peer)`: the transfer is over for a reason that consensus does not know: it may name the peer
        again. `wanted()`: there is no checkpoint yet, take one. Neither may call back.
        """
        self._group = group
        self._clock = clock
        self._disk = disk
        self._post = post
        self._ended = ended
        self._observer = observer
        self._settings = settings
        self._wanted = wanted
        self._transfers: dict[str, _Transfer] = {}
        self._view: SnapshotReader | None = None
        self._opening: object | None = None  # identifies the newest attempt
        self._missing_until = 0.0  # there is no checkpoint: when to give up

    # -- input ----------------------------------------------------------------------------------------

    def offer(self, peer: str, reseed: bool = False) -> None:
        """`peer` needs a copy; with `reseed` in place of its own wrong state. Harmless when repeated."""
        now = self._clock.seconds()
        transfer = self._transfers.get(peer)
        if transfer is not None and reseed and transfer.ended:
            self._end(transfer, DONE)  # what it was sent is history: it needs a newer one
            transfer = None
        if transfer is None:  # else it gets one already, for whichever reason
            pace = Throttle(self._settings.bytes_per_second)
            transfer = self._transfers[peer] = _Transfer(peer, reseed, pace, now)
        if self._view is not None:
            self._tell(transfer, now)
        elif self._opening is None:
            self._open()

    def requested(self, peer: str, request: SnapshotRequest) -> None:
        """`peer` asks for a piece; asking for another snapshot than the one here is answered by an offer."""
        transfer, view = self._transfers.get(peer), self._view
        if transfer is None or view is None:
            return  # not ours to serve, or offered as soon as the view is there
        now = self._clock.seconds()
        base = view.checkpoint.base
        if (request.index, request.term) != (base.index, base.term):
            self._tell(transfer, now)
            return
        transfer.asked_at = now
        if transfer.started_at is None:
            transfer.started_at = now
            self._observer.event("snapshot_send_started", **self._fields(peer), bytes=view.checkpoint.size)
        if transfer.overtakes(request):
            return
        transfer.waiting = request
        if transfer.reading is None and transfer.timer is None:
            self._pace(transfer)

    def checkpointed(self) -> None:
        """A newer checkpoint is durable: offer that one, unless somebody already fetches the present one."""
        if self._transfers and all(t.started_at is None for t in self._transfers.values()):
            self._close()
            self._open()

    def link_down(self, peer: str) -> None:
        """What `peer` asked for would not reach it; it goes on when it is back."""
        transfer = self._transfers.get(peer)
        if transfer is not None:
            transfer.silence()

    def tick(self, now: float, needy: Collection[str]) -> None:
        """Repeat offers and end transfers; `needy` are those whom consensus still keeps waiting for a copy.

        A reseeded replica is not among them: its transfer ends when nothing is asked after the last piece.
        """
        for transfer in list(self._transfers.values()):
            if not transfer.reseed and transfer.peer not in needy:
                self._end(transfer, DONE if transfer.ended else ABANDONED)
            elif transfer.reseed and transfer.ended and transfer.asked_at + QUIET_SECONDS <= now:
                self._end(transfer, DONE)
                self._ended(transfer.peer)
            else:
                self._remind(transfer, now)

    def stop(self) -> None:
        """This replica leads no more."""
        for transfer in list(self._transfers.values()):
            self._end(transfer, ABANDONED)

    # -- output ---------------------------------------------------------------------------------------

    @property
    def index(self) -> int | None:
        """The index of the pinned view, None without: cutting the log behind it would make it useless."""
        return self._view.checkpoint.base.index if self._view is not None else None

    def status(self) -> tuple[TransferStatus, ...]:
        """The transfers under way, offers that nobody has followed included."""
        if self._view is None:
            return ()
        now, checkpoint = self._clock.seconds(), self._view.checkpoint
        return tuple(
            TransferStatus(
                peer=t.peer,
                direction=SEND,
                index=checkpoint.base.index,
                done_bytes=checkpoint.size if t.ended else min(t.done_bytes, checkpoint.size),
                size_bytes=checkpoint.size,
                seconds=0.0 if t.started_at is None else now - t.started_at,
            )
            for t in self._transfers.values()
        )

    # -- the view -------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opening = attempt = object()
        self._disk.open_snapshot(self._group, partial(self._opened, attempt))

    def _opened(self, attempt: object, view: SnapshotReader | None) -> None:
        if self._opening is not attempt:
            if view is not None:
                view.close()
            return
        self._opening = None
        self._view = view
        now = self._clock.seconds()
        if view is None:
            self._missing_until = now + NO_CHECKPOINT_SECONDS
            self._wanted()
            return
        for transfer in self._transfers.values():
            self._tell(transfer, now)

    def _close(self) -> None:
        self._opening = None
        if self._view is not None:
            self._view.close()
            self._view = None

    # -- one transfer ---------------------------------------------------------------------------------

    def _tell(self, transfer: _Transfer, now: float) -> None:
        if self._view is None:
            return
        transfer.offered_at = now
        checkpoint = self._view.checkpoint
        offer = SnapshotOffer(
            checkpoint.base,
            checkpoint.revision,
            checkpoint.keys,
            checkpoint.size,
            checkpoint.sum,
            reseed=transfer.reseed,
        )
        self._post(transfer.peer, offer)

    def _remind(self, transfer: _Transfer, now: float) -> None:
        """Offer again, up to a point; also as a sign of life to somebody whose piece waits for its turn."""
        missing = self._view is None and self._opening is None and self._missing_until <= now
        silent = not transfer.busy and transfer.asked_at + self._settings.hold <= now
        if missing or silent:
            self._end(transfer, FAILED)
            self._ended(transfer.peer)
        elif max(transfer.asked_at, transfer.offered_at) + OFFER_SECONDS <= now:
            self._tell(transfer, now)

    def _pace(self, transfer: _Transfer) -> None:
        wait = transfer.pace.wait(self._clock.seconds())
        if wait > 0.0:
            transfer.timer = self._clock.call_later(wait, partial(self._read, transfer))
        else:
            self._read(transfer)

    def _read(self, transfer: _Transfer) -> None:
        transfer.timer = None
        request, view = transfer.waiting, self._view
        if request is None or view is None:
            return
        transfer.reading, transfer.waiting = request, None
        view.read(request.after, self._settings.chunk_bytes, partial(self._answer, view, transfer, request))

    def _answer(
        self, view: SnapshotReader, transfer: _Transfer, request: SnapshotRequest, rows: Rows
    ) -> None:
        if self._view is not view or self._transfers.get(transfer.peer) is not transfer:
            return
        void, transfer.void, transfer.reading = transfer.void, False, None
        if not void:
            self._send(transfer, request, rows)
        if transfer.waiting is not None and transfer.timer is None:
            self._pace(transfer)

    def _send(self, transfer: _Transfer, request: SnapshotRequest, rows: Rows) -> None:
        size = len(rows.data)
        transfer.pace.spend(size, self._clock.seconds())
        transfer.sent_bytes += size
        if request.after is None:
            transfer.position, transfer.done_bytes = None, 0
        if _position(rows.last) > _position(transfer.position):
            transfer.position = rows.last
            transfer.done_bytes += size
        transfer.ended = rows.end
        self._post(
            transfer.peer,
            SnapshotChunk(
                request.index, request.term, request.after, rows.data, crc32(rows.data), rows.last, rows.end
            ),
        )

    def _end(self, transfer: _Transfer, outcome: str) -> None:
        del self._transfers[transfer.peer]
        transfer.silence()
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
            self.checkpointed()  # whoever has not begun gets the newest one

    def _fields(self, peer: str) -> dict[str, object]:
        return {"group": self._group, "peer": peer, "index": self.index}


def _position(key: bytes | None) -> tuple[bool, bytes]:
    """Keys in order, behind None, which stands for the beginning."""
    return (key is not None, key or b"")
