"""How late the reactor is: a call is asked for at short intervals, and its delay is observed."""

from collections.abc import Callable
from typing import Protocol

INTERVAL_SECONDS = 0.25  # cheap, and a block of a second still shows as one observation of about a second


class Cancellable(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Forget the call."""


class Clock(Protocol):
    """Monotonic time and calls in the future, as `host` has them from `tap`."""

    def seconds(self) -> float:
        """Now."""

    def call_later(self, delay: float, call: Callable[[], object], /) -> Cancellable:
        """Run `call` in `delay` seconds."""


class ReactorLag:
    """Tells `observe` how many seconds each periodic call came late."""

    def __init__(self, clock: Clock, observe: Callable[[float], None]) -> None:
        self._clock = clock
        self._observe = observe
        self._pending: Cancellable | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin; a second start changes nothing."""
        if self._pending is None:
            self._arm()

    def stop(self) -> None:
        """End; may be called at any time."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def _arm(self) -> None:
        self._due = self._clock.seconds() + INTERVAL_SECONDS
        self._pending = self._clock.call_later(INTERVAL_SECONDS, self._came)

    def _came(self) -> None:
        self._observe(max(0.0, self._clock.seconds() - self._due))
        self._arm()
