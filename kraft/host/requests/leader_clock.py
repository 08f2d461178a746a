"""A leader's running stamp: Unix milliseconds that never go back and never jump.

Within a term it follows the leader's monotonic clock and is pulled towards the median of the voters' wall
clocks by at most one millisecond per second. A clock that is stepped on one machine cannot expire keys early.
"""

from collections.abc import Collection, Iterable

from kraft.node.ports import Clock

SLEW_MS_PER_SECOND = 1.0


class LeaderClock:
    """The stamp of one group's leader. `lead` starts a term; the rest is of use only while leading."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base_ms = 0.0
        self._anchor = clock.seconds()
        self._offsets: dict[str, int] = {}

    def lead(self, last_stamp: int, vote_clocks: Iterable[int]) -> None:
        """Begin a term at the lower median of the voters' clocks, but not below the log's last stamp."""
        clocks = sorted(vote_clocks) or [self._clock.wall_ms()]
        self._base_ms = float(max(last_stamp, clocks[(len(clocks) - 1) // 2]))
        self._anchor = self._clock.seconds()
        self._offsets.clear()

    def heard(self, voter: str, wall_ms: int) -> None:
        """A voter's wall clock has just arrived."""
        self._offsets[voter] = wall_ms - self._clock.wall_ms()

    def count_only(self, voters: Collection[str]) -> None:
        """Drop the clocks of all nodes that do not vote (any more)."""
        self._offsets = {voter: offset for voter, offset in self._offsets.items() if voter in voters}

    def now(self) -> int:
        """The running stamp in Unix milliseconds."""
        return int(self._base_ms + (self._clock.seconds() - self._anchor) * 1000.0)

    def correct(self) -> None:
        """Pull the stamp towards the median wall clock; called on every tick of a leader."""
        seconds = self._clock.seconds()
        elapsed = seconds - self._anchor
        self._base_ms += elapsed * 1000.0
        self._anchor = seconds
        offsets = sorted([0, *self._offsets.values()])
        wanted = self._clock.wall_ms() + offsets[(len(offsets) - 1) // 2]
        most = elapsed * SLEW_MS_PER_SECOND
        self._base_ms += min(most, max(-most, wanted - self._base_ms))

    def offsets(self) -> dict[str, int]:
        """Wall clocks of the voters minus that of this node in milliseconds, as last heard."""
        return dict(self._offsets)
