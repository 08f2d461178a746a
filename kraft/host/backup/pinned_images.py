"""Images that are being read: the last checkpoint of every group, pinned, after a marker of this moment.

Whoever wants an image asks for checkpoints first, as KRAFT SNAPSHOT does. So it holds all that was
acknowledged before. With several groups their markers are those of one moment (`admin.held_markers`), and the
checkpoints are pinned that were taken at exactly these markers: the term counts as well, because after a
change of the leader another entry may have the index. If this node was writing another checkpoint just then,
it missed one, and all of it is done again; until then this node begins no other checkpoint, so under steady
load, too, there is a moment in which it writes none. So it is when a leader was lost meanwhile, for a while,
and when a group was made.

The checkpoint of a group that this node has no replica of is pinned at its leader (`remote_checkpoints`).

An image is read in pieces, as a snapshot is, and nothing that is written meanwhile changes it. It belongs to
whoever knows its token; one that is not read for a while is closed.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec
from msgspec import UNSET

from kraft import __version__
from kraft.backup.manifest import FORMAT, GroupImage, Manifest
from kraft.host.backup.lent_checkpoints import LentCheckpoints, place
from kraft.host.backup.remote_checkpoints import RemoteCheckpoints, RemoteReader
from kraft.host.group.group import Group
from kraft.host.membership.formation import Formation
from kraft.host.ports import Disk, SnapshotReader
from kraft.host.slots import SlotMap
from kraft.node.admin import AdminOutcome, AdminResult
from kraft.node.errors import AdminRefused, CheckpointFailed, Uncertain
from kraft.node.ports import Clock
from kraft.node.values import Rows

OPEN_MAX = 4  # each one keeps the WAL of the state files from being emptied
IDLE_SECONDS = 120.0
CLOSED = "the image was closed meanwhile: open another one"
OPEN_SECONDS = 900.0  # for the checkpoints: a million keys take most of a minute
MARK_SECONDS = 5.0  # until another marker, where the first came while a checkpoint was being written
MARKING_SECONDS = 30.0  # for markers, after leaders were lost, or have logged none at one moment
RETRY_SECONDS = 1.0  # before they are asked again
KEEP_SECONDS = 30.0  # between two messages that a checkpoint at another node is in use

Mark = Callable[[Callable[[AdminOutcome], None]], None]  # `AdminExecutor.mark`
ReadDone = Callable[[Rows | AdminRefused], None]
Reader = SnapshotReader | RemoteReader
PinDone = Callable[["PinnedImage | Exception"], None]


class PinnedImage:
    """One image; `head` describes it. `used_at` is when it was last read, in monotonic seconds."""

    def __init__(self, token: int, head: Manifest, readers: Mapping[int, Reader], now: float) -> None:
        self.token = token
        self.head = head
        self.readers = readers
        self.used_at = now
        self._reads: dict[int, ReadDone] = {}  # that are not answered yet
        self._count = 0
        self._closed = False

    def read(self, group: int, after: bytes | None, max_bytes: int, done: ReadDone) -> None:
        """A piece of the rows of a group; `done` gets AdminRefused if the image is closed by then."""
        if self._closed:
            done(AdminRefused(CLOSED))
            return
        self._count += 1
        self._reads[self._count] = done
        self.readers[group].read(after, max_bytes, partial(self._answer, self._count))

    def close(self) -> None:
        """Unpin it."""
        self._closed = True
        for reader in self.readers.values():
            reader.close()
        for read in list(self._reads):
            self._answer(read, AdminRefused(CLOSED))

    @property
    def is_read(self) -> bool:
        """Whether a piece is awaited."""
        return bool(self._reads)

    def _answer(self, read: int, outcome: Rows | AdminRefused) -> None:
        done = self._reads.pop(read, None)
        if done is not None:
            done(outcome)


class _Opening:
    """An image for which checkpoints are awaited: at the `markers`, (index, term) by group. It has a `token`.

    With several groups they are to be met exactly: `pinned` are the groups whose checkpoint is being opened
    in this `attempt`. `missed`: one of them cannot be had any more. `marking`: markers were asked for. From
    `failing_since` on (monotonic seconds) they were asked for in vain.
    """

    def __init__(self, token: int, mark: Mark, done: PinDone, created_ms: int, now: float) -> None:
        self.token = token
        self.mark = mark
        self.done: PinDone | None = done
        self.created_ms = created_ms
        self.markers: dict[int, tuple[int, int]] = {}
        self.readers: dict[int, Reader] = {}
        self.deadline = now + OPEN_SECONDS
        self.mark_at = now + MARK_SECONDS
        self.attempt = 0
        self.pinned: set[int] = set()
        self.missed = False
        self.marking = True
        self.failing_since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits until this node writes no checkpoint, to ask for other markers."""
        return self.missed and not self.marking

    def begin(self, markers: dict[int, tuple[int, int]]) -> None:
        """The markers are these. What an earlier attempt has opened is closed."""
        self.markers, self.pinned, self.missed = markers, set(), False
        self.attempt += 1
        self.close()

    def miss(self) -> None:
        """Other markers have to be asked for."""
        self.begin({})
        self.missed = True

    def close(self) -> None:
        """Close what is open."""
        for reader in self.readers.values():
            reader.close()
        self.readers = {}


class PinnedImages:
    """All open images of this node."""

    def __init__(
        self,
        node: str,
        groups: Mapping[int, Group],
        slots: SlotMap,
        formation: Formation,
        clock: Clock,
        disk: Disk,
        remote: RemoteCheckpoints,
        first_token: int,
    ) -> None:
        self.lent = LentCheckpoints(groups, clock, disk, first_token)
        self._remote = remote
        self._keep_at = 0.0  # monotonic seconds
        self._node = node
        self._groups = groups
        self._slots = slots
        self._formation = formation
        self._clock = clock
        self._disk = disk
        self._token = first_token
        self._open: dict[int, PinnedImage] = {}
        self._opening: list[_Opening] = []
        self._paused: set[int] = set()  # groups that were told so

    def open(self, mark: Mark, done: PinDone) -> None:
        """Open an image with all writes acknowledged so far. `done` gets it, or why there is none."""
        if refusal := self._refusal():
            self._clock.call_soon(partial(done, AdminRefused(refusal)))
            return
        self._token += 1
        opening = _Opening(self._token, mark, done, self._clock.wall_ms(), self._clock.seconds())
        self._opening.append(opening)
        mark(partial(self._marked, opening))

    def find(self, token: int) -> PinnedImage | None:
        """The open image with this token. It stays open for another while."""
        image = self._open.get(token)
        if image is not None:
            image.used_at = self._clock.seconds()
        return image

    def close(self, token: int) -> None:
        """Close an image; nothing happens if there is none."""
        image = self._open.pop(token, None)
        if image is not None:
            image.close()

    def marked(self, group: int) -> None:
        """This node, as the leader of a group, has logged the marker of an image: it takes the checkpoint."""
        self.lent.marked(group)
        self._pause()

    @property
    def active(self) -> bool:
        """Whether an image is open, or is being opened, here or for another node."""
        return bool(self._open or self._opening or self._paused) or not self.lent.is_idle

    def tick(self) -> None:
        """Close what is not read, and go on with what is being opened."""
        if not self.active:
            return  # most often
        now = self._clock.seconds()
        self.lent.tick(now)
        if self._keep_at <= now:
            self._keep_at = now + KEEP_SECONDS
            for image in self._open.values():
                _keep(image.readers.values())
            for opening in self._opening:
                _keep(opening.readers.values())
        for image in list(self._open.values()):
            if image.used_at + IDLE_SECONDS <= now and not image.is_read:
                self.close(image.token)
        for opening in list(self._opening):
            if opening.deadline <= now:
                self._fail(opening, AdminRefused("no checkpoint was made in time"))
            elif opening.markers or opening.waits:
                self._go_on(opening, now)
        self._pause()

    def abandon(self) -> None:
        """The node stops."""
        for opening in list(self._opening):
            self._fail(opening, AdminRefused("this node stops"))
        for token in list(self._open):
            self.close(token)
        self.lent.abandon()

    def _refusal(self) -> str:
        known = all(self._is_known(group) for group in range(self._slots.groups))
        if not known or not self._formation.identity.cluster:
            return "this node has no data yet"
        fenced = [str(group.id) for group in self._groups.values() if group.state.fenced]
        if fenced:
            text = f"the data of group {', '.join(fenced)} on {self._node} differs from the others'"
            return f"{text}: ask another node, and KRAFT RESEED {self._node}"
        if len(self._open) + len(self._opening) >= OPEN_MAX:
            return f"{OPEN_MAX} images are being read already: try again later"
        return ""

    def _is_known(self, group: int) -> bool:
        return group in self._groups or self._remote.has(group)

    def _marked(self, opening: _Opening, outcome: AdminOutcome) -> None:
        """The leaders' markers are these; this node takes its checkpoints when it applies them."""
        opening.marking = False
        if opening.done is None or len(opening.markers) == 1:
            return  # given up, or this was another marker
        now = self._clock.seconds()
        if isinstance(outcome, Exception):
            self._not_marked(opening, outcome, now)
        elif isinstance(markers := _markers(outcome), Exception):
            self._fail(opening, markers)
        else:
            opening.begin(markers)
            opening.failing_since = None
            self._go_on(opening, now)

    def _not_marked(self, opening: _Opening, reason: Exception, now: float) -> None:
        """A leader was lost, or a link is slow: that may be over soon."""
        since = opening.failing_since = now if opening.failing_since is None else opening.failing_since
        lasting = self._slots.groups == 1 and not isinstance(reason, Uncertain)
        if lasting or now - since >= MARKING_SECONDS:
            self._fail(opening, reason)
            return
        opening.miss()
        opening.mark_at = now + RETRY_SECONDS

    def _go_on(self, opening: _Opening, now: float) -> None:
        if opening.markers and len(opening.markers) != self._slots.groups:
            opening.miss()  # a group was made meanwhile: it may have keys that others had
        if len(opening.markers) == 1:
            again = not self._reached(opening)
        else:
            self._pin(opening)
            again = opening.missed
        if not again or now < opening.mark_at or opening.marking:
            return
        if not any(group.checkpoints.busy for group in self._groups.values()):
            opening.mark_at, opening.marking = now + MARK_SECONDS, True
            opening.mark(partial(self._marked, opening))

    def _pause(self) -> None:
        """Begin no checkpoint while an image waits until none is being written, in new groups either."""
        waits = any(opening.waits for opening in self._opening)
        wanted = set(self._groups if waits else self.lent.paused)
        for id_ in wanted ^ self._paused:
            if id_ in self._groups:
                self._groups[id_].checkpoints.paused = id_ in wanted
        self._paused = wanted

    def _pin(self, opening: _Opening) -> None:
        """Open the checkpoints that were taken at the markers."""
        for group, marker in opening.markers.items():
            if group in opening.pinned or opening.missed or not self._is_known(group):
                continue
            if group not in self._groups:
                opening.pinned.add(group)
                pinned = partial(self._lent_here, opening, group, opening.attempt)
                self._remote.pin(group, marker, opening.token, pinned)
                continue
            checkpoints, applied = self._groups[group].checkpoints, self._groups[group].state.index
            last = place(checkpoints.last)
            if last == marker:
                opening.pinned.add(group)
                self._disk.open_snapshot(group, partial(self._opened, opening, group, opening.attempt))
            elif last[0] >= marker[0] or (applied >= marker[0] and not checkpoints.busy):
                opening.missed = True

    def _reached(self, opening: _Opening) -> bool:
        """Whether the one group has a checkpoint at the marker, or after it; then that is opened."""
        reached = all(
            place(self._groups[group].checkpoints.last)[0] >= index
            for group, (index, _) in opening.markers.items()
        )
        if reached:
            self._opening.remove(opening)
            for group in opening.markers:
                self._disk.open_snapshot(group, partial(self._opened, opening, group, opening.attempt))
        return reached

    def _opened(self, opening: _Opening, group: int, attempt: int, reader: Reader | None) -> None:
        if opening.done is None or attempt != opening.attempt:
            if reader is not None:
                reader.close()
        elif reader is None:
            self._fail(opening, CheckpointFailed())
        elif len(opening.markers) > 1 and place(reader.checkpoint) != opening.markers[group]:
            reader.close()
            opening.missed = True
        else:
            opening.readers[group] = reader
            if len(opening.readers) == len(opening.markers):
                self._complete(opening, opening.done)

    def _lent_here(
        self, opening: _Opening, group: int, attempt: int, outcome: RemoteReader | Exception | None
    ) -> None:
        """The leader of a group elsewhere has pinned its checkpoint, or has missed it."""
        if isinstance(outcome, RemoteReader):
            self._opened(opening, group, attempt, outcome)
        elif opening.done is not None and attempt == opening.attempt:
            if outcome is None:
                opening.missed = True
            else:
                self._fail(opening, outcome)

    def _complete(self, opening: _Opening, done: PinDone) -> None:
        if opening in self._opening:
            self._opening.remove(opening)
        if len(opening.readers) < self._slots.groups:  # as in `_go_on`
            opening.miss()
            self._opening.append(opening)
            return
        opening.done = None
        groups = tuple(
            GroupImage.of(group, opening.readers[group].checkpoint) for group in sorted(opening.readers)
        )
        head = Manifest(
            format=FORMAT,
            name="",
            cluster=self._formation.identity.cluster,
            node=self._node,
            version=__version__,
            created_ms=opening.created_ms,
            encrypted=False,
            groups=groups,
            founded=self._slots.founded if self._slots.founded < len(groups) else UNSET,
        )
        image = PinnedImage(opening.token, head, opening.readers, self._clock.seconds())
        self._open[image.token] = image
        done(image)

    def _fail(self, opening: _Opening, reason: Exception) -> None:
        if opening in self._opening:
            self._opening.remove(opening)
        opening.close()
        done, opening.done = opening.done, None
        if done is not None:
            done(reason)


def _keep(readers: Iterable[Reader]) -> None:
    """Tell other nodes that what they have pinned is in use."""
    for reader in readers:
        if isinstance(reader, RemoteReader):
            reader.keep()


def _markers(outcome: AdminResult) -> dict[int, tuple[int, int]] | AdminRefused:
    """The markers by group, as `AdminExecutor.mark` tells them; the term of that of a single group is 0."""
    try:
        told = [[outcome, 0]] if isinstance(outcome, int) else outcome
        return dict(enumerate(msgspec.convert(told, list[tuple[int, int]])))
    except msgspec.ValidationError:
        return AdminRefused("a leader does not answer with a marker: update it first")
