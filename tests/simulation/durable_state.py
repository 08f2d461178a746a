"""A model of the durable state in one directory: it outlives the process and changes in whole transactions.

It does what `kraft.storage` promises, in the plainest way, and fails on any request that breaks the contract.
`realdisk` keeps one as a shadow beside the real storage.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from kraft.kv.checkpoint import Capture, Checkpoint, moved_sum, record_hash
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import Record
from kraft.node.values import Identity, LastReplica, Loaded, Received, Rows, Transaction
from kraft.raft.log.log import entry_bytes
from kraft.raft.membership.configuration import START, Base, decode
from kraft.raft.membership.replica_number import NEVER, UNNUMBERED, ReplicaNumber, numbered
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist
from tests.simulation.violation import demand

TAIL_ENTRIES = 4  # loaded below the commit index: few, so that followers need `fetch`
TAIL_BYTES = 3_000  # of all that is loaded, unless more is uncommitted, or one entry is larger
ROW_OVERHEAD_BYTES = 16
DISK_FULL = "the disk is full"
NO_SUM = bytes(16)

Row = tuple[bytes, bytes, int, int, int]  # key, value, revision, expires, 1 for a row of the ledger
Sent = tuple[Any, ...]  # a row of a snapshot: without the last element for a key, as older programs send it
Rows_ = dict[tuple[bytes, int], Record]  # by key, and 1 for a row of the ledger


@dataclass
class StateFile:
    """A copy of a state machine."""

    checkpoint: Checkpoint | None = None
    rows: Rows_ = field(default_factory=dict)

    def bring_to(self, capture: Capture) -> Checkpoint:
        """Apply the changes of a checkpoint."""
        old = self.checkpoint
        demand(old is None or capture.base.index >= old.base.index, "a checkpoint goes back")
        taken = added = 0
        if capture.cleared:
            gone = {place: record for place, record in self.rows.items() if not place[1]}
            taken = sum(_hash(place, record) for place, record in gone.items())
            self.rows = {place: record for place, record in self.rows.items() if place not in gone}
        changes = [((key, 0), record) for key, record in capture.changes.items()]
        for place, record in [*changes, *(((key, 1), row) for key, row in capture.ledger.items())]:
            before = self.rows.pop(place, None)
            if before is not None:
                taken += _hash(place, before)
            if record is not None:
                self.rows[place] = record
                added += _hash(place, record)
        sum_ = moved_sum(NO_SUM if old is None else old.sum, added, taken)
        size = sum(len(key) + len(record.value) for (key, _), record in self.rows.items())
        self.checkpoint = Checkpoint(
            capture.base, capture.revision, len(self.rows), size, sum_, capture.machine_version
        )
        return self.checkpoint

    def keyspace(self) -> Keyspace:
        keyspace = Keyspace()
        for table, load in enumerate((keyspace.load, keyspace.ledger.load)):
            found = [(place, self.rows[place]) for place in sorted(self.rows) if place[1] == table]
            load([(key, r.value, r.revision, r.expires) for (key, _), r in found])
        return keyspace


def _hash(place: tuple[bytes, int], record: Record) -> int:
    key, table = place
    hash_ = record_hash(key, record.value, record.revision, record.expires, ledger=bool(table))
    return int.from_bytes(hash_, "big")


@dataclass
class GroupLog:
    """Durable rows of one group. As in the store, a commit index is only kept beside an entry: `commits` has
    the highest one known at each row, and a truncation removes it.
    """

    hard_state: HardState = field(default_factory=HardState)
    base: Base = START
    entries: list[Entry] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    state: int = 0
    fenced: bool = False

    @property
    def commit(self) -> int:
        return max(self.base.index, self.commits[-1] if self.commits else 0)

    @property
    def last_index(self) -> int:
        return self.base.index + len(self.entries)

    def term(self, index: int) -> int:
        """The term of an entry that is there, or of the last one before it."""
        return self.base.term if index == self.base.index else self.entries[index - self.base.index - 1].term

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is there, itself or as part of the state that it led to."""
        if index < self.base.index:
            return True
        return index <= self.last_index and self.term(index) == term

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            old, new = self.hard_state, persist.hard_state
            demand(new.term >= old.term, f"a durable term went back: {old} to {new}")
            kept = new.term > old.term or old.vote in ("", new.vote)
            demand(kept, f"a durable vote was changed: {old} to {new}")
            self.hard_state = new
        if persist.truncate_from is not None and persist.truncate_from <= self.last_index:
            demand(persist.truncate_from > self.commit, "a committed entry was truncated")
            self._keep(0, persist.truncate_from - self.base.index - 1)
        if persist.base is not None:
            self._rebase(persist.base)
        for entry in persist.entries:
            demand(entry.index == self.last_index + 1, "a gap in the durable log")
            self.entries.append(entry)
            self.commits.append(max(self.commit, persist.commit))
        demand(self.commit <= self.last_index, "the durable commit index lies beyond the durable log")

    def _rebase(self, base: Base) -> None:
        demand(base.index >= self.base.index, "the beginning of a log goes back")
        if self.holds(base.index, base.term):
            self._keep(base.index - self.base.index, len(self.entries))
        else:
            demand(base.index >= self.last_index, "entries would stay after another base")
            self._keep(0, 0)
        self.base = base

    def begin_before(self, base: Base, rows: Sequence[Entry]) -> None:
        """The log was never cut: `rows` lie between `base` and where it begins, and are committed."""
        self.base, self.entries = base, [*rows, *self.entries]
        self.commits = [*(entry.index for entry in rows), *self.commits]

    def _keep(self, first: int, last: int) -> None:
        self.entries, self.commits = self.entries[first:last], self.commits[first:last]

    def restored(self, checkpoint: Checkpoint | None) -> Restored:
        terms: list[tuple[int, int]] = []
        for entry in self.entries:
            if not terms or terms[-1][1] != entry.term:
                terms.append((entry.index, entry.term))
        commit = max(self.commit, 0 if checkpoint is None else checkpoint.base.index)
        tail = self.entries[max(0, commit - self.base.index - TAIL_ENTRIES) :]
        while len(tail) > 1 and tail[0].index <= commit and sum(map(entry_bytes, tail)) > TAIL_BYTES:
            del tail[0]
        return Restored(
            hard_state=self.hard_state,
            last_index=self.last_index,
            commit=commit,
            terms=tuple(terms),
            tail=tuple(tail),
            configurations=tuple(
                (e.index, decode(e.data)) for e in self.entries if e.kind == EntryKind.CONFIGURATION
            ),
            last_stamp=self.entries[-1].stamp if self.entries else self.base.stamp,
            base=self.base,
        )


class DurableState:
    """What one directory holds on disk."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.groups: dict[int, GroupLog] = {}
        self.files: dict[tuple[int, int], StateFile] = {}  # by group and number
        self.replicas: dict[int, LastReplica] = {}
        self.starts = 0
        self.full = False
        self.on_left: Callable[[int, str], None] = lambda group, incarnation: None  # a replica is destroyed
        self._newest: dict[int, int] = {}

    def group(self, group: int) -> GroupLog:
        return self.groups.setdefault(group, GroupLog())

    # -- the log

    def write(self, transaction: Transaction) -> None:
        if transaction.identity is not None:
            self.identity = transaction.identity
        for group, last in transaction.replicas:
            log = self.groups.pop(group, GroupLog())
            demand(not (last.held and log.last_index), "a replica begins on top of another one")
            demand(
                self._may_follow(last, group, log), f"the replica {last.number} of group {group} begins again"
            )
            if not last.held and last.number != NEVER:
                self.on_left(group, numbered(self.identity.incarnation, last.number))
            self.files.pop((group, log.state), None)
            self.replicas[group] = last
            if last.held:
                self.group(group)
        for group, persist in transaction.writes:
            log = self.group(group)
            log.write(persist)
            if persist.state_file is not None:
                self.files.pop((group, log.state), None)
                log.state, log.fenced = persist.state_file, False

    def _may_follow(self, last: LastReplica, group: int, log: GroupLog) -> bool:
        """Whether a replica that begins is another one than that of the `log`, or as good as none.

        A node drops a replica without a number from memory if it has promised nothing, and begins it again.
        """
        known = self.replicas.get(group)
        if not last.held or known is None or last.number > known.number:
            return True
        return known.held and last.number == known.number == UNNUMBERED and log == GroupLog()

    def commit(self, transaction: Transaction) -> bool:
        """A medium of `disk.Disk` needs it."""
        if self.full:
            return False
        for group, persist in transaction.writes:
            known = persist.state_file is None or (group, persist.state_file) in self.files
            demand(known, "a switch to a state file that is not there")
        self.write(transaction)
        return True

    def fetch(self, group: int, first: int, last: int, max_bytes: int) -> Sequence[Entry]:
        log = self.group(group)
        found: list[Entry] = []
        size = 0
        if first > log.base.index:
            for entry in log.entries[first - log.base.index - 1 : last - log.base.index]:
                size += entry_bytes(entry)
                if found and size > max_bytes:
                    break
                found.append(entry)
        return tuple(found)

    def fence(self, group: int, fenced: bool) -> bool:
        if not self.full:
            self.group(group).fenced = fenced
        return not self.full

    # -- state files

    def checkpoint(self, group: int, capture: Capture) -> Checkpoint | None:
        if self.full:
            return None
        log = self.group(group)
        if not log.state:
            log.state = self._next(group)
            self.files[(group, log.state)] = StateFile()
        return self.files[(group, log.state)].bring_to(capture)

    def open_view(self, group: int) -> "View | None":
        file = self.files.get((group, self.group(group).state))
        return None if file is None or file.checkpoint is None else View(file.checkpoint, file.rows)

    def receive_snapshot(self, group: int, checkpoint: Checkpoint) -> "Arriving | None":
        return None if self.full else Arriving(self, group, self._next(group), checkpoint)

    def _next(self, group: int) -> int:
        self._newest[group] = number = self._newest.get(group, 0) + 1
        return number

    # -- starts

    def load(self) -> Loaded:
        """What a process that starts finds."""
        self.starts += 1
        used = {(group, log.state) for group, log in self.groups.items()}
        self.files = {place: file for place, file in self.files.items() if place in used}
        checkpoints = {}
        for (group, _), file in sorted(self.files.items()):
            if file.checkpoint is not None:
                checkpoints[group] = file.checkpoint, file.keyspace()
        for group, log in self.groups.items():
            demand(not log.base.index or group in checkpoints, "the beginning of a log is nowhere")
        return Loaded(
            identity=self.identity,
            groups={
                group: log.restored(checkpoints[group][0] if group in checkpoints else None)
                for group, log in sorted(self.groups.items())
                if self._is_held(group)
            },
            checkpoints=checkpoints,
            fenced=frozenset(group for group, log in self.groups.items() if log.fenced),
            starts=self.starts,
            replicas=dict(self.replicas),
        )

    def number(self, group: int) -> ReplicaNumber:
        """The number of the last replica of a group."""
        return self.replicas[group].number if group in self.replicas else UNNUMBERED

    def _is_held(self, group: int) -> bool:
        return group not in self.replicas or self.replicas[group].held

    @property
    def off(self) -> bool:
        """A write of this medium has no parts: it is done or not."""
        return False

    def cut_soon(self) -> bool:
        return False

    def remember_damage(self, reason: str) -> None:
        demand(False, f"nothing is damaged here: {reason}")

    def interrupted(self, work: Callable[[], object], dice: Random) -> None:
        """A medium of `disk.Disk` needs it."""
        if dice.random() < 0.5:
            work()

    def close(self) -> None:
        """The process has ended."""


class View:
    """A state file as it was."""

    def __init__(self, checkpoint: Checkpoint, rows: Rows_) -> None:
        self.checkpoint = checkpoint
        self._rows: list[Row] = [
            (key, rows[key, table].value, rows[key, table].revision, rows[key, table].expires, table)
            for key, table in sorted(rows)
        ]

    def read(self, after: bytes | None, max_bytes: int) -> Rows:
        found: list[Row] = []
        size = 0
        later = [row for row in self._rows if after is None or row[0] > after]
        for row in later:
            size += len(row[0]) + len(row[1]) + ROW_OVERHEAD_BYTES
            if found and size > max_bytes and found[-1][0] != row[0]:
                break
            found.append(row)
        last = found[-1][0] if found else after or b""
        sent: list[Sent] = [row if row[4] else row[:4] for row in found]
        return Rows(msgspec.msgpack.encode(sent), last, len(found) == len(later))

    def close(self) -> None:
        """There is nothing to close."""


class Arriving:
    """A state file that is being received."""

    def __init__(self, durable: DurableState, group: int, number: int, checkpoint: Checkpoint) -> None:
        self._durable = durable
        self._place = (group, number)
        self._checkpoint = checkpoint
        self._rows: list[Row] = []

    def write(self, data: bytes) -> str:
        if self._durable.full:
            return DISK_FULL
        rows: list[Row] = [(*row, 0)[:5] for row in msgspec.msgpack.decode(data, type=list[Sent])]
        places = [(row[0], row[4]) for row in (*self._rows[-1:], *rows)]
        if places != sorted(set(places)):
            return "rows out of order"
        self._rows += rows
        return ""

    def finish(self) -> Received | str:
        if self._durable.full:
            return DISK_FULL
        file = StateFile()
        promised = self._checkpoint
        keys, ledger = (_records(row for row in self._rows if row[4] == table) for table in (0, 1))
        capture = Capture(promised.base, promised.revision, keys, promised.machine_version, ledger=ledger)
        if file.bring_to(capture) != self._checkpoint:
            return "the rows are not those that were promised"
        self._durable.files[self._place] = file
        return Received(self._place[1], self._checkpoint, file.keyspace())

    def abandon(self) -> None:
        if self._durable.group(self._place[0]).state != self._place[1]:
            self._durable.files.pop(self._place, None)


def _records(rows: Iterable[Row]) -> dict[bytes, Record | None]:
    return {key: Record(key, value, revision, expires) for key, value, revision, expires, _ in rows}


def copy_of(durable: DurableState) -> DurableState:
    """What a backup of the directory, made while no process runs, would hold."""
    copied = DurableState(durable.identity)
    copied.starts = durable.starts
    copied.replicas = dict(durable.replicas)
    copied._newest = dict(durable._newest)
    copied.groups = {
        group: replace(log, entries=list(log.entries), commits=list(log.commits))
        for group, log in durable.groups.items()
    }
    copied.files = {
        place: StateFile(file.checkpoint, dict(file.rows)) for place, file in durable.files.items()
    }
    return copied
