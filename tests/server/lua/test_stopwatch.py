"""The clock of a script: that on the wall, but at most a few times what it has used of the processor."""

import pytest

from kraft.server.lua import runtime
from kraft.server.lua.runtime import USED_SECONDS, WAITED, Stopwatch


class Times:
    """The clock on the wall, and the processor time of the thread; `looks` counts who asks for the second."""

    wall = used = 0.0
    looks = 0

    def thread_time(self) -> float:
        self.looks += 1
        return self.used


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    times = Times()
    monkeypatch.setattr(runtime, "monotonic", lambda: times.wall)
    monkeypatch.setattr(runtime, "thread_time", times.thread_time)
    return times


def test_a_script_that_waits_for_the_processor_has_taken_less(times: Times) -> None:
    stopwatch = Stopwatch()
    times.wall, times.used = 100.0, 50.0
    stopwatch.begin()
    times.wall += 1.0
    times.used += 0.01
    assert stopwatch() == pytest.approx(WAITED * 0.01)
    times.used += 0.9
    assert stopwatch() == pytest.approx(1.0)


def test_scripts_that_follow_each_other_ask_once_for_the_processor_time(times: Times) -> None:
    stopwatch = Stopwatch()
    for _ in range(10):
        stopwatch.begin()
        times.wall += USED_SECONDS / 20
    assert times.looks == 1


def test_a_long_script_before_it_counts_for_nothing(times: Times) -> None:
    stopwatch = Stopwatch()
    stopwatch.begin()
    times.wall += 1.0
    times.used += 1.0
    stopwatch.begin()
    times.wall += 1.0
    assert stopwatch() == 0.0
