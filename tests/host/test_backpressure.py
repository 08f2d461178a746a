"""Clients are paused when too many writes wait, and go on when half of them are logged."""

from dataclasses import dataclass

from kraft.host.backpressure import COUNTED_BYTES, Backpressure


@dataclass
class Waiting:
    """Writes that wait, of `waiting_bytes` together."""

    count: int
    waiting_bytes: int = 0

    @property
    def waiting(self):
        return range(self.count)


def test_saturated_counts_the_writes_of_all_groups():
    pressure = Backpressure(10)
    pressure.report(0, Waiting(6))
    pressure.report(1, Waiting(3))
    assert not pressure.saturated
    pressure.report(1, Waiting(4))
    assert pressure.saturated
    pressure.report(0, Waiting(0))
    assert not pressure.saturated


def test_large_writes_count_as_several():
    pressure = Backpressure(10)
    pressure.report(0, Waiting(1, 9 * COUNTED_BYTES - 1))
    assert not pressure.saturated
    pressure.report(0, Waiting(1, 9 * COUNTED_BYTES))
    assert pressure.saturated


def test_relief_comes_once_at_half():
    pressure, calls = Backpressure(10), []
    pressure.report(0, Waiting(10))
    pressure.on_relief(lambda: calls.append("on"))
    pressure.report(0, Waiting(6))
    pressure.relieve()
    assert calls == []
    pressure.report(0, Waiting(5))
    pressure.relieve()
    pressure.relieve()
    assert calls == ["on"]
