"""Entries of the groups that this node leads, for the shipped logs of nodes that lack these groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from kraft.host.group.group import Group
from kraft.host.ports import Disk
from kraft.node.admin import AdminDone, FindLogs, ReadLog
from kraft.node.errors import NotLeader
from kraft.node.ports import Clock
from kraft.raft.messages import Entry

FETCH_BYTES = 256 << 10  # of entries that are read at a time; one entry may be larger
PART_BYTES = 512 << 10  # of their encoding, in one answer
KEEP_SECONDS = 60.0  # an encoding of several parts, unless the last one is read before

_encode = msgspec.msgpack.Encoder().encode


class LentLogs:
    """The logs of `groups`, the replicas of this node. An entry may have many parts: the last one is kept."""

    def __init__(self, groups: Mapping[int, Group], disk: Disk, clock: Clock) -> None:
        self._groups = groups
        self._disk = disk
        self._clock = clock
        self._kept: _Kept | None = None

    def find(self, command: FindLogs, done: AdminDone) -> None:
        """Tell how far the logs reach; `done` gets what the command says."""
        found: list[object] = []
        for id_ in self._groups.keys() & set(command.groups):
            group = self._groups[id_]
            if group.raft.state.leads_with_commit and not group.state.fenced:
                found.append([id_, group.raft.state.log.base.index + 1, group.state.index])
        done(found)

    def read(self, group: int, command: ReadLog, done: AdminDone) -> None:
        """A part of some entries; `done` gets what the command says, NotLeader if they are not applied here.

        Another node told how far the log reaches. This one may not have applied it up to there yet, or was
        deposed as leader and does not know: then its entries in these places will never be committed.
        """
        kept, place = self._kept, (group, command.first)
        last = min(command.last, self._groups[group].state.index)
        if last < command.first:
            done(NotLeader(group, ""))
        elif kept is not None and kept.place == place:
            self._answer(kept, command.offset, done)
        else:
            have_read = partial(self._have_read, place, command.offset, done)
            self._disk.fetch(group, command.first, last, FETCH_BYTES, have_read)

    def _have_read(
        self, place: tuple[int, int], offset: int, done: AdminDone, entries: Sequence[Entry]
    ) -> None:
        kept = self._kept = _Kept(place, _encode(list(entries)) if entries else b"")
        if len(kept.data) > PART_BYTES:
            self._clock.call_later(KEEP_SECONDS, partial(self._forget, kept))
        self._answer(kept, offset, done)

    def _answer(self, kept: "_Kept", offset: int, done: AdminDone) -> None:
        end = offset + PART_BYTES
        if end >= len(kept.data):
            self._forget(kept)
        done([kept.data[offset:end], len(kept.data)])

    def _forget(self, kept: "_Kept") -> None:
        if self._kept is kept:
            self._kept = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Encoded entries of a group, from an index on: `place` is (group, index)."""

    place: tuple[int, int]
    data: bytes
