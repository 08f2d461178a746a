"""A speed limit that charges each chunk after it is sent."""

from kraft.host.snapshots.throttle import Throttle


def test_a_chunk_is_charged_after_it_is_sent():
    pace = Throttle(1000)
    assert pace.wait(10.0) == 0.0
    pace.spend(500, 10.0)
    assert pace.wait(10.0) == 0.5
    assert pace.wait(10.4) > 0.0
    assert pace.wait(10.5) == 0.0


def test_debts_add_up_and_quiet_times_save_nothing():
    pace = Throttle(1000)
    pace.spend(500, 10.0)
    pace.spend(500, 10.0)
    assert pace.wait(10.0) == 1.0
    pace.spend(100, 100.0)
    assert pace.wait(100.0) > 0.09


def test_without_a_limit_no_chunk_waits():
    pace = Throttle(0)
    pace.spend(1 << 40, 1.0)
    assert pace.wait(1.0) == 0.0
