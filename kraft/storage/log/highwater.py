"""The high-water file: where each log ended, kept outside SQLite, so that a log that lost its end is noticed.

SQLite drops a damaged WAL frame and all later frames without an error. A node that then votes with the
shorter log can help to elect a leader that lacks acknowledged entries. So after each COMMIT the group's
record in this file is overwritten: term, vote and last entry. That costs no sync (only checkpoints of the
WAL sync the file), so after a power cut it may be older than the log. It is never ahead of the log: when a
truncation moves the log's end back in (term, index) order, the record is lowered and synced *before* the
COMMIT.

Each group has a record of 64 bytes at group * 64, so that no record crosses a disk sector: CRC-32 of the
rest, group, term, digest of the vote, term and index of the last entry, and of a replica that has a number
that number. A record that is torn or was never written is no evidence and is skipped. A disk that lies about
syncs can lose the end of both files in a power cut; that cannot be noticed.

The number shows that a replica was begun after the one that the log has: what that one acknowledged is lost.
"""

import hashlib
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import HardState
from kraft.storage.ports import RecordFile

RECORD_BYTES = 64
_BODY = struct.Struct(">IQ16sQQ")  # 44 bytes
_NUMBERED = struct.Struct(">IQ16sQQqq")  # 60 bytes: the same, and term and index of the number
_NO_VOTE = bytes(16)


class HighwaterMark(NamedTuple):
    """How far one group had come: term, vote, last entry of the log, and the replica that has these."""

    term: int
    vote: bytes  # digest of the node id, or zeroes for none
    last_term: int
    last_index: int
    replica: ReplicaNumber = UNNUMBERED

    def shortfall(self, stored: "HighwaterMark") -> str | None:
        """What the log, which is at this mark, lacks of the mark `stored` in the file; None for nothing."""
        if self.replica != stored.replica:
            term, index = stored.replica.term, stored.replica.index
            later = self.replica > stored.replica  # the file is of before that one
            return None if later else f"replica {term}.{index} was begun, and the log is of an earlier one"
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


def mark(hard_state: HardState, last_term: int, last_index: int, replica: ReplicaNumber) -> HighwaterMark:
    """The mark of a group in this state, whose last replica here has this number."""
    return HighwaterMark(hard_state.term, _digest(hard_state.vote), last_term, last_index, replica)


def emptied(replica: ReplicaNumber) -> HighwaterMark:
    """The mark of a replica that has nothing: it was destroyed, or has just begun."""
    return HighwaterMark(0, _NO_VOTE, 0, 0, replica)


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
        body = _packed(group, new)
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
        record = content[offset : offset + RECORD_BYTES]
        for form in (_NUMBERED, _BODY):
            body = record[4 : 4 + form.size]
            if len(body) == form.size and zlib.crc32(body) == int.from_bytes(record[:4], "big"):
                group, term, vote, last_term, last_index, *number = form.unpack(body)
                if group == offset // RECORD_BYTES:
                    replica = ReplicaNumber(*number) if number else UNNUMBERED
                    marks[group] = HighwaterMark(term, vote, last_term, last_index, replica)
                break
    return marks


def _packed(group: int, new: HighwaterMark) -> bytes:
    if new.replica == UNNUMBERED:
        return _BODY.pack(group, *new[:4])
    return _NUMBERED.pack(group, *new[:4], new.replica.term, new.replica.index)
