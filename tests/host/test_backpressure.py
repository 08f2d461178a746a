"""Clients are paused when too many writes wait, and go on when half of them are logged."""

from kraft.host.backpressure import COUNTED_BYTES, Backpressure


def test_saturated_counts_the_writes_of_all_groups():
    pressure = Backpressure(10)
    pressure.add(6, 60)
    pressure.add(3, 30)
    assert not pressure.saturated
    pressure.add(1, 10)
    assert pressure.saturated
    pressure.add(-6, -60)
    assert not pressure.saturated


def test_large_writes_count_as_several():
    pressure = Backpressure(10)
    pressure.add(1, 9 * COUNTED_BYTES - 1)
    assert not pressure.saturated
    pressure.add(0, 1)
    assert pressure.saturated


def test_relief_comes_once_at_half():
    pressure, calls = Backpressure(10), []
    pressure.add(10, 0)
    pressure.on_relief(lambda: calls.append("on"))
    pressure.add(-4, 0)
    pressure.relieve()
    assert calls == []
    pressure.add(-1, 0)
    pressure.relieve()
    pressure.relieve()
    assert calls == ["on"]
