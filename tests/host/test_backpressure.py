"""Clients are paused when too many writes wait, and go on when half of them are logged."""

from kraft.host.backpressure import Backpressure


def test_saturated_counts_the_writes_of_all_groups():
    pressure = Backpressure(10)
    pressure.report(0, 6)
    pressure.report(1, 3)
    assert not pressure.saturated
    pressure.report(1, 4)
    assert pressure.saturated
    pressure.report(0, 0)
    assert not pressure.saturated


def test_relief_comes_once_at_half():
    pressure, calls = Backpressure(10), []
    pressure.report(0, 10)
    pressure.on_relief(lambda: calls.append("on"))
    pressure.report(0, 6)
    pressure.relieve()
    assert calls == []
    pressure.report(0, 5)
    pressure.relieve()
    pressure.relieve()
    assert calls == ["on"]
