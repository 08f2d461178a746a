"""The committed log entries of one group after an image, shipped to a folder of segments.

    log-0/0000000000000814.segment    frames of entries from index 814 on, durable one after the other
    log-0/0000000000009120.segment    the next ones: it *follows* the segment before it
    log-0/position                    how far the log was shipped, and until when that was all there was
    log-0/pruned                      up to where it was removed, with the images that needed it

A process never appends to the segment of another one: it reads how far that one came, and begins a segment of
its own after it. So a process that was killed may leave a segment with a torn end, and the next segment shows
where the torn end begins. The file `position` is written after the frames are durable and shows the same for
the last segment. What is missing beyond that is damage.

A log that was cut before it was shipped leaves a gap. Then a new image is made, and the segment that begins
after the image does not *follow*: the entries before it are not in the backup. After an image that stays
while the log is pruned there is a gap as well.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path

import msgspec

from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup
from kraft.backup.frames import FrameFileReader, FrameFileWriter, explain, replace_file, sync_folder
from kraft.raft.messages import Entry

SEGMENT_BYTES = 16 << 20
POSITION_FILE = "position"
PRUNED_FILE = "pruned"
_NAME = re.compile(r"([0-9]{16})\.segment")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


class LogPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last entry that was shipped, and the Unix time in ms up to which no other entry was committed."""

    index: int
    term: int
    stamp_ms: int
    complete_ms: int = 0

    @property
    def reaches_ms(self) -> int:
        """The last moment whose state is known."""
        return max(self.stamp_ms, self.complete_ms)


class _Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    position: LogPosition
    crc: int


@dataclass(frozen=True, slots=True)
class LogSegment:
    """One file: the index of its first entry, and of the term of the entry before that.

    `follows`: the entry before the first one is in the segment before.
    """

    path: Path
    first: int
    after_term: int
    follows: bool


class ShippedLog:
    """The shipped log of `group` of a cluster. Methods raise `BackupError`."""

    def __init__(self, folder: Path, cluster: str, group: int, key: BackupKey | None) -> None:
        self._folder = folder / f"log-{group}"
        self._cluster = cluster
        self._group = group
        self._key = key
        self._writer: FrameFileWriter | None = None
        self._follows = False
        self.position: LogPosition | None = None  # what `append` continues
        self.gap = False  # whether `entries` ended before entries that are not in the backup

    # -- writing --------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Set `position` to the last entry that is there; False when none is, or what is there is damaged."""
        self.close()
        self.position = None
        try:
            stored, names = self._stored_position(POSITION_FILE), self._names()
            if stored is None or not names:
                return False
            segment, last = self._segment(names[-1]), None
            for entry in self._entries_of(segment, torn=[]):
                last = LogPosition(entry.index, entry.term, entry.stamp, stored.complete_ms)
        except DamagedBackup:
            return False
        unfilled = last is None and segment.first == stored.index + 1
        if unfilled:
            last = stored
        if last is None or last.index < stored.index:
            return False
        # A segment that was begun and never filled is begun again: after a gap it still follows nothing.
        self.position, self._follows = last, segment.follows or not unfilled
        return True

    def begin(self, position: LogPosition) -> None:
        """Go on after `position`, that of an image; the entries up to it are not in the log."""
        self.close()
        self.position, self._follows = position, False
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in self._names():
                if int(name[:16]) > position.index:
                    (self._folder / name).unlink()  # will be shipped again
        except OSError as error:
            raise explain(self._folder, error) from error
        if not self._names():  # a reader takes a segment without a position for damage
            self._store_position(position, durable=True)
        self._begin_segment(position)
        self._store_position(position, durable=True)

    def append(self, entries: Sequence[Entry]) -> None:
        """Ship entries that continue `position`, durable on return."""
        if self.position is None or entries[0].index != self.position.index + 1:
            raise BackupError(f"{self._folder}: entry {entries[0].index} does not continue what is there")
        if self._writer is not None and self._writer.size >= SEGMENT_BYTES:
            self.close()
        writer = self._writer or self._begin_segment(self.position)
        writer.add(_encode(list(entries)))
        writer.sync()
        last = entries[-1]
        self.position = LogPosition(last.index, last.term, last.stamp, self.position.complete_ms)
        self.note(self.position.complete_ms)

    def note(self, complete_ms: int) -> None:
        """At this time (Unix ms) the cluster had committed nothing else, as far as this node knew."""
        if self.position is not None:
            self.position = msgspec.structs.replace(self.position, complete_ms=complete_ms)
            self._store_position(self.position)

    def close(self) -> None:
        """Close the segment."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def prune(self, index: int) -> None:
        """Remove the segments that hold no entry after `index`, except the last one.

        That this is no damage is noted first.
        """
        gone = [(name, int(following[:16])) for name, following in pairwise(self._names())]
        gone = [(name, end) for name, end in gone if end <= index + 1]
        if gone:
            place = LogPosition(gone[-1][1] - 1, 0, 0)
            replace_file(self._folder / PRUNED_FILE, _stored(place), durable=True)
        for name, _ in gone:
            try:
                (self._folder / name).unlink()
            except OSError as error:
                raise explain(self._folder / name, error) from error

    def _begin_segment(self, position: LogPosition) -> FrameFileWriter:
        path = self._folder / f"{position.index + 1:016}.segment"
        try:
            path.unlink(missing_ok=True)  # begun by a process that was killed before it shipped anything
        except OSError as error:
            raise explain(path, error) from error
        header = {
            "cluster": self._cluster,
            "group": self._group,
            "first": position.index + 1,
            "after_term": position.term,
            "follows": self._follows,
        }
        self._writer = writer = FrameFileWriter(path, header, self._key)
        self._follows = True
        writer.sync()
        sync_folder(self._folder)
        return writer

    def _store_position(self, position: LogPosition, *, durable: bool = False) -> None:
        replace_file(self._folder / POSITION_FILE, _stored(position), durable=durable)

    # -- reading --------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whether nothing was ever shipped."""
        return not (self._names() or (self._folder / POSITION_FILE).exists())

    @property
    def reach(self) -> LogPosition | None:
        """How far the log was shipped, as `position` in the folder says; None when it never was."""
        names = self._names()
        stored = self._stored_position(POSITION_FILE)
        if stored is None and names:
            raise DamagedBackup(self._folder / POSITION_FILE, "it is missing")
        return stored

    def entries(self, after: LogPosition) -> Iterator[Entry]:
        """The entries after `after`, in their order, up to the end or a gap.

        Raises `DamagedBackup`, which names the segment that is missing or damaged.
        """
        reach = self.reach  # before the segments: while they are read, more may be shipped
        last, torn = after, list[DamagedBackup]()
        read: LogSegment | None = None
        self.gap = False
        for segment in self._segments(after.index):
            if segment.first > last.index + 1:
                if torn:
                    raise torn[0]
                if segment.follows and not self._is_pruned(segment.first - 1):
                    raise self._cut(read, last.index, f"the next segment begins with {segment.first}")
                self.gap = True
                break
            if segment.first == last.index + 1 and segment.after_term != last.term:
                raise DamagedBackup(
                    segment.path, f"it continues an entry of term {segment.after_term}, not {last.term}"
                )
            torn.clear()
            read = segment
            for entry in self._entries_of(segment, torn):
                if entry.index > last.index:
                    yield entry
                    last = LogPosition(entry.index, entry.term, entry.stamp)
        if not self.gap and reach is not None and last.index < reach.index:
            if torn:
                raise torn[0]
            raise self._cut(read, last.index, f"entries up to {reach.index} were shipped")

    def _cut(self, read: LogSegment | None, index: int, reason: str) -> DamagedBackup:
        """What is wrong when entries are missing after `index`, the last one in the segment `read`."""
        missing = self._folder / f"{index + 1:016}.segment"
        if read is None or missing.name == read.path.name:
            return DamagedBackup(missing, f"it is missing or empty: {reason}")
        text = f"entry {index + 1} is not in it, and {reason}: it is cut, or {missing.name} is missing"
        return DamagedBackup(read.path, text)

    def _segments(self, after: int) -> Iterator[LogSegment]:
        """The segments that may hold entries after that index, in their order."""
        names = self._names()
        for name, following in zip_longest(names, names[1:], fillvalue=""):
            if not following or int(following[:16]) > after + 1:
                yield self._segment(name)

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explain(self._folder, error) from error

    def _segment(self, name: str) -> LogSegment:
        path = self._folder / name
        with FrameFileReader(path, self._key) as file:
            header = file.header
        named = (header.get("cluster"), header.get("group"), header.get("first"))
        if named != (self._cluster, self._group, int(name[:16])):
            raise DamagedBackup(path, "it is a segment of another place in the log, or of another log")
        try:
            return LogSegment(path, int(name[:16]), int(header["after_term"]), bool(header["follows"]))
        except (KeyError, TypeError, ValueError):
            raise DamagedBackup(path, "its header is incomplete") from None

    def _entries_of(self, segment: LogSegment, torn: list[DamagedBackup]) -> Iterator[Entry]:
        """The entries of one segment. What is wrong with its end goes to `torn`, for the caller to judge."""
        index = segment.first
        with FrameFileReader(segment.path, self._key) as file:
            frames = file.frames()
            while True:
                try:
                    data = next(frames, None)
                    entries = [] if data is None else _decode(data)
                except DamagedBackup as error:
                    torn.append(error)
                    return
                except msgspec.DecodeError as error:
                    torn.append(DamagedBackup(segment.path, f"not entries: {error}"))
                    return
                if data is None:
                    return
                for entry in entries:
                    if entry.index != index:
                        raise DamagedBackup(segment.path, f"entry {entry.index} is in the place of {index}")
                    yield entry
                    index += 1

    def _is_pruned(self, index: int) -> bool:
        """Whether all entries up to `index` were removed."""
        pruned = self._stored_position(PRUNED_FILE)
        return pruned is not None and index <= pruned.index

    def _stored_position(self, name: str) -> LogPosition | None:
        path = self._folder / name
        try:
            content = path.read_bytes()
            checked = msgspec.json.decode(content, type=_Checked)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise explain(path, error) from error
        except (msgspec.DecodeError, ValueError) as error:
            raise DamagedBackup(path, f"it is unreadable ({error})") from None
        if content != _stored(checked.position):
            raise DamagedBackup(path, "its checksum does not match")
        return checked.position


def _stored(position: LogPosition) -> bytes:
    """The content of the files `position` and `pruned`."""
    crc = zlib.crc32(msgspec.json.encode(position))
    return msgspec.json.encode(_Checked(position, crc)) + b"\n"
