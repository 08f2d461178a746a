"""Slow comparisons of passwords, one after the other in another thread, so that a flood of logins is small.

Each address has few places in the queue, so that others find one. After a comparison that failed the queue
rests as long as that took: guesses get half of one processor at most.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kraft.node.ports import Clock

WAITING_MAX = 64
PER_SOURCE_MAX = 8

Work = Callable[[], bool]
Done = Callable[[bool], None]
InThread = Callable[[Callable[[], object]], Deferred[object]]
"""Calls a function in another thread; fires with its result, or with its exception."""


class PasswordQueue:
    """The comparisons that wait and the one under way."""

    def __init__(self, clock: Clock, in_thread: InThread) -> None:
        self.in_thread = in_thread
        self._clock = clock
        self._waiting: deque[tuple[str, Work, Done]] = deque()
        self._places: Counter[str] = Counter()
        self._busy = False

    def add(self, source: str, work: Work, done: Done) -> bool:
        """Let `done` have the result of `work`; returns False if no place is left, or none for `source`."""
        if len(self._waiting) >= WAITING_MAX or self._places[source] >= PER_SOURCE_MAX:
            return False
        self._places[source] += 1
        self._waiting.append((source, work, done))
        if not self._busy:
            self._begin()
        return True

    def _begin(self) -> None:
        self._busy = bool(self._waiting)
        if not self._waiting:
            return
        source, work, done = self._waiting.popleft()
        ended = partial(self._ended, source, self._clock.seconds(), done)
        self.in_thread(work).addBoth(ended)

    def _ended(self, source: str, began: float, done: Done, outcome: object) -> None:
        self._places[source] -= 1
        if not self._places[source]:
            del self._places[source]
        right = outcome is True
        rest = 0.0 if right else self._clock.seconds() - began
        self._clock.call_later(rest, self._begin)
        done(right)
        if isinstance(outcome, Failure):
            outcome.raiseException()
