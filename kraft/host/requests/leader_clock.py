"""A leader's running stamp: Unix milliseconds that never go back and never jump.

Within a term it follows the leader's monotonic clock and is pulled towards the median of the voters' wall
clocks by at most one millisecond per second. A clock that is stepped on one machine cannot expire keys early.
"""

from kraft.node.ports import Clock
from kraft.raft.state import ReplicaState

SLEW_MS_PER_SECOND = 1.0


class LeaderClock:
    """The clock of one replica, which gives stamps only while the replica leads."""

    def __init__(self, replica: ReplicaState, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._term = 0  # for which the clock was started
        self._base_ms = 0.0
        self._anchor = clock.seconds()
        self._offsets: dict[str, int] = {}  # peer -> its wall clock minus that of this node, milliseconds

    def stamp(self) -> int:
        """The running stamp of the term that this node leads, never below that of the log (Unix ms)."""
        if self._term != self._replica.term:
            self._start()
        running = int(self._base_ms + (self._clock.seconds() - self._anchor) * 1000.0)
        return max(running, self._replica.log.last_stamp)

    def heard(self, peer: str, wall_ms: int) -> None:
        """The wall clock of `peer` has just arrived with its answer to a heartbeat."""
        self._offsets[peer] = wall_ms - self._clock.wall_ms()

    def correct(self) -> None:
        """Pull the stamp towards the median wall clock; called on every tick of a leader."""
        if self._term != self._replica.term:
            self._start()
        seconds = self._clock.seconds()
        elapsed = seconds - self._anchor
        self._base_ms += elapsed * 1000.0
        self._anchor = seconds
        offsets = sorted([0, *self.offsets().values()])
        wanted = self._clock.wall_ms() + offsets[(len(offsets) - 1) // 2]
        most = elapsed * SLEW_MS_PER_SECOND
        self._base_ms += min(most, max(-most, wanted - self._base_ms))

    def offsets(self) -> dict[str, int]:
        """Wall clocks of the voters minus that of this node in milliseconds, as last heard."""
        return {peer: offset for peer, offset in self._offsets.items() if peer in self._replica.electors}

    def _start(self) -> None:
        """Begin a term, within a tick of its election, at the lower median of the wall clocks of its voters.

        The clock does not begin below the log's last stamp.
        """
        self._term = self._replica.term
        clocks = sorted(self._replica.vote_clocks.values()) or [self._clock.wall_ms()]
        self._base_ms = float(max(self._replica.log.last_stamp, clocks[(len(clocks) - 1) // 2]))
        self._anchor = self._clock.seconds()
        self._offsets.clear()
