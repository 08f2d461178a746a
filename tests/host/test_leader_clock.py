"""The leader's running stamp never goes back and never jumps."""

from kraft.host.requests.leader_clock import LeaderClock
from tests.host.fakes import Clock

WALL = 1_700_000_000_000


def test_a_term_starts_at_the_lower_median_of_the_voters_clocks():
    stamps = LeaderClock(Clock(WALL))
    stamps.lead(0, [WALL + 60_000, WALL + 5, WALL - 60_000, WALL + 7])
    assert stamps.now() == WALL + 5


def test_a_term_never_starts_below_the_last_stamp_of_the_log():
    stamps = LeaderClock(Clock(WALL))
    stamps.lead(WALL + 999, [WALL])
    assert stamps.now() == WALL + 999


def test_it_follows_the_monotonic_clock_when_the_wall_clock_jumps():
    clock = Clock(WALL)
    stamps = LeaderClock(clock)
    stamps.lead(0, [WALL])
    clock.wall += 3_600_000
    clock.advance(1.0)
    stamps.correct()
    assert stamps.now() == WALL + 1001  # one second and the most it may be pulled in one second


def test_it_is_pulled_back_but_never_goes_back():
    clock = Clock(WALL)
    stamps = LeaderClock(clock)
    stamps.lead(0, [WALL])
    clock.wall -= 3_600_000
    seen = [stamps.now()]
    for _ in range(20):
        clock.advance(0.025)
        stamps.correct()
        seen.append(stamps.now())
    assert seen == sorted(seen)
    assert seen[-1] - WALL == 499  # half a second, less half a millisecond


def test_the_majority_of_the_voters_outweighs_a_leader_with_a_wrong_clock():
    clock = Clock(WALL + 50_000)
    stamps = LeaderClock(clock)
    stamps.lead(0, [WALL, WALL, WALL + 50_000])
    for _ in range(10):
        clock.advance(1.0)
        stamps.heard("K2", clock.wall_ms() - 50_000)
        stamps.heard("K3", clock.wall_ms() - 50_000)
        stamps.correct()
    assert abs(stamps.now() - (WALL + 10_000)) <= 1
