"""The ticks of a node. On an idle node one call of the host stands for several of them.

Consensus counts its timeouts in ticks, forty a second by default. Nearly all ticks of an idle node change
nothing, but each one wakes the process, which costs more than what is done then. So once nothing has been
under way for an election timeout (`Idleness`), the host is called for the ticks of a heartbeat interval
together: when a leader has heartbeats to send, and long before a follower may miss its leader.

What a message or a request finds is the same as with a call for each tick: those that have passed since the
last call are counted before it is looked at. As soon as anything is under way, the next tick has a call of
its own. Never more ticks are counted than have passed, and after a pause of the process not more than one
call stands for, as its messages were not read meanwhile.
"""

from collections.abc import Iterable
from typing import Protocol

from kraft.config import Config
from kraft.host import settings
from kraft.host.idleness import Idleness
from kraft.node.ports import Cancellable, Clock


class TickOwner(Protocol):
    """The host, as `Ticker` sees it."""

    def tick(self) -> None:
        """One tick passed; others before it may have been skipped."""


class Ticker:
    """Calls `owner` for the ticks. `span` is how many the next call stands for: above 1 on an idle node."""

    def __init__(self, config: Config, clock: Clock, idleness: Idleness, owner: TickOwner) -> None:
        self.span = 1
        self._seconds = settings.tick_seconds(config)
        self._patience = settings.election_ticks(config)
        self._clock = clock
        self._idleness = idleness
        self._owner = owner
        self._began = 0.0  # when the span began, in monotonic seconds
        self._skipped = 0  # of its ticks, those that are counted already
        self._idle = 0  # calls in a row that found the node idle
        self._timer: Cancellable | None = None

    def start(self) -> None:
        """Call the owner from now on."""
        self._begin()

    def catch_up(self) -> None:
        """Count the ticks that have passed since the last call: something is about to look at them."""
        passed = int((self._clock.seconds() - self._began) / self._seconds)
        self._skip_to(min(passed, self.span - 1))

    def look(self, woken: Iterable[int]) -> None:
        """These groups are about to be served: call for each tick again if anything is under way in one."""
        self.catch_up()
        if not self._idleness.lasts(woken):
            self.hurry()

    def hurry(self) -> None:
        """Something is under way: call for each tick, from the next one on."""
        self._idle = 0
        if self.span > 1:
            self.catch_up()
            self._end_with(self._skipped + 1)

    def _tick(self) -> None:
        self._skip_to(self.span - 1)
        self._begin()
        self._owner.tick()
        self._idle = self._idle + 1 if self._idleness.is_idle else 0
        if self._idle >= self._patience:
            self._end_with(1 + self._idleness.spare_ticks)

    def _begin(self) -> None:
        self._began, self.span, self._skipped = self._clock.seconds(), 1, 0
        self._timer = self._clock.call_later(self._seconds, self._tick)

    def _skip_to(self, passed: int) -> None:
        ticks, self._skipped = passed - self._skipped, max(passed, self._skipped)
        if ticks > 0:
            self._idleness.skip(ticks)

    def _end_with(self, ticks: int) -> None:
        """Let the next call end so many ticks since the last one."""
        if ticks != self.span:
            self.span = ticks
            if self._timer is not None:
                self._timer.cancel()
            left = self._began + ticks * self._seconds - self._clock.seconds()
            self._timer = self._clock.call_later(max(0.0, left), self._tick)
