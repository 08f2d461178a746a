"""A leader's running stamp: Unix milliseconds that never go back and never jump. It is called *log time*.

The *median clock* is the lower median of the voters' wall clocks, as far as they are known: of two clocks the
earlier one counts. Within a term log time runs with the leader's monotonic clock and is pulled towards the
median clock. A clock that is stepped on one machine therefore changes nothing. Each tick decides how slow log
time runs until the next one, however late that is. Were the time since a tick slowed down afterwards, log
time would fall below stamps that are in the log, and stand still for as long as it had run too fast.

A majority of wrong clocks does. When they are set right, log time is ahead of the median clock, and it cannot
go back, because keys have expired by it. It then runs at half speed until the median clock has caught up: a
relative expiry lasts at most twice as long, and never less. An absolute expiry that the slow log time would
reach too early is refused (`premature`).
"""

from collections import deque

from kraft.host.ports import HostObserver
from kraft.node.ports import Clock
from kraft.raft.state import ReplicaState

# Seconds of correction in a second: within the bound, and beyond it when log time is ahead, or is late. Going
# slowly only keeps keys longer, going fast lets them expire early: a tenth is what leases allow for as well.
SLEW, SLOW_DOWN, SPEED_UP = 0.001, 0.5, 0.1
READINGS = 8  # of each clock; the latest clock of them was heard with the least delay
TOLERANCE_MS = 100.0  # of log time ahead of the median clock: about the time that a request may take
NONE = range(0)


class LeaderClock:
    """The clock of one replica, which gives stamps only while the replica leads.

    * `term` is the one for which it was started.
    * `max_offset` is how far (seconds) a clock, or log time, may be off the median clock.
    * `lead_ms` is how far log time is ahead of the median clock, as of the last tick.
    * `off` are the voters whose clocks are off the median clock by more than the bound.
    * `premature` holds the times (Unix ms) that are still to come by the median clock, and that log time has
      passed, or will reach by more than a moment too early.
    """

    def __init__(
        self, group: int, replica: ReplicaState, clock: Clock, max_offset: float, observer: HostObserver
    ) -> None:
        self.term = 0
        self.lead_ms = 0.0
        self.off: frozenset[str] = frozenset()
        self.premature = NONE
        self._group = group
        self._replica = replica
        self._clock = clock
        self._max_offset_ms = max_offset * 1000.0
        self._observer = observer
        self._correcting = False  # from when the bound is exceeded until log time equals the median clock
        self._base_ms = 0.0
        self._anchor = clock.seconds()
        self._slowed = 0.0  # the part of a second by which log time runs slower from the anchor on
        # peer -> its wall clock minus the monotonic clock of this node, in milliseconds, at its last answers
        self._readings: dict[str, deque[float]] = {}

    def stamp(self) -> int:
        """The running stamp of the term that this node leads, never below that of the log (Unix ms)."""
        if self.term != self._replica.term:
            self.start()
        elapsed_ms = (self._clock.seconds() - self._anchor) * 1000.0
        running = int(self._base_ms + elapsed_ms * (1.0 - self._slowed))
        return max(running, self._replica.log.last_stamp)

    def heard(self, peer: str, wall_ms: int) -> None:
        """The wall clock of `peer` has just arrived with its answer to a heartbeat."""
        readings = self._readings.get(peer)
        if readings is None:
            readings = self._readings[peer] = deque(maxlen=READINGS)
        readings.append(wall_ms - self._clock.seconds() * 1000.0)

    def share(self, peer: str, readings: deque[float]) -> None:
        """Use the `readings` of the clock of `peer` that its beats bring."""
        if readings:
            self._readings[peer] = readings

    def correct(self) -> None:
        """Pull log time towards the median clock; called on every tick of a leader."""
        if self.term != self._replica.term:
            self.start()
        seconds = self._clock.seconds()
        elapsed_ms = (seconds - self._anchor) * 1000.0
        clocks = self._clocks()
        middle = _median_of(clocks)
        median = seconds * 1000.0 + middle
        lead = self._base_ms + elapsed_ms - median
        if abs(lead) > self._max_offset_ms and not self._correcting:
            self._correcting = True
            self._observer.event("log_time_off", group=self._group, ahead_seconds=round(lead / 1000, 1))
        down, up = (SLOW_DOWN, SPEED_UP) if self._correcting else (SLEW, SLEW)
        change = min(elapsed_ms * up, max(-elapsed_ms * self._slowed, -lead))
        if change == -lead and self._correcting:
            self._correcting = False
            self._observer.event("log_time_right", group=self._group)
        self._base_ms += elapsed_ms + change
        self._anchor = seconds
        self.lead_ms = lead + change
        self._slowed = down if self.lead_ms > 0.0 else 0.0
        self.premature = self._premature(median)
        self._name_clocks(clocks, middle)

    @property
    def is_steady(self) -> bool:
        """Whether log time is about that of the median clock, as of the last tick."""
        return not self._correcting and self.premature is NONE

    def offsets(self) -> dict[str, int]:
        """Wall clocks of the voters minus that of this node in milliseconds, as last heard."""
        own = self._own()
        return {peer: round(wall - own) for peer, wall in self._heard().items()}

    def offset(self) -> int:
        """The wall clock of this node minus the median clock, in milliseconds."""
        return round(self._own() - self._median())

    def _premature(self, median: float) -> range:
        """`premature`, now that the median clock shows `median`."""
        if self.lead_ms <= TOLERANCE_MS:
            return NONE
        meeting = median + (self.lead_ms / SLOW_DOWN if self._correcting else self.lead_ms)
        return range(int(median) + 1, int(meeting) + 1)

    def _name_clocks(self, clocks: dict[str, float], median: float) -> None:
        """Find the clocks that are off, and report every clock that went wrong, or is right again."""
        off = {
            id_: clock - median for id_, clock in clocks.items() if abs(clock - median) > self._max_offset_ms
        }
        if not (off or self.off):
            return  # most often
        for id_ in sorted(off.keys() - self.off):
            seconds = round(off[id_] / 1000, 1)
            self._observer.event("clock_off", peer=id_, group=self._group, ahead_seconds=seconds)
        for id_ in sorted(self.off & clocks.keys() - off.keys()):
            self._observer.event("clock_right", peer=id_, group=self._group)
        self.off = frozenset(off)

    # Wall clocks, each minus the monotonic clock of this node: these numbers stand still, and do not change
    # when the wall clock of this node is set.

    def _own(self) -> float:
        return self._clock.wall_ms() - self._clock.seconds() * 1000.0

    def _heard(self) -> dict[str, float]:
        electors = self._replica.electors
        return {peer: max(readings) for peer, readings in self._readings.items() if peer in electors}

    def _clocks(self) -> dict[str, float]:
        """That of this node, and those heard."""
        return {self._replica.id: self._own(), **self._heard()}

    def _median(self) -> float:
        return _median_of(self._clocks())

    def start(self) -> None:
        """Begin a term, within a tick of its election, with the clocks that came with the votes.

        Log time begins at the median clock, but not below the log's last stamp.
        """
        self.term = self._replica.term
        self._correcting = False
        self.off = frozenset()
        self._readings.clear()
        for voter, wall_ms in self._replica.vote_clocks.items():
            if voter != self._replica.id:
                self.heard(voter, wall_ms)
        self._anchor = self._clock.seconds()
        median = self._anchor * 1000.0 + self._median()
        self._base_ms = max(float(self._replica.log.last_stamp), median)
        self.correct()


def _median_of(clocks: dict[str, float]) -> float:
    return sorted(clocks.values())[(len(clocks) - 1) // 2]
