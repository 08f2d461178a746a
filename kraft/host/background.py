"""Work of seconds that is done in steps between other work: a command on all keys, freeing what was flushed.

The reactor serves everybody else between two turns of it, so no request waits for more than one turn.
"""

from collections import deque
from collections.abc import Iterator

from kraft.node.ports import Clock

TURN_SECONDS = 0.002  # of steps in one turn
TURN_STEPS = 64  # the same where a clock stands still during a turn
PAUSE_SECONDS = 0.001  # between two turns: more requests arrive meanwhile, and are served together
LONG = object()  # what steps yield before one that takes some milliseconds: a turn begins with it


class Background:
    """Iterators that do one step, of less than a millisecond if not `LONG`, whenever they are advanced."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Iterator[object]] = deque()
        self._turning = False  # a turn is under way, or will come

    def add(self, steps: Iterator[object]) -> None:
        """Advance `steps` to its end, in turn with the others. It must raise no error, and may call this."""
        self._waiting.append(steps)
        if not self._turning:
            self._turning = True
            self._clock.call_later(PAUSE_SECONDS, self._turn)

    def _turn(self) -> None:
        waiting, clock = self._waiting, self._clock
        until = clock.seconds() + TURN_SECONDS
        try:
            for _ in range(TURN_STEPS):
                steps = waiting.popleft()
                step = next(steps, self)
                if step is LONG:
                    waiting.appendleft(steps)
                    break
                if step is not self:
                    waiting.append(steps)
                if not waiting or clock.seconds() >= until:
                    break
        finally:  # an error costs the work that it comes from, and the rest goes on
            self._turning = bool(waiting)
            if waiting:
                clock.call_later(PAUSE_SECONDS, self._turn)
