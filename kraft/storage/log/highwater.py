"""The high-water file: where each log ended, kept outside SQLite, so that a log that lost its end is noticed.

SQLite drops a damaged WAL frame and all later frames without an error. A node that then votes with the
shorter log can help to elect a leader that lacks acknowledged entries. So after each COMMIT the group's
record in this file is overwritten: term, vote and last entry. That costs no sync (only checkpoints of the
WAL sync the file), so after a power cut it may be older than the log. It is never ahead of the log: when a
truncation moves the log's end back in (term, index) order, the record is lowered and synced *before* the
COMMIT.

Each group has a record of 64 bytes at group * 64, so that no record crosses a disk sector: CRC-32 of the
rest, group, term, digest of the vote, term and index of the last entry. A record that is torn or was never
written is no evidence and is skipped. A disk that lies about syncs can lose the end of both files in a power
cut; that cannot be noticed.
"""

import hashlib
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from kraft.raft.messages import HardState
from kraft.storage.ports import RecordFile

RECORD_BYTES = 64
_BODY = struct.Struct(">IQ16sQQ")  # 44 bytes
_NO_VOTE = bytes(16)


class HighwaterMark(NamedTuple):
    """How far one group had come: term, vote, and the last entry of its log."""

    term: int
    vote: bytes  # digest of the node id, or zeroes for none
    last_term: int
    last_index: int

    def shortfall(self, stored: "HighwaterMark") -> str | None:
        """What the log, which is at this mark, lacks of the mark `stored` in the file; None for nothing."""
        if self.term < stored.term:
            return f"the log knows term {self.term}, but term {stored.term} was stored"
        if self.term == stored.term and stored.vote not in (_NO_VOTE, self.vote):
            return f"the vote given in term {self.term} is missing"
        if (self.last_term, self.last_index) < (stored.last_term, stored.last_index):
            return (
                f"the log ends at index {self.last_index} of term {self.last_term},"
                f" but index {stored.last_index} of term {stored.last_term} was stored"
            )
        return None


def mark(hard_state: HardState, last_term: int, last_index: int) -> HighwaterMark:
    """The mark of a group in this state."""
    return HighwaterMark(hard_state.term, _digest(hard_state.vote), last_term, last_index)


@lru_cache(maxsize=64)
def _digest(vote: str) -> bytes:
    return hashlib.blake2b(vote.encode(), digest_size=16).digest() if vote else _NO_VOTE


class HighwaterFile:
    """The file at `place`; `marks` are those last written, by group. Errors are `OSError`."""

    def __init__(self, file: RecordFile, place: str) -> None:
        self._file = file
        self.place = place
        self.marks = parse(file.read())

    def write(self, group: int, new: HighwaterMark) -> None:
        """Overwrite one group's record, without sync."""
        body = _BODY.pack(group, new.term, new.vote, new.last_term, new.last_index)
        record = zlib.crc32(body).to_bytes(4, "big") + body
        self._file.write(group * RECORD_BYTES, record)
        self.marks[group] = new

    def sync(self) -> None:
        """Make the records durable."""
        self._file.sync()

    def close(self) -> None:
        """Close the file, without sync."""
        self._file.close()


def parse(content: bytes) -> dict[int, HighwaterMark]:
    """The marks in a file's content, by group."""
    marks = {}
    for offset in range(0, len(content) - _BODY.size - 3, RECORD_BYTES):
        body = content[offset + 4 : offset + 4 + _BODY.size]
        if zlib.crc32(body) != int.from_bytes(content[offset : offset + 4], "big"):
            continue
        group, term, vote, last_term, last_index = _BODY.unpack(body)
        if group == offset // RECORD_BYTES:
            marks[group] = HighwaterMark(term, vote, last_term, last_index)
    return marks
