"""The clock that every part of a node is given: no part reads the time of the machine by itself."""

from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """A pending `Clock.call_later`."""

    def cancel(self) -> None:
        """Cancel the call. Raises an error when it has run already."""


class Clock(Protocol):
    """Deadlines use `seconds`; the stamps of entries start from `wall_ms`."""

    def seconds(self) -> float:
        """Monotonic time, in seconds."""

    def wall_ms(self) -> int:
        """Unix time, in milliseconds. It may jump either way."""

    def call_later(self, delay: float, call: Callable[[], object], /) -> Cancellable:
        """Run `call` in `delay` seconds."""

    def call_soon(self, call: Callable[[], object], /) -> None:
        """Run `call` after all input of this iteration of the reactor; in the order in which it was asked."""
