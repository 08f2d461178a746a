"""Reactor lag."""

from kraft.telemetry.probe import INTERVAL_SECONDS, ReactorProbe
from tests.telemetry.clock import HostClock


def test_lag_is_how_late_the_call_came() -> None:
    clock, seen = HostClock(), list[float]()
    probe = ReactorProbe(clock, seen.append)
    probe.start()
    probe.start()

    clock.clock.advance(INTERVAL_SECONDS)
    clock.clock.advance(INTERVAL_SECONDS + 1.5)

    assert seen == [0.0, 1.5]


def test_a_stopped_probe_leaves_no_call_behind() -> None:
    clock, seen = HostClock(), list[float]()
    probe = ReactorProbe(clock, seen.append)
    probe.start()

    probe.stop()
    probe.stop()

    assert clock.clock.getDelayedCalls() == []
    assert seen == []
