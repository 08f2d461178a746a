"""A state that takes long to load: two events, and words for whoever watches."""

import pytest

from kraft.telemetry.loading import StateLoading


class Events:
    def __init__(self):
        self.logged = []

    def log(self, event, **fields):
        self.logged.append((event, fields))


@pytest.fixture
def start():
    """`loading, events, told, at(seconds)` of one start."""
    events, now = Events(), [100.0]
    told: list[str] = []
    loading = StateLoading(events, lambda: now[0])  # type: ignore[arg-type]
    loading.watch(told.append)

    def at(seconds):
        now[0] = 100.0 + seconds

    return loading, events, told, at


def test_a_state_that_is_loaded_at_once_is_not_worth_a_word(start):
    loading, events, told, at = start
    loading.progressed(0, 1, 1000)
    at(0.9)
    loading.progressed(0, 900, 1000)
    loading.finished(0)
    assert (events.logged, told) == ([], [])


def test_one_that_takes_long_begins_and_ends_with_an_event(start):
    loading, events, told, at = start
    for tenth in range(31):
        at(tenth / 10)
        loading.progressed(0, 40_000 * tenth, 1_200_000)
    loading.finished(0)
    assert events.logged == [
        ("state_loading", {"group": 0, "keys": 1_200_000}),
        ("state_loaded", {"group": 0, "seconds": 3.0}),
    ]
    assert told[0] == "loads its data: 400,000 of 1,200,000 keys (33 %)"
    assert "keys (9" in told[-1]
    assert 8 <= len(told) <= 12  # not at every step


def test_a_state_that_came_as_a_snapshot_has_no_such_event(start):
    loading, events, _, _ = start
    loading.finished(0)
    assert events.logged == []
