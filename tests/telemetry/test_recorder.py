"""The history of a node, second by second and in the wider columns of longer ranges."""

from kraft.telemetry.metrics.declarations import COMMAND_DURATION
from kraft.telemetry.metrics.holders import HistogramHolder
from kraft.telemetry.recent.history import RANGES, SECONDS_KEPT
from kraft.telemetry.recent.recorder import Recorder, Ring
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
    for _ in range(3):
        recorded.spread.observe(0.0001, "read")
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


def test_longer_ranges_have_the_same_in_wider_columns() -> None:
    recorded = Recorded(epoch=1010.0)
    for _ in range(20):
        recorded.spread.observe(0.0001, "read")
        recorded.spread.observe(0.0001, "read")
        recorded.after(1.0)

    hour, day = recorded.recorder.longer()

    assert (hour.step, hour.newest, hour.classes["read"]) == (15, 1020, ((20,), (20,)))
    assert (day.step, day.newest, day.classes["read"]) == (300, 900, ((40,),))
    assert {(each.since, each.until) for each in (hour, day)} == {(1010, 1030)}


def test_a_ring_keeps_its_range_and_no_more() -> None:
    hour = RANGES[1]
    ring = Ring(hour, ("read",))
    for second in range(hour.seconds + 10 * hour.step):
        ring.add(second, {"read": (1,)})

    history = ring.history()

    assert history.classes["read"] == ((hour.step,),) * hour.count
    assert (history.since, history.until) == (10 * hour.step, hour.seconds + 10 * hour.step)


def test_a_column_of_a_ring_counts_what_was_recorded_in_it() -> None:
    """Seconds in which nothing ran are gaps in it, and whole columns of them are empty."""
    ring = Ring(RANGES[1], ("read",))
    for second in (100, 101, 105, 150):
        ring.add(second, {"read": (1,)})
    history = ring.history()
    assert (history.newest, history.classes["read"]) == (150, ((2,), (1,), (), (), (1,)))


def test_a_small_step_back_of_the_clock_costs_no_column() -> None:
    for range_ in RANGES:
        ring = Ring(range_, ("read",))
        for second in (30_000, 30_001, 30_000, 30_002):
            ring.add(second, {"read": (1,)})
        assert sum(map(sum, ring.history().classes["read"])) == 4, range_
        ring.add(30_000 - 2 * range_.step, {"read": (1,)})
        assert ring.history().classes["read"] == ((1,),), range_
