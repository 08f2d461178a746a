"""The leader's running stamp never goes back and never jumps."""

from types import SimpleNamespace
from typing import Any

from kraft.host.requests.leader_clock import LeaderClock
from tests.host.fakes import Clock

WALL = 1_700_000_000_000


def led(clock: Clock, last_stamp: int, vote_clocks: list[int]) -> LeaderClock:
    """The clock of a leader that was just elected with these clocks of its voters."""
    votes = {f"K{n}": wall for n, wall in enumerate(vote_clocks, 1)}
    log = SimpleNamespace(last_stamp=last_stamp)
    replica: Any = SimpleNamespace(term=1, log=log, vote_clocks=votes, electors=("K1", "K2", "K3"))
    return LeaderClock(replica, clock)


def test_a_term_starts_at_the_lower_median_of_the_voters_clocks():
    stamps = led(Clock(WALL), 0, [WALL + 60_000, WALL + 5, WALL - 60_000, WALL + 7])
    assert stamps.stamp() == WALL + 5


def test_a_term_never_starts_below_the_last_stamp_of_the_log():
    clock = Clock(WALL)
    stamps = led(clock, WALL + 999, [WALL])
    assert stamps.stamp() == WALL + 999
    clock.advance(0.5)
    assert stamps.stamp() == WALL + 1499


def test_it_follows_the_monotonic_clock_when_the_wall_clock_jumps():
    clock = Clock(WALL)
    stamps = led(clock, 0, [WALL])
    stamps.stamp()
    clock.wall += 3_600_000
    clock.advance(1.0)
    stamps.correct()
    assert stamps.stamp() == WALL + 1001  # one second and the most it may be pulled in one second


def test_it_is_pulled_back_but_never_goes_back():
    clock = Clock(WALL)
    stamps = led(clock, 0, [WALL])
    stamps.stamp()
    clock.wall -= 3_600_000
    seen = [stamps.stamp()]
    for _ in range(20):
        clock.advance(0.025)
        stamps.correct()
        seen.append(stamps.stamp())
    assert seen == sorted(seen)
    assert seen[-1] - WALL == 499  # half a second, less half a millisecond


def test_the_majority_of_the_voters_outweighs_a_leader_with_a_wrong_clock():
    clock = Clock(WALL + 50_000)
    stamps = led(clock, 0, [WALL, WALL, WALL + 50_000])
    stamps.stamp()
    for _ in range(10):
        clock.advance(1.0)
        for voter in ("K2", "K3"):
            stamps.heard(voter, clock.wall_ms() - 50_000)
        stamps.correct()
    assert abs(stamps.stamp() - (WALL + 10_000)) <= 1


def test_only_the_clocks_of_voters_count():
    clock = Clock(WALL)
    stamps = led(clock, 0, [WALL])
    stamps.stamp()
    stamps.heard("K2", WALL + 3)
    stamps.heard("K9", WALL + 90_000)
    assert stamps.offsets() == {"K2": 3}
