"""Virtual time, randomness, and a trace: the same seed gives the same world, event by event.

Every part has its own random numbers, made from the seed and a name. So leaving out a fault changes only its
consequences, and not every later event by accident: this is what lets the shrinker make runs smaller.
"""

import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

START_WALL_MS = 1_700_000_000_000
BACKLOG_SECONDS = 0.02  # in which a resumed process handles waiting calls, in no particular order
INSTANT = 1e-9  # seconds that are none: rounding
MOMENT_STEPS_MAX = 50_000  # events at the same virtual time


class StandsStill(AssertionError):
    """Virtual time no longer passes."""


class Timer(msgspec.Struct, eq=False):
    """A pending call; implements `node.ports.Cancellable`."""

    call: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Events run in the order of (time, order of scheduling).

    `after_step` is called after each of them that ran something in a process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.leapt = 0.0  # the part of `now` that passed in leaps
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.ran: list[NodeClock] = []  # of the processes that have run since `after_step` cleared it
        self.after_step: Callable[[], None] = lambda: None
        self.lines: list[str] = []  # the trace
        self._queue: list[tuple[float, int, Timer]] = []
        self._order = 0

    @property
    def lived(self) -> float:
        """Seconds of virtual time without leaps."""
        return self.now - self.leapt

    def dice(self, name: str) -> random.Random:
        """A random number generator for one part; the same name gives the same sequence."""
        return random.Random(f"{self.seed} {name}")  # a str seed does not depend on Python's hash seed

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` in `delay` seconds of virtual time."""
        self._order = order = self._order + 1
        timer = Timer(call)
        heappush(self._queue, (self.now + delay if delay > 0.0 else self.now, order, timer))
        return timer

    def leap(self, seconds: float) -> None:
        """Stop the world for `seconds`: events due meanwhile happen at the end, in order."""
        self.now += seconds
        self.leapt += seconds
        self._queue[:] = [(max(at, self.now), order, timer) for at, order, timer in self._queue]
        heapify(self._queue)

    def note(self, text: str) -> None:
        """Add one line to the trace."""
        self.lines.append(f"{self.now:.6f} {text}")

    @property
    def trace(self) -> str:
        """A digest of all lines noted so far."""
        return hashlib.sha256("".join([f"{line}\n" for line in self.lines]).encode()).hexdigest()

    def run_until(self, end: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass until `end`, or until `stop()`; return whether it stopped."""
        here = 0
        after_step, queue, ran = self.after_step, self._queue, self.ran
        while queue and queue[0][0] <= end:
            at, _, timer = heappop(queue)
            if timer.cancelled:
                continue
            if at > self.now:
                self.now, here = at, 0
            else:
                here += 1
                if here > MOMENT_STEPS_MAX:
                    raise StandsStill(f"{here} events at {self.now}: a part wakes itself forever")
            timer.call()
            self.steps += 1
            if ran:
                after_step()
            if stop is not None and stop():
                return True
        self.now = max(self.now, end)
        return stop is not None and stop()


class NodeClock:
    """`node.ports.Clock` of one run of one process: its timers end with it and wait while it is paused.

    The wall clock may be skewed, drift and jump; the monotonic clock only drifts. A pause may last longer on
    the process's own clock than for the others: this simulates a pause of minutes within seconds.
    """

    def __init__(self, world: World, skew_ms: float, drift: float, dice: random.Random) -> None:
        self._world = world
        self._skew_ms = skew_ms
        self._drift = 1.0 + drift
        self._dice = dice
        self.steady_since = world.lived  # by when the wall clock was last stepped
        self._ahead = 0.0  # seconds that passed only for this process
        self.dead = False
        self.paused = False
        self.slow = 1.0  # factor by which new timers are late
        self.busy = 0.0  # the most seconds until the process handles deferred calls
        self.owner: Any = None  # the process
        self.ran = False  # something ran in the process since its state was last checked
        self.touched()
        self._free_at = 0.0  # until then (virtual time) the process is at work
        self._put_off: deque[Callable[[], object]] = deque()
        self._held: list[Callable[[], object]] = []

    def touched(self) -> None:
        """The state of the process may have changed."""
        if not self.ran:
            self.ran = True
            self._world.ran.append(self)

    def seconds(self) -> float:
        now, free_at = self._world.now, self._free_at
        return (now if now > free_at else free_at) * self._drift + self._ahead

    def spend(self, seconds: float) -> None:
        """What runs takes so long, and everything else in the process waits for its end."""
        self._free_at = max(self._world.now, self._free_at) + seconds

    def wall_ms(self) -> int:
        return int(START_WALL_MS + self.seconds() * 1000.0 + self._skew_ms)

    def jump(self, milliseconds: float) -> None:
        self._skew_ms += milliseconds
        self.steady_since = self._world.lived

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        timer = self._world.call_later(delay * self.slow / self._drift, call)
        timer.call = partial(self._due, timer, call)
        return timer

    def _due(self, timer: Timer, call: Callable[[], object]) -> None:
        if self.paused or self._free_at > self._world.now:
            self.run(partial(_unless_cancelled, timer, call))
        elif not self.dead:
            self.touched()
            call()

    def call_soon(self, call: Callable[[], object]) -> None:
        self._put_off.append(call)
        self._world.call_later(self._dice.uniform(0, self.busy) if self.busy else 0.0, self._come_round)

    def _come_round(self) -> None:
        """Run the first deferred call. Messages may overtake deferred calls, but these keep their order."""
        if self.paused or self._free_at > self._world.now:
            self.run(self._run_first)
        elif not self.dead:
            self.touched()
            self._put_off.popleft()()

    def _run_first(self) -> None:
        self._put_off.popleft()()

    def run(self, call: Callable[[], object]) -> None:
        """Deliver an outside event to this process: at once, or when it resumes or has done its work."""
        if self.dead:
            return
        if self.paused:
            self._held.append(call)
        elif self._free_at - self._world.now > INSTANT:
            self._world.call_later(self._free_at - self._world.now, partial(self.run, call))
        else:
            self.touched()
            call()

    def pause(self) -> None:
        self.paused = True

    def resume(self, ahead: float = 0.0) -> None:
        """Resume; `ahead` is how many seconds more have passed for this process than for the others."""
        self.paused = False
        self._ahead += ahead
        self.steady_since = self._world.lived
        held, self._held = self._held, []
        for call in held:
            delay = self._dice.uniform(0, BACKLOG_SECONDS)
            self._world.call_later(delay, partial(self.run, call))


def _unless_cancelled(timer: Timer, call: Callable[[], object]) -> None:
    """What a timer calls later than it was due: it may have been cancelled meanwhile."""
    if not timer.cancelled:
        call()
