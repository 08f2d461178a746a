"""Time, as every part of a node is given it."""

from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """A pending `Clock.call_later`."""

    def cancel(self) -> None:
        """Forget the call; an error when it ran already."""


class Clock(Protocol):
    """Time for the host. Deadlines use `seconds`; stamps start from `wall_ms`."""

    def seconds(self) -> float:
        """Monotonic time in seconds."""

    def wall_ms(self) -> int:
        """Unix time in milliseconds; may jump either way."""

    def call_later(self, delay: float, call: Callable[[], object], /) -> Cancellable:
        """Run `call` in `delay` seconds; with 0, at the end of this turn, after all input of the turn."""
