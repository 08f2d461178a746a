"""The receiver's side of snapshots: a copy of the leader's state, fetched piece by piece into a file aside.

See `snapshots` for the conversation. The next piece is asked for when the last one is in the file, so a
slow disk here slows the sender down and there is one piece in memory. The question is repeated, less and
less often, until it is answered: a piece on its way over a slow link must not be sent twice. Which snapshots
are worth fetching is decided by `offered` alone.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from zlib import crc32

from kraft.host.ports import Disk, HostObserver, SnapshotWriter
from kraft.host.snapshots.settings import ABANDONED, DONE, FAILED, RECEIVE, SnapshotSettings
from kraft.kv.checkpoint import Checkpoint
from kraft.node.ports import Clock
from kraft.node.status import TransferStatus
from kraft.node.values import Received
from kraft.peerwire.messages import Message, SnapshotChunk, SnapshotOffer, SnapshotRequest

PATIENCE_SECONDS = 1.0  # for an answer, the first time; then twice as long each time
PATIENCE_SECONDS_MAX = 15.0
PATIENCE_FACTOR = 3.0  # times what a piece took that came at the first question, when that is longer
QUIET_SECONDS = 3.0  # without a sign of our sender another one may take over
RETRY_SECONDS = 1.0  # after the disk, or we, refused something
REFUSALS_MAX = 60  # in a row for one piece; then the file goes, and with it what it takes up on a full disk
FINISH_TRIES = 5  # a second apart, before all is fetched again: the disk may have been full for a moment
BACKOFF_SECONDS_MAX = 60.0  # between snapshots that turned out wrong: each costs a whole transfer
SWITCH_SECONDS = 30.0  # for a complete snapshot to be taken into use, before the same one is fetched again
PROGRESS_SECONDS = 10.0  # between lines in the log

_Identity = tuple[int, int, bytes]  # index, term and sum of a snapshot


class _State(Enum):
    BEGINNING = "the file is being made"
    FETCHING = "a piece is on its way"
    WRITING = "a piece goes into the file"
    FINISHING = "the snapshot is verified and loaded"


class _Incoming:
    """The snapshot that is being fetched. `dropped`: what the disk still does with it is of no interest."""

    __slots__ = (
        "after",
        "asked",
        "asked_at",
        "bytes",
        "dropped",
        "heard_at",
        "linked",
        "needed_at",
        "offer",
        "patience",
        "patience_first",
        "previous",
        "progress_at",
        "refusals",
        "sender",
        "started_at",
        "state",
        "writer",
    )

    def __init__(self, sender: str, offer: SnapshotOffer, now: float) -> None:
        self.sender = sender
        self.offer = offer
        self.state = _State.BEGINNING
        self.writer: SnapshotWriter | None = None
        self.dropped = False
        self.after: bytes | None = None  # the last key in the file
        self.bytes = 0
        self.started_at = now
        self.progress_at = now
        self.needed_at = now  # when the present piece was asked for first
        self.asked = 0  # how often since then
        self.asked_at = now
        self.heard_at = now
        self.linked = True
        self.patience = PATIENCE_SECONDS  # after the present question
        self.patience_first = 0.0  # after the first one for a piece; 0 until one has come
        self.previous: tuple[bytes | None] | None = None  # the piece before, if it was asked for repeatedly
        self.refusals = 0

    def need(self, now: float) -> None:
        """Another piece is to be asked for."""
        self.needed_at = now
        self.asked = 0
        self.patience = self.patience_first or PATIENCE_SECONDS

    def learn(self, now: float) -> None:
        """A piece came: how long may the next one take?

        One that was asked for twice says little: the first question may have been lost.
        """
        if self.asked == 1 or not self.patience_first:
            took = PATIENCE_FACTOR * (now - self.needed_at)
            self.patience_first = min(PATIENCE_SECONDS_MAX, max(PATIENCE_SECONDS, took))
        self.previous = (self.after,) if self.asked > 1 else None

    def late(self, chunk: SnapshotChunk) -> None:
        """A piece that is not expected: if a repeated question brought it, that came too early."""
        if self.previous == (chunk.after,):
            self.previous = None
            self.patience_first = min(PATIENCE_SECONDS_MAX, 2.0 * self.patience_first)

    def quiet(self, now: float) -> bool:
        """Nothing suggests that the sender goes on."""
        silent = not self.linked or self.heard_at + QUIET_SECONDS <= now
        return self.state is _State.FETCHING and silent

    def expects(self, sender: str, chunk: SnapshotChunk) -> bool:
        """`chunk` is the piece that was asked for, not one that is late, doubled, or of another snapshot."""
        base = self.offer.base
        return (
            self.state is _State.FETCHING
            and sender == self.sender
            and (chunk.index, chunk.term) == (base.index, base.term)
            and chunk.after == self.after
        )


class SnapshotReceiver:
    """At most one snapshot on its way to this replica of a group."""

    def __init__(
        self,
        group: int,
        clock: Clock,
        disk: Disk,
        post: Callable[[str, Message], None],
        complete: Callable[[Received, SnapshotOffer], bool],
        observer: HostObserver,
        settings: SnapshotSettings,
    ) -> None:
        """`complete` takes the snapshot into use, or answers False: its file is not needed, and goes."""
        self._group = group
        self._clock = clock
        self._disk = disk
        self._post = post
        self._complete = complete
        self._observer = observer
        self._settings = settings
        self._incoming: _Incoming | None = None
        self._not_before = 0.0  # when to begin again after something went wrong
        self._wrong = 0  # snapshots in a row that could not be finished
        self._stalled = ""  # the last refusal, told once
        self._completed: tuple[_Identity | None, float] = (
            None,
            0.0,
        )  # the last snapshot, not fetched again until
        self._stopped = False

    # -- input ----------------------------------------------------------------------------------------

    def offered(self, sender: str, offer: SnapshotOffer, commit: int, fenced: bool) -> bool:
        """The leader offers a snapshot. False: there is nothing in it for this replica, whose commit index
        is `commit`, so that the leader should be told how far its log goes.

        A snapshot at or below `commit` is taken only to replace the state of a `fenced` replica.
        """
        if offer.base.index <= commit and not (offer.reseed and fenced):
            return False
        now = self._clock.seconds()
        incoming = self._incoming
        if incoming is None:
            self._begin(sender, offer, now)
        elif incoming.state in (_State.FETCHING, _State.WRITING):
            if _identity(offer) == _identity(incoming.offer):
                self._go_on(incoming, sender, offer, now)
            elif self._prefers(incoming, sender, offer, now):
                self._drop(incoming, ABANDONED)
                self._begin(sender, offer, now)
        return True

    def chunk(self, sender: str, chunk: SnapshotChunk) -> None:
        """A piece arrived; only the one that was asked for is looked at."""
        incoming = self._incoming
        if incoming is None or incoming.writer is None:
            return
        if not incoming.expects(sender, chunk):
            incoming.late(chunk)
            return
        now = self._clock.seconds()
        incoming.heard_at = now
        if crc32(chunk.rows) != chunk.checksum or not _moves_on(chunk):
            self._refused(incoming, "a piece was damaged on its way", now)
            return
        incoming.learn(now)
        incoming.state = _State.WRITING
        if chunk.rows:
            key, size, end = chunk.last, len(chunk.rows), chunk.end
            incoming.writer.write(chunk.rows, partial(self._written, incoming, key, size, end))
        else:
            self._finish(incoming, incoming.writer)

    def link_down(self, peer: str) -> None:
        """Nothing more comes from `peer` until it offers again; another one may go on."""
        if self._incoming is not None and self._incoming.sender == peer:
            self._incoming.linked = False

    def tick(self, now: float, commit: int) -> None:
        """Ask again, and end what makes no sense any more: the log has caught up, or nobody sends."""
        incoming = self._incoming
        if incoming is None or incoming.dropped:
            return
        if incoming.offer.base.index <= commit and not incoming.offer.reseed:
            self._drop(incoming, ABANDONED)
        elif incoming.state is not _State.FETCHING:
            return
        elif incoming.heard_at + self._settings.hold <= now:
            self._drop(incoming, FAILED, f"{incoming.sender} sends nothing any more")
        elif incoming.asked_at + incoming.patience <= now:
            incoming.patience = min(PATIENCE_SECONDS_MAX, 2 * incoming.patience)
            self._ask(incoming, now)

    def abandon(self) -> None:
        """The snapshot is not needed any more."""
        if self._incoming is not None and not self._incoming.dropped:
            self._drop(self._incoming, ABANDONED)

    def stop(self) -> None:
        """The group ends here."""
        self._stopped = True
        self.abandon()

    # -- output ---------------------------------------------------------------------------------------

    @property
    def held(self) -> int | None:
        """A copy at this index is to take the place of a wrong state: the log behind it is still needed."""
        incoming = self._incoming
        wanted = incoming is not None and incoming.offer.reseed and not incoming.dropped
        return incoming.offer.base.index if incoming is not None and wanted else None

    def status(self) -> tuple[TransferStatus, ...]:
        """The transfer under way, if any."""
        incoming = self._incoming
        if incoming is None or incoming.dropped:
            return ()
        size = incoming.offer.size
        finishing = incoming.state is _State.FINISHING
        return (
            TransferStatus(
                peer=incoming.sender,
                direction=RECEIVE,
                index=incoming.offer.base.index,
                done_bytes=size if finishing else min(incoming.bytes, size),
                size_bytes=size,
                seconds=self._clock.seconds() - incoming.started_at,
            ),
        )

    # -- which snapshot ----------------------------------------------------------------------------------

    def _begin(self, sender: str, offer: SnapshotOffer, now: float) -> None:
        if self._stopped or now < self._not_before or self._incoming is not None:
            return  # offers are repeated
        completed, until = self._completed
        if completed == _identity(offer) and now < until:
            return  # it is being taken into use
        incoming = self._incoming = _Incoming(sender, offer, now)
        checkpoint = Checkpoint(offer.base, offer.revision, offer.keys, offer.size, offer.sum)
        self._disk.receive_snapshot(self._group, checkpoint, partial(self._begun, incoming))

    def _begun(self, incoming: _Incoming, writer: SnapshotWriter | None) -> None:
        if incoming.dropped:
            self._incoming = None
            if writer is not None:
                writer.abandon()
            return
        now = self._clock.seconds()
        if writer is None:
            self._incoming = None
            self._not_before = now + RETRY_SECONDS
            self._stall(incoming, "the disk is full")
            return
        incoming.writer = writer
        incoming.need(now)
        self._observer.event("snapshot_receive_started", **self._fields(incoming), size=incoming.offer.size)
        self._ask(incoming, now)

    def _go_on(self, incoming: _Incoming, sender: str, offer: SnapshotOffer, now: float) -> None:
        """A snapshot like ours: its sender still has it, or another one takes over."""
        if sender != incoming.sender and not incoming.quiet(now):
            return
        changed = sender != incoming.sender or not incoming.linked
        incoming.sender, incoming.offer = sender, offer
        incoming.linked = True
        incoming.heard_at = now
        if changed and incoming.state is _State.FETCHING:
            incoming.need(now)
            self._ask(incoming, now)

    def _prefers(self, incoming: _Incoming, sender: str, offer: SnapshotOffer, now: float) -> bool:
        """Whether to start over: our sender has a newer snapshot now, so the old one is gone, or is silent.

        Old offers may still be on their way, so an older snapshot is not believed as long as pieces come.
        """
        newer = sender == incoming.sender and offer.base.index > incoming.offer.base.index
        return newer or incoming.quiet(now)

    def _drop(self, incoming: _Incoming, outcome: str, reason: str = "") -> None:
        """The transfer is over. A file that is being made or finished goes when that has ended."""
        incoming.dropped = True
        if incoming.state in (_State.FETCHING, _State.WRITING):
            self._incoming = None
        if incoming.writer is None:
            return  # not begun: nothing to tell
        if self._incoming is None:
            incoming.writer.abandon()
        self._tell_end(incoming, outcome, reason)

    # -- pieces ---------------------------------------------------------------------------------------

    def _ask(self, incoming: _Incoming, now: float) -> None:
        incoming.state = _State.FETCHING
        incoming.asked_at = now
        incoming.asked += 1
        base = incoming.offer.base
        self._post(incoming.sender, SnapshotRequest(base.index, base.term, incoming.after))

    def _written(self, incoming: _Incoming, key: bytes, size: int, end: bool, problem: str) -> None:
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
        incoming.need(now)
        if incoming.progress_at + PROGRESS_SECONDS <= now:
            incoming.progress_at = now
            self._observer.event(
                "snapshot_receive_progress",
                **self._fields(incoming),
                bytes=incoming.bytes,
                size=incoming.offer.size,
            )
        if end:
            self._finish(incoming, incoming.writer)
        else:
            self._ask(incoming, now)

    def _refused(self, incoming: _Incoming, problem: str, now: float) -> None:
        """The piece is not in the file: it is asked for again, so nothing need be kept meanwhile."""
        self._stall(incoming, problem)
        incoming.refusals += 1
        if incoming.refusals >= REFUSALS_MAX:
            self._back_off(now)
            self._drop(incoming, FAILED, problem)
            return
        incoming.state = _State.FETCHING
        incoming.asked_at = now
        incoming.patience = RETRY_SECONDS

    # -- the end --------------------------------------------------------------------------------------

    def _finish(self, incoming: _Incoming, writer: SnapshotWriter) -> None:
        incoming.state = _State.FINISHING
        if incoming.dropped:
            self._incoming = None
            writer.abandon()
        else:
            writer.finish(partial(self._finished, incoming, writer))

    def _finished(self, incoming: _Incoming, writer: SnapshotWriter, result: Received | str) -> None:
        if incoming.dropped:
            self._incoming = None
            writer.abandon()
            return
        now = self._clock.seconds()
        if isinstance(result, str):
            self._stall(incoming, result)
            incoming.refusals += 1
            if incoming.refusals < FINISH_TRIES:
                self._clock.call_later(RETRY_SECONDS, partial(self._finish, incoming, writer))
                return
            self._back_off(now)
            incoming.state = _State.FETCHING  # the file may go at once
            self._drop(incoming, FAILED, result)
            return
        self._incoming = None
        self._stalled = ""
        self._wrong = 0
        self._completed = (_identity(incoming.offer), now + SWITCH_SECONDS)
        self._tell_end(incoming, DONE, "")
        if not self._complete(result, incoming.offer):
            writer.abandon()

    def _back_off(self, now: float) -> None:
        self._wrong += 1
        self._not_before = now + min(BACKOFF_SECONDS_MAX, RETRY_SECONDS * 2.0**self._wrong)

    # -- telling --------------------------------------------------------------------------------------

    def _stall(self, incoming: _Incoming, reason: str) -> None:
        if reason != self._stalled:
            self._stalled = reason
            self._observer.event("snapshot_receive_stalled", **self._fields(incoming), reason=reason)

    def _tell_end(self, incoming: _Incoming, outcome: str, reason: str) -> None:
        seconds = self._clock.seconds() - incoming.started_at
        self._observer.snapshot_transfer(self._group, RECEIVE, outcome, incoming.bytes, seconds)
        fields = self._fields(incoming) | {"bytes": incoming.bytes, "seconds": round(seconds, 3)}
        if outcome == FAILED:
            self._observer.event("snapshot_receive_failed", **fields, reason=reason)
        else:
            self._observer.event("snapshot_receive_ended", **fields, outcome=outcome)

    def _fields(self, incoming: _Incoming) -> dict[str, object]:
        return {"group": self._group, "peer": incoming.sender, "index": incoming.offer.base.index}


def _identity(offer: SnapshotOffer) -> _Identity:
    """Snapshots with equal identities hold the same rows, whoever made them."""
    return (offer.base.index, offer.base.term, offer.sum)


def _moves_on(chunk: SnapshotChunk) -> bool:
    """There are rows behind what is here already, or the snapshot ends."""
    if chunk.end:
        return True
    return bool(chunk.rows) and (chunk.after is None or chunk.last > chunk.after)
