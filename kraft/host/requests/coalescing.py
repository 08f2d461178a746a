"""Several clients were answered and are about to ask again: the next batch or round waits for all of them.

It goes on from poll to poll of the reactor as long as each brings more, and never waits for time.
"""

from collections.abc import Callable

from kraft.node.ports import Clock

POLLS_MAX = 16


class Coalescer:
    """One replica's. `demand` says how much waits by now, `over` is called when no more comes."""

    __slots__ = ("_clock", "_demand", "_over", "_polls", "_seen")

    def __init__(self, clock: Clock, demand: Callable[[], int], over: Callable[[], None]) -> None:
        self._clock = clock
        self._demand = demand
        self._over = over
        self._polls = 0  # left
        self._seen = 0

    @property
    def under_way(self) -> bool:
        """Batches and rounds should wait."""
        return self._polls > 0

    def begin(self) -> None:
        """Let whoever was answered ask again."""
        if not self._polls:
            self._polls = POLLS_MAX
            self._seen = 0
            self._clock.call_later(0, self._poll)

    def _poll(self) -> None:
        demand = self._demand()
        self._polls -= 1
        if self._polls and demand > self._seen:
            self._seen = demand
            self._clock.call_later(0, self._poll)
        else:
            self._polls = 0
            self._over()
