"""Checkpoints of groups that this node has no replica of: their leaders pin them, and send their rows."""

from collections.abc import Callable
from functools import partial

import msgspec

from kraft.backup.manifest import GroupImage
from kraft.kv.checkpoint import Checkpoint
from kraft.node.admin import (
    AdminCommand,
    AdminDone,
    AdminOutcome,
    CloseCheckpoint,
    KeepCheckpoint,
    PinCheckpoint,
    ReadCheckpoint,
)
from kraft.node.errors import AdminRefused
from kraft.node.values import Rows

FOREIGN = "the leader of group {} does not answer with a part of its checkpoint: update it first"
LOST = "the leader of group {} did not answer, or another node leads it: open another image"

Ask = Callable[[int, AdminCommand, AdminDone], None]
"""Let the leader of a group carry out a command."""
Pinned = Callable[["RemoteReader | Exception | None"], None]


class RemoteReader:
    """One pinned checkpoint of `group` at its leader: as a `SnapshotReader`, whose reads may fail."""

    def __init__(self, group: int, token: int, checkpoint: Checkpoint, ask: Ask) -> None:
        self.checkpoint = checkpoint
        self._group = group
        self._token = token
        self._ask = ask

    def read(self, after: bytes | None, _: int, done: Callable[[Rows | AdminRefused], None]) -> None:
        """Read rows after the key `after`; `done` gets AdminRefused if the leader has them no more."""
        self._read_part(after, [], 0, done)

    def keep(self) -> None:
        """Let the leader keep it for another while."""
        self._ask(self._group, KeepCheckpoint(self._token), _ignored)

    def close(self) -> None:
        """Give it up. If the leader does not hear of it, it gives it up by itself."""
        self._ask(self._group, CloseCheckpoint(self._token), _ignored)

    def _read_part(
        self,
        after: bytes | None,
        parts: list[bytes],
        size: int,
        done: Callable[[Rows | AdminRefused], None],
    ) -> None:
        command = ReadCheckpoint(self._token, after, size)
        self._ask(self._group, command, partial(self._answered, after, parts, size, done))

    def _answered(
        self,
        after: bytes | None,
        parts: list[bytes],
        size: int,
        done: Callable[[Rows | AdminRefused], None],
        outcome: AdminOutcome,
    ) -> None:
        if isinstance(outcome, Exception):
            lost = AdminRefused(LOST.format(self._group))
            done(outcome if isinstance(outcome, AdminRefused) else lost)
            return
        try:
            data, total, last, end = msgspec.convert(outcome, tuple[bytes, int, bytes, int])
        except msgspec.ValidationError:
            done(AdminRefused(FOREIGN.format(self._group)))
            return
        parts.append(data)
        size += len(data)
        if size < total and data:
            self._read_part(after, parts, size, done)
        elif size != total:
            done(AdminRefused(FOREIGN.format(self._group)))
        else:
            done(Rows(b"".join(parts), last, bool(end)))


class RemoteCheckpoints:
    """Pins checkpoints of groups elsewhere: `has` tells which are; `ask` brings a command to a leader."""

    ask: Ask

    def __init__(self, has: Callable[[int], bool]) -> None:
        self.has = has

    def pin(self, group: int, marker: tuple[int, int], image: int, done: Pinned) -> None:
        """Pin the checkpoint of a group at `marker` (index, term), for the image with this token.

        `done` gets a reader, None if there is no such checkpoint or the leader was lost, or why there can be
        none.
        """
        self.ask(group, PinCheckpoint(*marker, image), partial(self._answered, group, done))

    def _answered(self, group: int, done: Pinned, outcome: AdminOutcome) -> None:
        if isinstance(outcome, Exception):
            done(outcome if isinstance(outcome, AdminRefused) else None)
        elif outcome == []:
            done(None)
        else:
            try:
                token, image = msgspec.convert(outcome, tuple[int, bytes])
                checkpoint = msgspec.json.decode(image, type=GroupImage).checkpoint
            except (msgspec.MsgspecError, ValueError):
                done(AdminRefused(FOREIGN.format(group)))
                return
            done(RemoteReader(group, token, checkpoint, self.ask))


def _ignored(_: AdminOutcome) -> None:
    """Nothing depends on it."""
