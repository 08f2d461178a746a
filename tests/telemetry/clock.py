"""The host's clock on Twisted's fake one, with a wall clock that may be set."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock


class HostClock:
    """Unix time is `epoch` plus what has passed."""

    def __init__(self, epoch: float = 1000.0) -> None:
        self.clock = Clock()
        self.epoch = epoch

    def seconds(self) -> float:
        return self.clock.seconds()

    def wall_seconds(self) -> float:
        return self.epoch + self.clock.seconds()

    def wall_ms(self) -> int:
        return int(self.wall_seconds() * 1000)

    def call_later(self, delay: float, call: Callable[[], object]) -> IDelayedCall:
        return self.clock.callLater(delay, call)

    def call_soon(self, call: Callable[[], object]) -> None:
        self.clock.callLater(0, call)
