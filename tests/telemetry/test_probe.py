"""Reactor lag."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from kraft.telemetry.probe import INTERVAL_SECONDS, ReactorLag


class HostClock:
    def __init__(self) -> None:
        self.clock = Clock()

    def seconds(self) -> float:
        return self.clock.seconds()

    def call_later(self, delay: float, call: Callable[[], object]) -> IDelayedCall:
        return self.clock.callLater(delay, call)


def test_lag_is_how_late_the_call_came() -> None:
    clock, seen = HostClock(), list[float]()
    probe = ReactorLag(clock, seen.append)
    probe.start()
    probe.start()

    clock.clock.advance(INTERVAL_SECONDS)
    clock.clock.advance(INTERVAL_SECONDS + 1.5)

    assert seen == [0.0, 1.5]


def test_a_stopped_probe_leaves_no_call_behind() -> None:
    clock, seen = HostClock(), list[float]()
    probe = ReactorLag(clock, seen.append)
    probe.start()

    probe.stop()
    probe.stop()

    assert clock.clock.getDelayedCalls() == []
    assert seen == []
