"""A model of one node's disk: what survives a crash is exactly what was committed before it.

The transaction on its way when the process dies is lost or durable by chance, as with a real disk; those
behind it are lost. `full` fails commits without writing, `slow` stretches them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from kraft.host.ports import Identity, Loaded, Transaction
from kraft.raft.membership import decode
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist
from tests.simulation.checks import demand
from tests.simulation.world import NodeClock, World

TAIL_ENTRIES = 4  # loaded below the commit index: few, so that followers need `fetch`


@dataclass
class GroupLog:
    """Durable rows of one group. As in the store, a commit index is only kept beside an entry: `commits` has
    the highest one known at each row, and a truncation takes it along.
    """

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)

    @property
    def commit(self) -> int:
        return self.commits[-1] if self.commits else 0


class Platter:
    """What outlives the process."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.groups: dict[int, GroupLog] = {}

    def write(self, transaction: Transaction) -> None:
        if transaction.identity is not None:
            self.identity = transaction.identity
        for group, persist in transaction.writes:
            self._write_group(self.groups.setdefault(group, GroupLog()), persist)

    def _write_group(self, log: GroupLog, persist: Persist) -> None:
        if persist.hard_state is not None:
            old, new = log.hard_state, persist.hard_state
            demand(new.term >= old.term, f"a durable term went back: {old} to {new}")
            kept = new.term > old.term or old.vote in ("", new.vote)
            demand(kept, f"a durable vote was changed: {old} to {new}")
            log.hard_state = new
        if persist.truncate_from is not None:
            demand(persist.truncate_from > log.commit, "a committed entry was truncated")
            del log.entries[persist.truncate_from - 1 :]
            del log.commits[persist.truncate_from - 1 :]
        for entry in persist.entries:
            demand(entry.index == len(log.entries) + 1, "a gap in the durable log")
            log.entries.append(entry)
            log.commits.append(max(log.commit, persist.commit))
        demand(log.commit <= len(log.entries), "the durable commit index lies beyond the durable log")

    def load(self) -> Loaded:
        return Loaded(self.identity, {id_: restore(log) for id_, log in self.groups.items()})


def restore(log: GroupLog) -> Restored:
    terms: list[tuple[int, int]] = []
    for entry in log.entries:
        if not terms or terms[-1][1] != entry.term:
            terms.append((entry.index, entry.term))
    return Restored(
        hard_state=log.hard_state,
        last_index=len(log.entries),
        commit=log.commit,
        terms=tuple(terms),
        tail=tuple(log.entries[max(0, log.commit - TAIL_ENTRIES) :]),
        configurations=tuple(
            (e.index, decode(e.data)) for e in log.entries if e.kind == EntryKind.CONFIGURATION
        ),
        last_stamp=log.entries[-1].stamp if log.entries else 0,
    )


class Disk:
    """`host.ports.Disk` of one run of one process over its platter."""

    def __init__(self, world: World, clock: NodeClock, platter: Platter, dice: Random) -> None:
        self._world = world
        self._dice = dice
        self._clock = clock
        self._platter = platter
        self._queue: list[tuple[Transaction, Callable[[bool], None]]] = []
        self._working = False
        self.full = False
        self.slow = 1.0
        self.die: Callable[[], None] | None = None  # ends the process at the next commit

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        self._queue.append((transaction, done))
        self._begin()

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        def read() -> None:
            found: list[Entry] = []
            size = 0
            for entry in self._platter.groups[group].entries[first - 1 : last]:
                size += len(entry.data)
                if found and size > max_bytes:
                    break
                found.append(entry)
            done(tuple(found))

        self._clock.call_later(self._dice.uniform(0.0001, 0.002), read)

    def crash(self) -> None:
        """The process dies: the commit under way may or may not have reached the platter."""
        if self._working and self._queue and not self.full and self._dice.random() < 0.5:
            self._platter.write(self._queue[0][0])
            self._world.counts["crash with a commit that survives unanswered"] += 1
        elif self._working:
            self._world.counts["crash that loses a commit under way"] += 1
        self._queue.clear()

    def _begin(self) -> None:
        if self._working or not self._queue:
            return
        self._working = True
        delay = self._dice.uniform(0.0002, 0.003) * self.slow
        self._world.call_later(delay, self._commit)

    def _commit(self) -> None:
        """Durable now, whether or not the process goes on to hear of it."""
        if self._clock.dead:
            return
        if self.die is not None:
            self.die()
            return
        transaction, done = self._queue.pop(0)
        self._working = False
        if self.full:
            self._world.counts["commit on a full disk"] += 1
            self._clock.run(lambda: done(False))
        else:
            self._platter.write(transaction)
            self._clock.run(lambda: done(True))
        self._begin()
