"""Clients of this node that wait for locks of a group elsewhere (`KRAFT LOCK ... WAIT`).

They ask the leader for a lock as elsewhere, one after the other for each key. No replica here applies what
frees a lock, so a member is asked for the keys every `LOOK_SECONDS`. That costs the log nothing.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice

from kraft.host.absent.remote_reads import RemoteReads
from kraft.host.applied_state import AppliedState
from kraft.host.requests.lock_waits import LockWaits, LockWrites
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadOutcome, View
from kraft.kv.commands import Lock
from kraft.kv.excerpt import NotInExcerpt
from kraft.kv.machine import Machine
from kraft.node.errors import NotOwner
from kraft.node.ports import Clock

LOOK_SECONDS = 0.2
NAMES_MAX = 128  # of keys in one look: the others come next


class RemoteLocks:
    """Those of one group. `writes` bring a command to its leader, `reads` ask a member."""

    def __init__(self, group: int, writes: LockWrites, reads: RemoteReads, clock: Clock) -> None:
        self._group = group
        self._writes = writes
        self._reads = reads
        self._clock = clock
        self._waits = self._made()
        self._look_at = 0.0  # monotonic seconds
        self._looked_at = 0  # how many queues were looked at in this round
        self._looks = False

    @property
    def pending(self) -> bool:
        """Whether a client waits."""
        return self._waits.count > 0

    def wait(self, command: Lock, seconds: float, done: WriteDone) -> Callable[[], None]:
        """As `LockWaits.wait`."""
        return self._waits.wait(command, seconds, done)

    def tick(self, now: float) -> None:
        """One tick of the host passed, at `now`: look at keys, if it is time."""
        if not self.pending or self._looks or now < self._look_at:
            return
        queues = self._waits.queues
        if self._looked_at >= len(queues):
            self._looked_at = 0
        names = tuple(islice(queues, self._looked_at, self._looked_at + NAMES_MAX))
        self._looked_at += len(names)
        self._looks, self._look_at = True, now + LOOK_SECONDS
        self._reads.read(names, partial(self._read, names), fresh=False, needed=1)

    def hand_over(self) -> None:
        """This node has a replica by now: who waits is to ask there."""
        waits, self._waits = self._waits, self._made()
        waits.refuse(NotOwner(self._group))

    def abandon(self) -> None:
        """The node stops."""
        self._waits.refuse()

    def _made(self) -> LockWaits:
        return LockWaits(AppliedState(Machine(), 0), self._writes, self._clock)

    def _read(self, names: tuple[bytes, ...], outcome: ReadOutcome) -> None:
        self._looks = False
        if isinstance(outcome, View):
            for place, name in enumerate(names):
                try:
                    self._waits.read(name, outcome)
                except NotInExcerpt:  # the values are large
                    self._looked_at -= len(names) - place  # the next look begins here
                    break
        elif isinstance(outcome, NotOwner):
            self._waits.ask_again()  # a slot has gone: its leader says so, and the client asks elsewhere
