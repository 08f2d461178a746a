"""Images and logs for tests of backups: of a real state machine, without a node."""

from bisect import bisect_right
from pathlib import Path

import msgspec

from kraft.backup.archive import Archive
from kraft.backup.image import write_image
from kraft.backup.manifest import FORMAT, GroupImage, Manifest
from kraft.backup.shipped_log import LogPosition
from kraft.kv import commands
from kraft.kv.checkpoint import Checkpoint, moved_sum, record_hash
from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.node.values import Rows
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.raft.messages import Entry, EntryKind

CLUSTER = "c" * 32
MEMBERS = tuple(Member(f"K{n}", f"{n}" * 32, f"10.0.0.{n}:10001") for n in (1, 2, 3))
OLD = Configuration.of_voters(MEMBERS)
SECOND_MS = 1000
START_MS = 1_700_000_000_000
PIECE_ROWS = 3


def batch(index: int, *list_: commands.Command, term: int = 2) -> Entry:
    """The entry at `index`, of the second of the same number."""
    return Entry(index, term, START_MS + index * SECOND_MS, EntryKind.COMMANDS, commands.encode(list(list_)))


def history(first: int, last: int, term: int = 2) -> list[Entry]:
    """A write or two in every entry: a counter, and a key of each entry."""
    return [
        batch(n, commands.Increment(b"counter", 1), commands.Put(b"key %04d" % n, b"value %d" % n), term=term)
        for n in range(first, last + 1)
    ]


class Twin:
    """A state machine, with everything that was applied to it."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.machine.raise_version(START_MS, 3)
        self.index = 0

    def apply(self, entries: list[Entry]) -> "Twin":
        for entry in entries:
            apply_entry(self.machine, entry, 0)
            self.index = entry.index
        return self

    @property
    def rows(self) -> list[tuple[bytes, bytes, int, int, int]]:
        space = self.machine.keyspace
        both = [(r.key, r.value, r.revision, r.expires, 0) for r in space.records.values()]
        both += [(r.key, r.value, r.revision, r.expires, 1) for r in space.ledger.rows.values()]
        return sorted(both, key=lambda row: (row[0], row[4]))

    def checkpoint(self, term: int = 2) -> Checkpoint:
        rows = self.rows
        added = sum(
            int.from_bytes(record_hash(k, v, r, e, ledger=bool(ledger)), "big") for k, v, r, e, ledger in rows
        )
        size = sum(len(row[0]) + len(row[1]) for row in rows)
        base = Base(self.index, term, self.machine.stamp, 1, OLD)
        sum_ = moved_sum(bytes(16), added, 0)
        return Checkpoint(base, self.machine.revision, len(rows), size, sum_, self.machine.version)


class FakeSource:
    """`backup.ports.ImageSource` of twins, one for each group."""

    def __init__(self, *twins: Twin, created_ms: int = START_MS) -> None:
        groups = tuple(GroupImage.of(number, twin.checkpoint()) for number, twin in enumerate(twins))
        self.head = Manifest(FORMAT, "", CLUSTER, "K1", "1.0", created_ms, False, groups)
        self._rows = [twin.rows for twin in twins]
        self.closed = False

    def read(self, group: int, after: bytes | None) -> Rows:
        rows = self._rows[group]
        keys = [row[0] for row in rows]
        first = 0 if after is None else bisect_right(keys, after)
        last = first + PIECE_ROWS
        while 0 < last < len(rows) and keys[last] == keys[last - 1]:
            last += 1
        piece = [row if row[4] else row[:4] for row in rows[first:last]]
        return Rows(msgspec.msgpack.encode(piece), piece[-1][0] if piece else after or b"", last >= len(rows))

    def close(self) -> None:
        self.closed = True


def make_image(archive: Archive, twin: Twin, name: str = "image", created_ms: int = START_MS) -> Manifest:
    """Write an image of `twin`."""
    archive.folder.mkdir(parents=True, exist_ok=True)
    return write_image(FakeSource(twin, created_ms=created_ms), archive.folder, name, archive.key)


def backed_up(directory: Path, at: int, to: int, key=None, *, per_frame: int = 2) -> Archive:
    """A backup directory with an image at index `at` and the log up to `to`."""
    archive = Archive.of_cluster(directory, CLUSTER, key)
    entries = history(1, to)
    twin = Twin().apply(entries[:at])
    make_image(archive, twin)
    log = archive.shipped_log(CLUSTER, 0)
    log.begin(LogPosition(at, 2, entries[at - 1].stamp))
    for first in range(at, to, per_frame):
        log.append(entries[first : min(to, first + per_frame)])
    log.close()
    return archive
