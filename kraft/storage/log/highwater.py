"""The high-water file: how far the log was, kept outside SQLite, so that a log that lost its end is noticed.

SQLite drops a damaged WAL frame and all frames after it without an error; a node that then votes with the
shorter log can help to elect a leader without acknowledged entries. So after each COMMIT a record of the
group is overwritten here: term, vote and last entry. It costs no sync (only SQLite checkpoints sync it),
hence it may be older than the log after a power cut, but it is never ahead of it: where a truncation moves
the log's end back in (term, index) order, the record is lowered and synced *before* the COMMIT.

One record of 64 bytes per group, at group * 64, so that no record crosses a disk sector: CRC-32 of the
rest, group, term, digest of the vote, term and index of the last entry. A torn or never written record is
no evidence and is passed over. What a power cut on a disk that lies about syncs loses from both files stays
unseen.
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


class Mark(NamedTuple):
    """How far one group was; marks of one group compare by what they promise."""

    term: int
    vote: bytes  # digest, or zeroes for none
    last_term: int
    last_index: int

    def behind(self, other: "Mark") -> str | None:
        """What `self`, read from the log, lacks of `other`, read from the file; None when nothing."""
        if self.term < other.term:
            return f"the log knows term {self.term}, but term {other.term} was stored"
        if self.term == other.term and other.vote not in (_NO_VOTE, self.vote):
            return f"the vote given in term {self.term} is missing"
        if (self.last_term, self.last_index) < (other.last_term, other.last_index):
            return (
                f"the log ends at index {self.last_index} of term {self.last_term},"
                f" but index {other.last_index} of term {other.last_term} was stored"
            )
        return None


def mark(hard_state: HardState, last_term: int, last_index: int) -> Mark:
    """The mark of a group in this state."""
    return Mark(hard_state.term, _digest(hard_state.vote), last_term, last_index)


@lru_cache(maxsize=64)
def _digest(vote: str) -> bytes:
    return hashlib.blake2b(vote.encode(), digest_size=16).digest() if vote else _NO_VOTE


class HighWater:
    """The file at `place`, and what was last written for each group. Errors are `OSError`."""

    def __init__(self, file: RecordFile, place: str) -> None:
        self._file = file
        self.place = place
        self.marks = parse(file.read())

    def write(self, group: int, new: Mark) -> None:
        """Overwrite one group's record, without sync."""
        body = _BODY.pack(group, new.term, new.vote, new.last_term, new.last_index)
        record = zlib.crc32(body).to_bytes(4, "big") + body
        self._file.write(group * RECORD_BYTES, record)
        self.marks[group] = new

    def sync(self) -> None:
        """Make the records durable."""
        self._file.sync()

    def close(self) -> None:
        """Let go of the file, without sync."""
        self._file.close()


def parse(content: bytes) -> dict[int, Mark]:
    """The marks in a file's content, by group."""
    marks = {}
    for offset in range(0, len(content) - _BODY.size - 3, RECORD_BYTES):
        body = content[offset + 4 : offset + 4 + _BODY.size]
        if zlib.crc32(body) != int.from_bytes(content[offset : offset + 4], "big"):
            continue
        group, term, vote, last_term, last_index = _BODY.unpack(body)
        if group == offset // RECORD_BYTES:
            marks[group] = Mark(term, vote, last_term, last_index)
    return marks
