"""Virtual time, one source of chance, and a trace: the same seed gives the same world, event by event."""

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable

START_WALL_MS = 1_700_000_000_000
BACKLOG_SECONDS = 0.02  # in which a process that was paused works off what waits, in no particular order


class Timer:
    """A pending call; also `host.ports.Cancellable`."""

    __slots__ = ("call", "cancelled")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Events run in the order of (time, order of scheduling). `after_step` is called after each of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.after_step: Callable[[], None] = lambda: None
        self._queue: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._trace = hashlib.sha256()
        self.lines: list[str] | None = None  # set to a list to keep the whole trace

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` in `delay` seconds of virtual time."""
        self._order += 1
        timer = Timer(call)
        heapq.heappush(self._queue, (self.now + max(0.0, delay), self._order, timer))
        return timer

    def note(self, text: str) -> None:
        """One line of the trace."""
        line = f"{self.now:.6f} {text}"
        self._trace.update(line.encode() + b"\n")
        if self.lines is not None:
            self.lines.append(line)

    @property
    def trace(self) -> str:
        """A digest of everything noted so far."""
        return self._trace.hexdigest()

    def run_until(self, end: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass until `end`, or until `stop()`; says whether it stopped."""
        while self._queue and self._queue[0][0] <= end:
            at, _, timer = heapq.heappop(self._queue)
            if timer.cancelled:
                continue
            self.now = max(self.now, at)
            timer.call()
            self.steps += 1
            self.after_step()
            if stop():
                return True
        self.now = max(self.now, end)
        return stop()

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability


class NodeClock:
    """`host.ports.Clock` of one run of one process: its timers die with it and wait while it is paused.

    The wall clock may be skewed, drift and jump; the monotonic one only drifts.
    """

    def __init__(self, world: World, skew_ms: float, drift: float) -> None:
        self._world = world
        self._skew_ms = skew_ms
        self._drift = 1.0 + drift
        self.dead = False
        self.paused = False
        self.slow = 1.0  # timers set now come so much later
        self._held: list[Callable[[], object]] = []

    def seconds(self) -> float:
        return self._world.now * self._drift

    def wall_ms(self) -> int:
        return int(START_WALL_MS + self._world.now * 1000.0 * self._drift + self._skew_ms)

    def jump(self, milliseconds: float) -> None:
        self._skew_ms += milliseconds

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return self._world.call_later(delay * self.slow / self._drift, lambda: self._run(call))

    def run(self, call: Callable[[], object]) -> None:
        """Something outside happens to this process: at once, or when it goes on."""
        self._run(call)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        held, self._held = self._held, []
        for call in held:
            delay = self._world.random.uniform(0, BACKLOG_SECONDS)
            self._world.call_later(delay, lambda call=call: self._run(call))  # type: ignore[misc]

    def _run(self, call: Callable[[], object]) -> None:
        if self.dead:
            return
        if self.paused:
            self._held.append(call)
        else:
            call()
