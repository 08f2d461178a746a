"""The state machine of one replica, and the committed entries on their way into it.

Entries are applied in slices, so that a long backlog never holds the reactor. Whoever waits for an entry is
told by `applied`; what the machine holds can be exchanged for a snapshot, after which the entries it contains
are passed over.
"""

from collections import deque
from collections.abc import Callable, Sequence

from kraft.host.ports import Disk
from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.node.values import Received
from kraft.raft.messages import Entry, EntryKind

APPLY_BYTES = 1 << 20  # entry data applied in one turn, at most: some milliseconds of work
REPLAY_BYTES = 4 << 20  # entries read at once when a log is replayed

Replies = list[kv.Reply]


class Applier:
    """One replica's. `index` is the last entry in the machine; in one turn as much is applied as one batch of
    `batch_bytes` may hold, or `APPLY_BYTES`, and at least one entry.

    `next(entry)` hears of each entry just before, and gives its commands if this node proposed it itself,
    else None; `applied(entry, replies)` hears of it once it is in the machine.
    """

    def __init__(
        self,
        group: int,
        disk: Disk,
        machine: Machine,
        index: int,
        next_: Callable[[Entry], Sequence[kv.Command] | None],
        applied: Callable[[Entry, Replies], None],
        broken: Callable[[Exception], None],
        batch_bytes: int,
    ) -> None:
        self.machine = machine
        self.index = index
        self.replaying = False
        self._group = group
        self._disk = disk
        self._next = next_
        self._applied = applied
        self._broken = broken
        self._slice_bytes = min(batch_bytes, APPLY_BYTES)
        self._waiting: deque[Entry] = deque()

    @property
    def waiting(self) -> bool:
        """There is something to apply now."""
        return bool(self._waiting) and not self.replaying

    def add(self, entries: Sequence[Entry]) -> None:
        """These are committed, and durable here."""
        self._waiting.extend(entries)

    def slice(self) -> None:
        """Apply some of what waits."""
        size = 0
        waiting = self._waiting
        while waiting and size < self._slice_bytes:
            entry = waiting.popleft()
            size += len(entry.data)
            self._apply(entry)

    def replay(self, upto: int, done: Callable[[], None]) -> None:
        """Apply what is on disk behind `index` up to `upto`, piece by piece, then `done`; nothing else is
        applied meanwhile.
        """
        self.replaying = True
        machine = self.machine

        def apply(entries: Sequence[Entry]) -> None:
            if self.machine is not machine:
                return  # a snapshot has taken its place
            for entry in entries:
                self._apply(entry)
            more()

        def more() -> None:
            if self.index >= upto:
                self.replaying = False
                done()
            else:
                self._disk.fetch(self._group, self.index + 1, upto, REPLAY_BYTES, apply)

        more()

    def restore(self, received: Received) -> None:
        """The machine is what the snapshot holds from now on."""
        base = received.checkpoint.base
        self.machine = Machine.restored(received.keyspace, base.stamp, received.checkpoint.revision)
        self.index = base.index
        self.replaying = False
        self._waiting.clear()  # either it contains them, or they are replayed from the log behind it

    def _apply(self, entry: Entry) -> None:
        try:
            replies = self._change(entry)
        except Exception as error:  # going on would leave out an entry that the others apply
            self._broken(error)
            raise
        self.index = entry.index
        self._applied(entry, replies)

    def _change(self, entry: Entry) -> Replies:
        commands = self._next(entry)
        if entry.kind != EntryKind.COMMANDS:
            return self.machine.apply(entry.stamp, ())
        return self.machine.apply(entry.stamp, kv.decode(entry.data) if commands is None else commands)
