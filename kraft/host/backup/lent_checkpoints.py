"""Checkpoints of groups that this node leads, pinned for images of nodes that lack these groups.

One that is neither read nor kept for a while is closed: nobody tells that the other node has ended. An image
has one of a group at most, so that answers which are lost leave none behind.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from kraft.backup.manifest import GroupImage
from kraft.host.group.group import Group
from kraft.host.ports import Disk, SnapshotReader
from kraft.kv.checkpoint import Checkpoint
from kraft.node.admin import AdminDone, CloseCheckpoint, KeepCheckpoint, PinCheckpoint, ReadCheckpoint
from kraft.node.errors import AdminRefused, CheckpointFailed, NotLeader
from kraft.node.ports import Clock
from kraft.node.values import Rows

LENT_MAX = 4  # of one group: each keeps the WAL of its state file from being emptied
IDLE_SECONDS = 120.0
PIECE_BYTES = 64 << 10  # that are read at a time; a row may be larger
PART_BYTES = 512 << 10  # of a piece, in one answer
PAUSE_SECONDS = 10.0  # without checkpoints of a group after a marker was missed, until another one follows
CLOSED = "the checkpoint was closed meanwhile: open another image"


def place(checkpoint: Checkpoint | None) -> tuple[int, int]:
    """The index and term of a checkpoint."""
    return (0, 0) if checkpoint is None else (checkpoint.base.index, checkpoint.base.term)


class _Wanted(NamedTuple):
    """A checkpoint of `group` that an image waits for."""

    group: int
    command: PinCheckpoint
    done: AdminDone

    @property
    def marker(self) -> tuple[int, int]:
        """The index and term of the checkpoint."""
        return self.command.index, self.command.term

    def is_of(self, group: int, image: int) -> bool:
        """Whether it is that of a group for this image."""
        return self.group == group and self.command.image == image != 0


class _Lent:
    """One pinned checkpoint. `piece` is the last one that was read, after the key `after`."""

    def __init__(self, wanted: _Wanted, reader: SnapshotReader, now: float) -> None:
        self.wanted = wanted
        self.reader = reader
        self.used_at = now
        self.after: bytes | None = None
        self.piece: Rows | None = None


class LentCheckpoints:
    """All of one node; `groups` are its replicas. They are numbered from `first_token` on."""

    def __init__(self, groups: Mapping[int, Group], clock: Clock, disk: Disk, first_token: int) -> None:
        self._groups = groups
        self._clock = clock
        self._disk = disk
        self._token = first_token
        self._lent: dict[int, _Lent] = {}
        self._waiting: list[_Wanted] = []
        self._paused: dict[int, float] = {}  # by group, until when (monotonic seconds)

    @property
    def paused(self) -> Collection[int]:
        """The groups that are to begin no checkpoint, so that the next marker is not missed."""
        return self._paused.keys()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do in a tick."""
        return not (self._lent or self._waiting or self._paused)

    def pin(self, group: int, command: PinCheckpoint, done: AdminDone) -> None:
        """Pin the checkpoint at a marker, once it is there; `done` gets what the command says."""
        self._give_up(group, command.image)
        wanted = [*self._waiting, *(lent.wanted for lent in self._lent.values())]
        if sum(each.group == group for each in wanted) >= LENT_MAX:
            done(AdminRefused(f"{LENT_MAX} images of group {group} are being read already: try again later"))
        else:
            self._waiting.append(_Wanted(group, command, done))

    def read(self, command: ReadCheckpoint, done: AdminDone) -> None:
        """A part of a piece of the rows; `done` gets what the command says."""
        lent = self._lent.get(command.token)
        if lent is None:
            done(AdminRefused(CLOSED))
            return
        lent.used_at = self._clock.seconds()
        if lent.piece is not None and lent.after == command.after:
            done(_part(lent.piece, command.offset))
        else:
            lent.reader.read(command.after, PIECE_BYTES, partial(self._have_read, lent, command, done))

    def keep(self, command: KeepCheckpoint, done: AdminDone) -> None:
        """Keep a checkpoint for another while."""
        lent = self._lent.get(command.token)
        if lent is not None:
            lent.used_at = self._clock.seconds()
        done(AdminRefused(CLOSED) if lent is None else "OK")

    def close(self, command: CloseCheckpoint, done: AdminDone) -> None:
        """Unpin a checkpoint; nothing happens if there is none."""
        self._close(command.token)
        done("OK")

    def marked(self, group: int) -> None:
        """The next marker of a group is logged, and not applied: it is the one that is not to be missed."""
        self._paused.pop(group, None)

    def tick(self, now: float) -> None:
        """Pin what is there by now, and close what nobody uses."""
        waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            self._look(wanted, now)
        for token, lent in list(self._lent.items()):
            if lent.used_at + IDLE_SECONDS <= now:
                self._close(token)
        self._paused = {id_: until for id_, until in self._paused.items() if until > now}

    def abandon(self) -> None:
        """The node stops."""
        for token in list(self._lent):
            self._close(token)

    def _give_up(self, group: int, image: int) -> None:
        """An image asks anew: close what it has of a group, and wait no more for what it asked for before."""
        self._close_of(group, image)
        earlier = [wanted for wanted in self._waiting if wanted.is_of(group, image)]
        self._waiting = [wanted for wanted in self._waiting if not wanted.is_of(group, image)]
        for wanted in earlier:
            wanted.done([])

    def _close_of(self, group: int, image: int) -> None:
        for token, lent in list(self._lent.items()):
            if lent.wanted.is_of(group, image):
                self._close(token)

    def _look(self, wanted: _Wanted, now: float) -> None:
        id_, marker = wanted.group, wanted.marker
        group = self._groups.get(id_)
        if group is None or not group.raft.state.leads:
            wanted.done(NotLeader(id_, ""))
            return
        checkpoints, last = group.checkpoints, place(group.checkpoints.last)
        if last == marker:
            self._disk.open_snapshot(id_, partial(self._opened, wanted))
        elif last[0] >= marker[0] or (group.state.index >= marker[0] and not checkpoints.busy):
            self._paused[id_] = now + PAUSE_SECONDS
            wanted.done([])
        elif marker[0] > group.raft.state.log.last_index:
            wanted.done([])  # it was lost with the leader that logged it
        else:
            self._waiting.append(wanted)

    def _opened(self, wanted: _Wanted, reader: SnapshotReader | None) -> None:
        if reader is None:
            wanted.done(CheckpointFailed())
        elif place(reader.checkpoint) != wanted.marker:
            reader.close()
            wanted.done([])
        else:
            self._close_of(wanted.group, wanted.command.image)  # both were being opened
            self._token += 1
            self._lent[self._token] = _Lent(wanted, reader, self._clock.seconds())
            image = GroupImage.of(wanted.group, reader.checkpoint)
            wanted.done([self._token, msgspec.json.encode(image)])

    def _have_read(self, lent: _Lent, command: ReadCheckpoint, done: AdminDone, rows: Rows) -> None:
        lent.after, lent.piece = command.after, rows
        done(_part(rows, command.offset))

    def _close(self, token: int) -> None:
        lent = self._lent.pop(token, None)
        if lent is not None:
            lent.reader.close()


def _part(rows: Rows, offset: int) -> list[object]:
    return [rows.data[offset : offset + PART_BYTES], len(rows.data), rows.last, int(rows.end)]
