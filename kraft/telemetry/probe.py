"""Measures how long the event loop is blocked: the delay of a call that is due at short intervals."""

from collections.abc import Callable

from kraft.node.ports import Cancellable, Clock

INTERVAL_SECONDS = 0.25  # cheap, and a block of a second still shows as one observation of about a second


class ReactorProbe:
    """Passes to `observe` how many seconds late each periodic call ran."""

    def __init__(self, clock: Clock, observe: Callable[[float], None]) -> None:
        self._clock = clock
        self._observe = observe
        self._pending: Cancellable | None = None
        self._due = 0.0

    def start(self) -> None:
        """Start to measure. Does nothing if it has started."""
        if self._pending is None:
            self._schedule()

    def stop(self) -> None:
        """Stop to measure. May be called at any time."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + INTERVAL_SECONDS
        self._pending = self._clock.call_later(INTERVAL_SECONDS, self._measure)

    def _measure(self) -> None:
        self._observe(max(0.0, self._clock.seconds() - self._due))
        self._schedule()
