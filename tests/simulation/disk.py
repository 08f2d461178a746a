"""`host.ports.Disk` over a medium that does everything at once: it adds time, order and faults.

The medium is a `durable_state.DurableState`, or the real storage on a simulated file system (`realdisk`).
Commits follow one another; checkpoints, snapshots and reads happen beside them. Work under way when the
process dies is lost or done by chance, as with a real disk; work that waits is lost. With `full`, whatever
needs space fails; `slow` multiplies all times; while it hangs, no commit ends.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.node.values import Received, Rows, Transaction
from kraft.raft.messages import Entry
from kraft.storage.errors import Damaged, StorageError
from tests.simulation.world import NodeClock, World
from tests.storage.simulated import PowerCut

COMMIT_SECONDS = (0.0002, 0.003)
READ_SECONDS = (0.0001, 0.002)
STATE_SECONDS = (0.001, 0.08)  # a checkpoint, or a step of a snapshot
FENCE_RETRY_SECONDS = 1.0


class Medium(Protocol):
    """What a directory can do, without time. A full disk answers False, None or a text. It may raise
    `StorageError`, and `PowerCut`; `off` is true after the latter.
    """

    full: bool

    @property
    def off(self) -> bool: ...

    def cut_soon(self) -> bool:
        """End the process at one of the next steps; False when the medium has no separate steps."""

    def commit(self, transaction: Transaction) -> bool: ...

    def fetch(self, group: int, first: int, last: int, max_bytes: int) -> Sequence[Entry]: ...

    def fence(self, group: int, fenced: bool) -> bool: ...

    def checkpoint(self, group: int, capture: Capture) -> Checkpoint | None: ...

    def open_view(self, group: int) -> Any: ...

    def receive_snapshot(self, group: int, checkpoint: Checkpoint) -> Any: ...

    def remember_damage(self, reason: str) -> None:
        """The process ends as it has met damage."""

    def interrupted(self, work: Callable[[], object], dice: Random) -> None:
        """The process dies during `work`: it is done, not done, or done in part, as the medium decides."""


class Disk:
    """The disk of one run of one process."""

    def __init__(
        self,
        world: World,
        clock: NodeClock,
        medium: Medium,
        dice: Random,
        fatal: Callable[[str], None],
        crash: Callable[[], None],
    ) -> None:
        self._world = world
        self._clock = clock
        self._medium = medium
        self._dice = dice
        self._fatal = fatal
        self._crash = crash
        self._failed = False
        self._queue: list[tuple[Transaction, Callable[[bool], None]]] = []
        self._working = False
        self._checkpointing: list[tuple[int, int, Capture]] = []  # (group, known, capture) under way
        self._switched: Counter[int] = Counter()  # how often a group changed its state file
        self._heard: Counter[int] = Counter()  # how many of these the process knows
        self.slow = 1.0
        self._hangs = False
        self._held = False  # a commit waits for the disk to hang no more
        self.slow_state = 1.0  # multiplies the time of a checkpoint only
        self.die: Callable[[], None] | None = None  # ends the process at the next commit

    @property
    def full(self) -> bool:
        return self._medium.full

    @full.setter
    def full(self, full: bool) -> None:
        self._medium.full = full

    @property
    def hangs(self) -> bool:
        return self._hangs

    @hangs.setter
    def hangs(self, hangs: bool) -> None:
        self._hangs = hangs
        if self._held and not hangs:
            self._held = False
            self._world.call_later(self._dice.uniform(*COMMIT_SECONDS), self._commit)

    @property
    def stuck(self) -> bool:
        """Whether a commit is under way, and does not end."""
        return self._held

    # -- the log

    def commit(self, transaction: Transaction, done: Callable[[bool], None]) -> None:
        self._queue.append((transaction, done))
        self._begin()

    def _begin(self) -> None:
        if not self._working and self._queue:
            self._working = True
            self._world.call_later(self._dice.uniform(*COMMIT_SECONDS) * self.slow, self._commit)

    def _commit(self) -> None:
        """Durable now, whether or not the process lives to learn of it."""
        if self._clock.dead:
            return
        if self._hangs:
            self._held = True
            return
        if self.die is not None and not self._medium.cut_soon():
            self.die()
            return
        transaction, done = self._queue[0]
        durable = self._attempt(lambda: self._medium.commit(transaction))
        if self._clock.dead or self._failed:
            return
        self._queue.pop(0)
        self._working = False
        if durable:
            switched = [group for group, persist in transaction.writes if persist.state_file is not None]
            switched += [group for group, _ in transaction.replicas]
            self._switched.update(switched)
            self._clock.run(lambda: self._committed(switched, done))
        else:
            self._world.counts["commit on a full disk"] += 1
            self._clock.run(lambda: done(False))
        self._begin()

    def _committed(self, switched: Sequence[int], done: Callable[[bool], None]) -> None:
        self._heard.update(switched)
        done(True)

    def fetch(
        self, group: int, first: int, last: int, max_bytes: int, done: Callable[[Sequence[Entry]], None]
    ) -> None:
        self._later(READ_SECONDS, lambda: self._medium.fetch(group, first, last, max_bytes), done)

    def fence(self, group: int, fenced: bool, done: Callable[[], None]) -> None:
        def write() -> None:
            if not self._clock.dead:
                if self._attempt(lambda: self._medium.fence(group, fenced)):
                    self._clock.run(done)
                elif not self._failed:
                    self._world.call_later(FENCE_RETRY_SECONDS, write)

        self._world.call_later(self._dice.uniform(*COMMIT_SECONDS), write)

    # -- state files

    def checkpoint(self, group: int, capture: Capture, done: Callable[[Checkpoint | None], None]) -> None:
        known = self._heard[group]

        def write() -> Checkpoint | None:
            self._checkpointing.remove(under_way)
            if known != self._switched[group]:
                return None
            self._world.counts["checkpoint"] += 1
            return self._medium.checkpoint(group, capture)

        under_way = (group, known, capture)
        self._checkpointing.append(under_way)
        least, most = STATE_SECONDS
        self._later(
            (least * self.slow_state, most * self.slow_state),
            write,
            lambda checkpoint: done(checkpoint if known == self._heard[group] else None),
        )

    def open_snapshot(self, group: int, done: Callable[[Any], None]) -> None:
        def opened(view: Any) -> None:
            done(None if view is None else Reader(self, view))

        self._later(READ_SECONDS, lambda: self._medium.open_view(group), opened)

    def receive_snapshot(self, group: int, checkpoint: Checkpoint, done: Callable[[Any], None]) -> None:
        def begun(arriving: Any) -> None:
            done(None if arriving is None else Writer(self, arriving))

        self._later(STATE_SECONDS, lambda: self._medium.receive_snapshot(group, checkpoint), begun)

    def _later(
        self, seconds: tuple[float, float], work: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        def carry_out() -> None:
            if self._clock.dead or self._failed:
                return
            result = self._attempt(work)
            if not self._clock.dead and not self._failed:
                self._clock.run(lambda: done(result))

        self._world.call_later(self._dice.uniform(*seconds) * min(self.slow, 20.0), carry_out)

    def _attempt(self, work: Callable[[], Any]) -> Any:
        """Do `work`, which may end the process: on an error of the disk, or in a power cut."""
        try:
            return work()
        except PowerCut:
            self._cut()
        except StorageError as error:
            if self._medium.off:
                self._cut()  # SQLite has turned it into another error
            else:
                self._failed = True
                if isinstance(error, Damaged):
                    self._medium.remember_damage(str(error))
                self._fatal(str(error))
        return None

    def _cut(self) -> None:
        self._failed = True
        die, self.die = self.die, None
        (die or self._crash)()

    # -- the end

    def crash(self) -> None:
        """The process dies: work under way may or may not have reached the medium."""
        if self._failed:
            return  # it is ending already
        for group, known, capture in self._checkpointing:
            if known == self._switched[group] and not self._medium.off:
                self._world.counts["crash during a checkpoint"] += 1
                self._interrupt(lambda g=group, c=capture: self._medium.checkpoint(g, c))  # type: ignore[misc]
        if self._working and self._queue and not self._medium.off:
            self._world.counts["crash during a commit"] += 1
            transaction = self._queue[0][0]
            self._interrupt(lambda: self._medium.commit(transaction))

    def _interrupt(self, work: Callable[[], object]) -> None:
        self._medium.interrupted(work, self._dice)


class Reader:
    """`host.ports.SnapshotReader`."""

    def __init__(self, disk: Disk, view: Any) -> None:
        self._disk = disk
        self._view = view
        self._closed = False

    @property
    def checkpoint(self) -> Checkpoint:
        return self._view.checkpoint  # type: ignore[no-any-return]

    def read(self, after: bytes | None, max_bytes: int, done: Callable[[Rows], None]) -> None:
        def read() -> Rows | None:
            return None if self._closed else self._view.read(after, max_bytes)

        def answered(rows: Rows | None) -> None:
            if rows is not None and not self._closed:
                done(rows)

        self._disk._later(READ_SECONDS, read, answered)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._view.close()


class Writer:
    """`host.ports.SnapshotWriter`."""

    def __init__(self, disk: Disk, arriving: Any) -> None:
        self._disk = disk
        self._arriving = arriving

    def write(self, data: bytes, done: Callable[[str], None]) -> None:
        self._disk._later(READ_SECONDS, lambda: self._arriving.write(data), done)

    def finish(self, done: Callable[[Received | str], None]) -> None:
        self._disk._later(STATE_SECONDS, self._arriving.finish, done)

    def abandon(self) -> None:
        def abandon() -> None:
            if not self._disk._clock.dead and not self._disk._failed:
                self._disk._attempt(self._arriving.abandon)

        self._disk._world.call_later(0, abandon)
