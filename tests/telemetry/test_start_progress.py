"""A state that takes long to load, a log that takes long to replay: events, and words for whoever watches."""

import pytest

from kraft.telemetry.start_progress import StartProgress


class Events:
    def __init__(self):
        self.logged = []

    def log(self, event, **fields):
        self.logged.append((event, fields))


@pytest.fixture
def start():
    """`progress, events, told, at(seconds)` of one start."""
    events, now = Events(), [100.0]
    told: list[str] = []
    progress = StartProgress(events, lambda: now[0])  # type: ignore[arg-type]
    progress.watch(told.append)

    def at(seconds):
        now[0] = 100.0 + seconds

    return progress, events, told, at


def test_what_is_done_at_once_is_not_worth_a_word(start):
    progress, events, told, at = start
    progress.loading(0, 1, 1000)
    progress.replaying(0, 1, 1000)
    at(0.9)
    progress.loading(0, 900, 1000)
    progress.loaded(0)
    progress.replaying(0, 1000, 1000)
    assert (events.logged, told) == ([], [])


def test_a_state_that_takes_long_begins_and_ends_with_an_event(start):
    progress, events, told, at = start
    for tenth in range(31):
        at(tenth / 10)
        progress.loading(0, 40_000 * tenth, 1_200_000)
    progress.loaded(0)
    assert events.logged == [
        ("state_loading", {"group": 0, "keys": 400_000, "of": 1_200_000}),
        ("state_loaded", {"group": 0, "seconds": 3.0}),
    ]
    assert told[0] == "loads its data: 400,000 of 1,200,000 keys (33 %)"
    assert "keys (9" in told[-1]
    assert 8 <= len(told) <= 12  # not at every step


def test_a_log_that_takes_long_is_told_like_a_state(start):
    progress, events, told, at = start
    for tenth in range(31):
        at(tenth / 10)
        progress.replaying(0, 10_000 * tenth, 300_000)
    assert events.logged == [("log_replaying", {"group": 0, "entries": 100_000, "of": 300_000})]
    assert told[0] == "replays its log: 100,000 of 300,000 entries (33 %)"
    assert "entries (9" in told[-1]
    assert 8 <= len(told) <= 12


def test_the_log_is_told_again_at_intervals(start):
    progress, events, _, at = start
    for second in range(31):
        at(float(second))
        progress.replaying(0, second, 31)
    assert [fields["entries"] for _, fields in events.logged] == [1, 11, 21]


def test_a_second_replay_takes_its_own_time(start):
    """After a state was replaced by a snapshot, long after the start."""
    progress, events, told, at = start
    progress.replaying(0, 1, 2)
    progress.replaying(0, 2, 2)
    at(100.0)
    progress.replaying(0, 1, 2)
    at(100.9)
    progress.replaying(0, 2, 2)
    assert (events.logged, told) == ([], [])


def test_a_state_that_came_as_a_snapshot_has_no_such_event(start):
    progress, events, _, _ = start
    progress.loaded(0)
    assert events.logged == []
