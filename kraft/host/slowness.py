"""Whether this node is too slow to lead: because of its disk, or because of its event loop.

A leader applies nothing that is not on its own disk, and all requests pass through it. So a leader that is
slow holds up every client, even where the other voters could go on without it. A node that has been slow for
an election timeout transfers its leadership away as soon as voters that are not slow can elect one of them
without it (`LeadershipTransfers.leave`), and a slow node campaigns later than the others (`Raft.mark_slow`).
Where all are slow nothing moves. Disks that become slow together are seen one after the other, some ticks and
a heartbeat apart: a leader that left at once would hand over to a node that is as slow.

A log write that the disk does not finish is seen while it is under way: a disk that hangs finishes none. The
event loop is measured by the ticks of the host, which it runs late. A node that was slow counts as slow for a
while after the last sign of it, so that leadership does not swing.
"""

from collections import deque

from kraft.host.persistence import Persistence
from kraft.host.ports import HostObserver

WRITE_TIMEOUTS = 2.0  # election timeouts that a log write may take
LATE_TIMEOUTS = 0.5  # election timeouts from one tick to the next: heartbeats are about to come too late
WINDOW_TIMEOUTS = 10.0  # election timeouts; the event loop is slow when late ticks took half of these
PAUSE_TIMEOUTS = 3.0  # election timeouts that one pause counts for, at most
LEAVE_TIMEOUTS = 1.0  # election timeouts after which a slow leader knows which of the others are slow as well
HOLD_TIMEOUTS = 60.0  # election timeouts without a sign of slowness, after which a node is not slow


class _Symptom:
    """One way to be slow. `slow` from the first sign of it until `hold` seconds after the last one."""

    __slots__ = ("_hold", "_seen_at", "slow")

    def __init__(self, hold: float) -> None:
        self.slow = False
        self._hold = hold
        self._seen_at = 0.0

    def observe(self, present: bool, now: float) -> bool:
        """Note whether there is a sign at `now` (monotonic seconds). Returns whether `slow` changed."""
        if present:
            self._seen_at = now
        slow = present or (self.slow and now - self._seen_at < self._hold)
        changed, self.slow = slow != self.slow, slow
        return changed


class Slowness:
    """Measures this node on every tick of the host. `slow`: this node should not lead.

    `leaves`: it should give leadership away now. `write_seconds` is the age of the log write under way.
    """

    def __init__(self, persistence: Persistence, observer: HostObserver, election_timeout: float) -> None:
        hold = HOLD_TIMEOUTS * election_timeout
        self.slow = False
        self.leaves = False
        self.write_seconds = 0.0
        self._persistence = persistence
        self._observer = observer
        self._election_timeout = election_timeout
        self._disk, self._loop = _Symptom(hold), _Symptom(hold)
        self._under_way: object = None  # the log write that was under way at the last tick
        self._since = 0.0  # when it was first seen
        self._last_tick: float | None = None
        self._fast_at = 0.0  # the last tick at which it was not slow
        self._late: deque[tuple[float, float]] = deque()  # late ticks in the window: when, and the time lost

    @property
    def disk(self) -> bool:
        """Whether log writes take too long."""
        return self._disk.slow

    @property
    def loop(self) -> bool:
        """Whether the event loop is blocked again and again."""
        return self._loop.slow

    def tick(self, now: float) -> None:
        """One tick of the host runs at `now` (monotonic seconds)."""
        self._measure_write(now)
        if self._disk.observe(self.write_seconds >= WRITE_TIMEOUTS * self._election_timeout, now):
            seconds = round(self.write_seconds, 1)
            self._report("disk", self._disk.slow, write_seconds=seconds)
        if self._loop.observe(self._lost(now) >= WINDOW_TIMEOUTS / 2 * self._election_timeout, now):
            self._report("event_loop", self._loop.slow)
        self.slow = self._disk.slow or self._loop.slow
        if not self.slow:
            self._fast_at = now
        self.leaves = now - self._fast_at >= LEAVE_TIMEOUTS * self._election_timeout

    def skip(self, seconds: float) -> None:
        """The next tick was meant to come so many seconds later: that is no sign of slowness."""
        if self._last_tick is not None:
            self._last_tick += seconds

    def _measure_write(self, now: float) -> None:
        """Costs the writes themselves nothing. One that waits for space on a full disk is not slow."""
        under_way = None if self._persistence.full else self._persistence.under_way
        if under_way is not self._under_way:
            self._under_way, self._since = under_way, now
        self.write_seconds = now - self._since if under_way is not None else 0.0

    def _lost(self, now: float) -> float:
        """Seconds of the window in which the event loop was blocked for long.

        One pause alone is not enough, however long it was: it is over.
        """
        timeout, late = self._election_timeout, self._late
        if self._last_tick is not None and now - self._last_tick >= LATE_TIMEOUTS * timeout:
            late.append((now, min(now - self._last_tick, PAUSE_TIMEOUTS * timeout)))
        self._last_tick = now
        while late and late[0][0] < now - WINDOW_TIMEOUTS * timeout:
            late.popleft()
        return sum([lost for _, lost in late]) if late else 0.0

    def _report(self, cause: str, slow: bool, **fields: object) -> None:
        self._observer.event(
            "node_slow" if slow else "node_recovered", cause=cause, **(fields if slow else {})
        )
