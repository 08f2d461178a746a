"""A speed limit that is paid for afterwards."""

from kraft.host.snapshots.throttle import Throttle


def test_what_was_sent_is_waited_for():
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


def test_without_a_limit_nobody_waits():
    pace = Throttle(0)
    pace.spend(1 << 40, 1.0)
    assert pace.wait(1.0) == 0.0
