"""The last minutes, second by second."""

from kraft.telemetry.metrics.buckets import SECONDS_BUCKETS
from kraft.telemetry.metrics.declarations import COMMAND_DURATION
from kraft.telemetry.metrics.holders import HistogramHolder
from kraft.telemetry.recent.history import SECONDS_KEPT, Recorder, Traffic, added, quantile_ms, traffic
from tests.telemetry.clock import HostClock


class Recorded:
    """A recorder of one class, `read`."""

    def __init__(self, epoch: float = 1000.0) -> None:
        self.clock = HostClock(epoch)
        self.spread = HistogramHolder(COMMAND_DURATION, ("read",))
        self.recorder = Recorder(self.clock.wall_seconds, {"read": lambda: self.spread.counts("read")})
        self.recorder.start(self.clock)

    def after(self, seconds: float) -> tuple[int, tuple[tuple[int, ...], ...]]:
        """Newest second and columns when so much time has passed."""
        self.clock.clock.advance(seconds)
        history = self.recorder.history()
        return history.newest, history.classes["read"]


def test_a_column_has_what_one_second_added() -> None:
    recorded = Recorded()
    recorded.spread.observe(0.0001, "read", count=3)
    assert recorded.after(1.0) == (1000, ((3,),))

    recorded.spread.observe(0.003, "read")
    assert recorded.after(1.0) == (1001, ((3,), (0, 0, 0, 1)))
    assert recorded.after(1.0) == (1002, ((3,), (0, 0, 0, 1), ()))


def test_columns_begin_with_seconds_of_the_wall_clock() -> None:
    """So that those of several nodes tell of the same seconds, wherever each began."""
    recorded = Recorded(epoch=1000.7)
    assert recorded.after(0.29)[1] == ()
    assert recorded.after(0.01 + 1.0) == (1001, ((),))


def test_a_second_in_which_nothing_ran_is_a_gap_and_not_a_shift() -> None:
    recorded = Recorded()
    recorded.after(1.0)
    recorded.spread.observe(0.0001, "read")

    newest, columns = recorded.after(3.2)

    assert (newest, columns) == (1003, ((), (), (), (1,)))


def test_so_many_seconds_are_kept_and_no_more() -> None:
    recorded = Recorded()
    for _ in range(SECONDS_KEPT + 5):
        newest, columns = recorded.after(1.0)

    assert (newest, len(columns)) == (1000 + SECONDS_KEPT + 4, SECONDS_KEPT)


def test_a_long_gap_keeps_no_more_columns_either() -> None:
    recorded = Recorded()
    recorded.after(1.0)

    newest, columns = recorded.after(10.0 * SECONDS_KEPT)

    assert newest == 1000 + 10 * SECONDS_KEPT
    assert len(columns) == SECONDS_KEPT


def test_a_clock_that_is_set_back_begins_anew() -> None:
    recorded = Recorded()
    recorded.after(5.0)
    recorded.clock.epoch -= 3600

    newest, columns = recorded.after(1.0)

    assert (newest, columns) == (1005 - 3600, ((),))


def test_a_stopped_recorder_leaves_no_call_behind() -> None:
    recorded = Recorded()
    recorded.recorder.start(recorded.clock)

    recorded.recorder.stop()
    recorded.recorder.stop()

    assert recorded.clock.clock.getDelayedCalls() == []


def test_quantiles_are_those_of_prometheus() -> None:
    """histogram_quantile over the same buckets: linear within one, from 0 below the first."""
    assert quantile_ms((), 0.5) is None
    assert quantile_ms((0, 0), 0.5) is None
    assert quantile_ms((10,), 0.5) == 0.25
    assert quantile_ms((0, 100), 0.99) == 0.995
    assert quantile_ms((50, 50), 0.5) == 0.5
    above = (0,) * len(SECONDS_BUCKETS) + (1,)
    assert quantile_ms(above, 0.5) == 1000 * SECONDS_BUCKETS[-1]


def test_columns_of_any_length_add_up() -> None:
    assert added([(1, 2), (), (0, 0, 3)]) == (1, 2, 3)
    assert added([]) == ()


def test_traffic_is_over_the_last_seconds_only() -> None:
    assert traffic([(100,), (2,), (4,)], 2) == Traffic(3.0, 0.25, 0.495)
    assert traffic([], 10) == Traffic(0.0, None, None)
