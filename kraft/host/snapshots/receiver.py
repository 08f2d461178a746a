"""The receiver's side of snapshots: fetches a copy of the leader's state, chunk by chunk, into a new file.

The next chunk is requested when the last one is in the file. So a slow disk slows the sender down, and one
chunk is in memory. A request is repeated, less and less often, until it is answered: a chunk on its way over
a slow link must not be sent twice. `offered` alone decides which snapshots are worth fetching.
"""

from functools import partial
from typing import Protocol
from zlib import crc32

from kraft.host.context import GroupContext
from kraft.host.ports import SnapshotWriter
from kraft.host.snapshots.inbound import (
    PATIENCE_SECONDS_MAX,
    InboundTransfer,
    Phase,
    SnapshotIdentity,
    identity,
)
from kraft.host.snapshots.settings import ABANDONED, DONE, FAILED, RECEIVE, SnapshotSettings
from kraft.kv.checkpoint import Checkpoint
from kraft.node.status import TransferStatus
from kraft.node.values import Received
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest

RETRY_SECONDS = 1.0  # after the disk, or the receiver itself, refused something
REFUSALS_MAX = 60  # of one chunk in a row; then the file is removed, and with it what it takes of a full disk
FINISH_TRIES = 5  # a second apart, before the transfer starts over: the disk may have been full for a moment
BACKOFF_SECONDS_MAX = 60.0  # between snapshots that turned out wrong: each costs a whole transfer
SWITCH_SECONDS = 30.0  # for a complete snapshot to be put into use, before the same one is fetched again
PROGRESS_SECONDS = 10.0  # between progress reports


class SnapshotTarget(Protocol):
    """The group, as `SnapshotReceiver` sees it."""

    def snapshot_received(self, received: Received, offer: SnapshotOffer) -> bool:
        """Put a complete snapshot into use. False when it is not needed, so that its file is removed."""


class SnapshotReceiver:
    """At most one snapshot on its way to one group's replica."""

    def __init__(
        self, group: int, target: SnapshotTarget, context: GroupContext, settings: SnapshotSettings
    ) -> None:
        self._group = group
        self._target = target
        self._clock = context.clock
        self._disk = context.disk
        self._observer = context.observer
        self._turns = context.turns
        self._settings = settings
        self._incoming: InboundTransfer | None = None
        self._not_before = 0.0  # when the next transfer may begin
        self._failures = 0  # snapshots in a row that could not be finished
        self._stalled = ""  # the last refusal, which is reported once
        self._completed: SnapshotIdentity | None = None  # the last snapshot, until `_completed_until`
        self._completed_until = 0.0
        self._stopped = False

    # -- input ----------------------------------------------------------------------------------------

    def offered(self, sender: str, offer: SnapshotOffer, commit: int, fenced: bool) -> bool:
        """The leader offers a snapshot; `commit` is this replica's commit index.

        False when the replica needs nothing of it, so that the leader should hear how far its log goes. A
        snapshot at or below `commit` is fetched only to replace the state of a `fenced` replica.
        """
        if offer.base.index <= commit and not (offer.reseed and fenced):
            return False
        now = self._clock.seconds()
        incoming = self._incoming
        if incoming is None:
            self._begin(sender, offer, now)
        elif incoming.phase in (Phase.FETCHING, Phase.WRITING):
            if identity(offer) == incoming.identity:
                self._go_on(incoming, sender, offer, now)
            elif self._prefers(incoming, sender, offer, now):
                self._drop(incoming, ABANDONED)
                self._begin(sender, offer, now)
        return True

    def chunk(self, sender: str, chunk: SnapshotChunk) -> None:
        """A chunk arrived. Only the one that was requested counts."""
        incoming = self._incoming
        if incoming is None or incoming.writer is None:
            return
        if not incoming.expects(sender, chunk):
            incoming.unexpected(chunk)
            return
        now = self._clock.seconds()
        incoming.heard_at = now
        if crc32(chunk.rows) != chunk.checksum or not _advances(chunk):
            self._refused(incoming, "a chunk was damaged in transit", now)
            return
        incoming.received(now)
        incoming.phase = Phase.WRITING
        if chunk.rows:
            key, size, end = chunk.last, len(chunk.rows), chunk.end
            incoming.writer.write(chunk.rows, partial(self._written, incoming, key, size, end))
        else:
            self._finish(incoming, incoming.writer)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone: until `peer` offers again, another node may take over."""
        if self._incoming is not None and self._incoming.sender == peer:
            self._incoming.linked = False

    def tick(self, now: float, commit: int) -> None:
        """Repeat a request, and end a transfer that the log has overtaken or the sender has left."""
        incoming = self._incoming
        if incoming is None or incoming.dropped:
            return
        if incoming.offer.base.index <= commit and not incoming.offer.reseed:
            self._drop(incoming, ABANDONED)
        elif incoming.phase is not Phase.FETCHING:
            return
        elif incoming.heard_at + self._settings.hold <= now:
            self._drop(incoming, FAILED, f"{incoming.sender} stopped sending")
        elif incoming.repeated_at + incoming.patience <= now:
            incoming.patience = min(PATIENCE_SECONDS_MAX, 2 * incoming.patience)
            self._request(incoming, now)

    @property
    def active(self) -> bool:
        """Whether a transfer is under way."""
        return self._incoming is not None

    def abandon(self) -> None:
        """The snapshot is no longer needed."""
        if self._incoming is not None and not self._incoming.dropped:
            self._drop(self._incoming, ABANDONED)

    def stop(self) -> None:
        """The group stops."""
        self._stopped = True
        self.abandon()

    # -- output ---------------------------------------------------------------------------------------

    @property
    def held(self) -> int | None:
        """The index of a snapshot that will replace a wrong state, or None: the log after it is needed."""
        incoming = self._incoming
        if incoming is None or incoming.dropped or not incoming.offer.reseed:
            return None
        return incoming.offer.base.index

    def status(self) -> tuple[TransferStatus, ...]:
        """The transfer under way, if any."""
        if self._incoming is None or self._incoming.dropped:
            return ()
        return (self._incoming.status(self._clock.seconds()),)

    # -- which snapshot -------------------------------------------------------------------------------

    def _begin(self, sender: str, offer: SnapshotOffer, now: float) -> None:
        if self._stopped or now < self._not_before or self._incoming is not None:
            return  # offers are repeated
        if self._completed == identity(offer) and now < self._completed_until:
            return  # it is being put into use
        incoming = self._incoming = InboundTransfer(sender, offer, now)
        checkpoint = Checkpoint(
            offer.base, offer.revision, offer.keys, offer.size, offer.sum, offer.machine_version
        )
        self._disk.receive_snapshot(self._group, checkpoint, partial(self._begun, incoming))

    def _begun(self, incoming: InboundTransfer, writer: SnapshotWriter | None) -> None:
        if incoming.dropped:
            self._incoming = None
            if writer is not None:
                writer.abandon()
            return
        now = self._clock.seconds()
        if writer is None:
            self._incoming = None
            self._not_before = now + RETRY_SECONDS
            self._report_stall(incoming, "the disk is full")
            return
        incoming.writer = writer
        incoming.next_chunk(now)
        self._observer.event("snapshot_receive_started", **self._fields(incoming), size=incoming.offer.size)
        self._request(incoming, now)

    def _go_on(self, incoming: InboundTransfer, sender: str, offer: SnapshotOffer, now: float) -> None:
        """The same snapshot is offered: its sender still has it, or another node takes over."""
        if sender != incoming.sender and not incoming.quiet(now):
            return
        changed = sender != incoming.sender or not incoming.linked
        incoming.sender, incoming.offer = sender, offer
        incoming.linked = True
        incoming.heard_at = now
        if changed and incoming.phase is Phase.FETCHING:
            incoming.next_chunk(now)
            self._request(incoming, now)

    def _prefers(self, incoming: InboundTransfer, sender: str, offer: SnapshotOffer, now: float) -> bool:
        """Whether to start over: the sender has a newer snapshot, so the old one is gone, or it is silent.

        An offer may be late, so an older snapshot is not preferred as long as chunks come.
        """
        newer = sender == incoming.sender and offer.base.index > incoming.offer.base.index
        return newer or incoming.quiet(now)

    def _drop(self, incoming: InboundTransfer, outcome: str, reason: str = "") -> None:
        """End the transfer. A file that the disk is opening or finishing is removed afterwards."""
        incoming.dropped = True
        if incoming.phase in (Phase.FETCHING, Phase.WRITING):
            self._incoming = None
        if incoming.writer is None:
            return  # the start was not reported either
        if self._incoming is None:
            incoming.writer.abandon()
        self._report_end(incoming, outcome, reason)

    # -- chunks ---------------------------------------------------------------------------------------

    def _request(self, incoming: InboundTransfer, now: float) -> None:
        incoming.requested(now)
        base = incoming.offer.base
        request = SnapshotRequest(base.index, base.term, incoming.after)
        self._turns.post(incoming.sender, self._group, request)

    def _written(self, incoming: InboundTransfer, key: bytes, size: int, end: bool, problem: str) -> None:
        if self._incoming is not incoming or incoming.writer is None:
            return
        now = self._clock.seconds()
        incoming.heard_at = now
        if problem:
            self._refused(incoming, problem, now)
            return
        self._stalled = ""
        incoming.refusals = 0
        incoming.after = key
        incoming.bytes += size
        incoming.next_chunk(now)
        self._report_progress(incoming, now)
        if end:
            self._finish(incoming, incoming.writer)
        else:
            self._request(incoming, now)

    def _refused(self, incoming: InboundTransfer, problem: str, now: float) -> None:
        """The chunk is not in the file. It is requested again, so that it need not be kept meanwhile."""
        self._report_stall(incoming, problem)
        incoming.refusals += 1
        if incoming.refusals >= REFUSALS_MAX:
            self._back_off(now)
            self._drop(incoming, FAILED, problem)
        else:
            incoming.refused(now, RETRY_SECONDS)

    # -- the end --------------------------------------------------------------------------------------

    def _finish(self, incoming: InboundTransfer, writer: SnapshotWriter) -> None:
        incoming.phase = Phase.FINISHING
        if incoming.dropped:
            self._incoming = None
            writer.abandon()
        else:
            writer.finish(partial(self._finished, incoming, writer))

    def _finished(self, incoming: InboundTransfer, writer: SnapshotWriter, result: Received | str) -> None:
        if incoming.dropped:
            self._incoming = None
            writer.abandon()
        elif isinstance(result, str):
            self._not_finished(incoming, writer, result)
        else:
            self._incoming = None
            self._stalled = ""
            self._failures = 0
            self._completed = incoming.identity
            self._completed_until = self._clock.seconds() + SWITCH_SECONDS
            self._report_end(incoming, DONE, "")
            if not self._target.snapshot_received(result, incoming.offer):
                writer.abandon()

    def _not_finished(self, incoming: InboundTransfer, writer: SnapshotWriter, problem: str) -> None:
        self._report_stall(incoming, problem)
        incoming.refusals += 1
        if incoming.refusals < FINISH_TRIES:
            self._clock.call_later(RETRY_SECONDS, partial(self._finish, incoming, writer))
            return
        self._back_off(self._clock.seconds())
        incoming.phase = Phase.FETCHING  # the disk does nothing for it: its file may be removed at once
        self._drop(incoming, FAILED, problem)

    def _back_off(self, now: float) -> None:
        self._failures += 1
        self._not_before = now + min(BACKOFF_SECONDS_MAX, RETRY_SECONDS * 2.0**self._failures)

    # -- reports --------------------------------------------------------------------------------------

    def _report_stall(self, incoming: InboundTransfer, reason: str) -> None:
        if reason != self._stalled:
            self._stalled = reason
            self._observer.event("snapshot_receive_stalled", **self._fields(incoming), reason=reason)

    def _report_progress(self, incoming: InboundTransfer, now: float) -> None:
        if incoming.progress_at + PROGRESS_SECONDS <= now:
            incoming.progress_at = now
            fields = self._fields(incoming) | {"bytes": incoming.bytes, "size": incoming.offer.size}
            self._observer.event("snapshot_receive_progress", **fields)

    def _report_end(self, incoming: InboundTransfer, outcome: str, reason: str) -> None:
        seconds = self._clock.seconds() - incoming.started_at
        self._observer.snapshot_transfer(self._group, RECEIVE, outcome, incoming.bytes, seconds)
        fields = self._fields(incoming) | {"bytes": incoming.bytes, "seconds": round(seconds, 3)}
        if outcome == FAILED:
            self._observer.event("snapshot_receive_failed", **fields, reason=reason)
        else:
            self._observer.event("snapshot_receive_ended", **fields, outcome=outcome)

    def _fields(self, incoming: InboundTransfer) -> dict[str, object]:
        return {"group": self._group, "peer": incoming.sender, "index": incoming.offer.base.index}


def _advances(chunk: SnapshotChunk) -> bool:
    """Whether the chunk has rows after the key that it follows, or ends the snapshot."""
    if chunk.end:
        return True
    return bool(chunk.rows) and (chunk.after is None or chunk.last > chunk.after)
