"""The leader's running stamp never goes back and never jumps, and is worked off where it is ahead."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kraft.host.requests.leader_clock import TOLERANCE_MS, LeaderClock
from tests.host.fakes import Clock

WALL = 1_700_000_000_000
DAY = 86_400_000
TICK = 0.025


class Events:
    """An observer that keeps the names of events, and what they are about."""

    def __init__(self):
        self.names: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.names.append(f"{name} {fields.get('peer', '')}".strip())


def led(
    clock: Clock, last_stamp: int, vote_clocks: dict[str, int], observer: Any = None
) -> tuple[LeaderClock, Any]:
    """The clock of K1, a leader that was just elected with these clocks of its voters, and its replica."""
    log = SimpleNamespace(last_stamp=last_stamp)
    replica: Any = SimpleNamespace(
        id="K1", term=1, log=log, vote_clocks=vote_clocks, electors=("K1", "K2", "K3")
    )
    stamps = LeaderClock(0, replica, clock, 1.0, cast(Any, observer or Events()))
    stamps.stamp()
    return stamps, replica


def ticks(stamps: LeaderClock, clock: Clock, seconds: float, **offsets_ms: int) -> None:
    """Let `seconds` pass, while the others answer with clocks that differ so from the true time."""
    for _ in range(round(seconds / TICK)):
        clock.advance(TICK)
        for voter, offset in offsets_ms.items():
            stamps.heard(voter, WALL + int(clock.now * 1000) + offset)
        stamps.correct()


def test_a_term_starts_at_the_lower_median_of_the_voters_clocks():
    stamps, _ = led(Clock(WALL + 60_000), 0, {"K1": WALL + 60_000, "K2": WALL + 5, "K3": WALL - 60_000})
    assert stamps.stamp() == WALL + 5


def test_of_two_clocks_the_earlier_one_counts():
    stamps, _ = led(Clock(WALL + DAY), 0, {"K1": WALL + DAY, "K2": WALL})
    assert stamps.stamp() == WALL


def test_a_term_never_starts_below_the_last_stamp_of_the_log():
    clock = Clock(WALL)
    stamps, _ = led(clock, WALL + 999, {"K1": WALL})
    assert stamps.stamp() == WALL + 999
    clock.advance(0.5)
    assert stamps.stamp() == WALL + 1498  # it is ahead of the clocks, and a little slow


def test_a_leader_whose_clock_is_a_day_ahead_stamps_by_the_others():
    """Its wall clock is stepped while it leads, and it is elected with such a clock."""
    clock, events = Clock(WALL), Events()
    stamps, replica = led(clock, 0, {"K1": WALL, "K2": WALL, "K3": WALL}, events)
    clock.wall += DAY
    ticks(stamps, clock, 10.0, K2=0, K3=3)
    assert stamps.stamp() - (WALL + 10_000) in range(-1, 4)
    assert stamps.off == {"K1"}
    assert events.names == ["clock_off K1"]
    replica.term, replica.vote_clocks = 2, {"K1": WALL + 10_000 + DAY, "K3": WALL + 10_003}
    assert stamps.stamp() - (WALL + 10_000) in range(5)
    clock.wall -= DAY
    ticks(stamps, clock, 1.0, K2=0, K3=3)
    assert stamps.off == frozenset()
    assert events.names == ["clock_off K1", "clock_off K1", "clock_right K1"]


@pytest.mark.parametrize("wrong", [-DAY, DAY])
def test_a_voter_whose_clock_is_wrong_is_named_and_changes_nothing(wrong):
    clock, events = Clock(WALL), Events()
    stamps, _ = led(clock, 0, {"K1": WALL, "K2": WALL}, events)
    ticks(stamps, clock, 5.0, K2=0, K3=wrong)
    assert abs(stamps.stamp() - (WALL + 5000)) <= 1
    assert stamps.off == {"K3"}
    assert stamps.offsets() == {"K2": 0, "K3": wrong}
    assert stamps.offset() == 0
    assert events.names == ["clock_off K3"]


def test_log_time_that_is_ahead_runs_at_half_speed_until_the_clocks_have_caught_up():
    clock, events = Clock(WALL), Events()
    stamps, _ = led(clock, WALL + 20_000, {"K1": WALL, "K2": WALL, "K3": WALL}, events)
    assert stamps.stamp() == WALL + 20_000
    assert events.names == ["log_time_off"]
    ticks(stamps, clock, 10.0, K2=0, K3=0)
    assert abs(stamps.stamp() - (WALL + 25_000)) <= 2
    assert round(stamps.lead_ms) == 15_000
    ticks(stamps, clock, 30.1, K2=0, K3=0)
    assert abs(stamps.stamp() - (WALL + 40_100)) <= 2
    assert events.names == ["log_time_off", "log_time_right"]
    ticks(stamps, clock, 10.0, K2=0, K3=0)
    assert abs(stamps.stamp() - (WALL + 50_100)) <= 2


def test_log_time_goes_on_after_a_pause_while_it_is_ahead():
    """What is stamped before the first tick after the pause is no later than the tick makes of it.

    Else log time stands still for as long as the pause, and nothing expires.
    """
    clock = Clock(WALL)
    stamps, replica = led(clock, WALL + 600_000, {"K1": WALL, "K2": WALL, "K3": WALL})
    ticks(stamps, clock, 1.0, K2=0, K3=0)
    before = stamps.stamp()
    clock.advance(120.0)
    replica.log.last_stamp = stamps.stamp()
    assert abs(replica.log.last_stamp - (before + 60_000)) <= 1
    ticks(stamps, clock, 10.0, K2=0, K3=0)
    assert abs(stamps.stamp() - (before + 65_000)) <= 20


def test_log_time_that_is_late_catches_up_without_a_jump():
    """Most clocks were an hour late, and are set right while a leader is in office."""
    clock = Clock(WALL)
    stamps, _ = led(clock, 0, {"K1": WALL - 3_600_000, "K2": WALL - 3_600_000})
    begun = stamps.stamp()
    ticks(stamps, clock, 10.0, K2=0, K3=0)
    assert stamps.stamp() - begun in range(10_000, 11_002)


def test_a_single_node_follows_its_own_clock_slowly_in_both_directions():
    for jump, pace in ((3_600_000, 1.1), (-3_600_000, 0.5)):
        clock = Clock(WALL)
        stamps, replica = led(clock, 0, {"K1": WALL})
        replica.electors = ("K1",)
        clock.wall += jump
        seen = [stamps.stamp()]
        for _ in range(40):
            ticks(stamps, clock, TICK)
            seen.append(stamps.stamp())
        assert seen == sorted(seen)
        assert abs(seen[-1] - (WALL + 1000 * pace)) <= 2 + 500 * TICK  # the first tick finds the clock wrong


def test_small_differences_are_corrected_gently():
    clock = Clock(WALL)
    stamps, _ = led(clock, WALL + 900, {"K1": WALL, "K2": WALL, "K3": WALL})
    ticks(stamps, clock, 10.0, K2=0, K3=0)
    assert stamps.stamp() in range(WALL + 10_889, WALL + 10_892)


def test_an_answer_that_was_long_on_its_way_does_not_make_its_clock_late():
    clock = Clock(WALL)
    stamps, _ = led(clock, 0, {"K1": WALL, "K2": WALL, "K3": WALL})
    ticks(stamps, clock, 1.0, K2=0, K3=0)
    stamps.heard("K2", WALL - 9000)
    stamps.heard("K3", WALL - 9000)
    stamps.correct()
    assert stamps.off == frozenset()
    assert stamps.offsets() == {"K2": 0, "K3": 0}


def test_a_clock_that_is_set_back_is_noticed_within_a_few_answers():
    clock = Clock(WALL)
    stamps, _ = led(clock, 0, {"K1": WALL, "K2": WALL, "K3": WALL})
    ticks(stamps, clock, 1.0, K2=0, K3=0)
    ticks(stamps, clock, 1.0, K2=-DAY, K3=0)
    assert stamps.off == {"K2"}


def test_only_the_clocks_of_voters_count():
    clock = Clock(WALL)
    stamps, _ = led(clock, 0, {"K1": WALL})
    stamps.heard("K2", WALL + 3)
    stamps.heard("K9", WALL + 90_000)
    assert stamps.offsets() == {"K2": 3}


# -- expiries that log time would reach too early


def premature(lead_ms: int) -> range:
    clock = Clock(WALL)
    stamps, _ = led(clock, WALL + lead_ms, {"K1": WALL, "K2": WALL, "K3": WALL})
    return stamps.premature


def test_nothing_is_premature_while_log_time_and_clocks_agree():
    assert not premature(int(TOLERANCE_MS))
    assert not premature(-DAY)


def test_within_the_bound_what_log_time_has_passed_is_premature():
    times = premature(800)
    assert [t - WALL in (1, 800) for t in (times[0], times[-1])] == [True, True]


def test_beyond_the_bound_everything_before_the_clocks_catch_up_is_premature():
    """Log time runs at half speed: what is due before they meet would be reached too early."""
    times = premature(DAY)
    assert WALL not in times  # in the past by every clock
    assert WALL + 3_600_000 in times
    assert WALL + DAY + 3_600_000 in times
    assert WALL + 2 * DAY in times
    assert WALL + 2 * DAY + 1 not in times


def test_a_new_term_knows_at_once_what_is_premature():
    clock = Clock(WALL)
    stamps, replica = led(clock, WALL, {"K1": WALL, "K2": WALL, "K3": WALL})
    replica.term, replica.log.last_stamp = 2, WALL + DAY
    stamps.start()
    assert WALL + 1000 in stamps.premature
