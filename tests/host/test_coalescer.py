"""Coalescing goes on from poll to poll until a few in a row bring no more, and never for longer."""

from typing import Any

from kraft.host.requests.coalescer import EMPTY_POLLS_MAX, POLLS_MAX, Coalescer
from tests.host.fakes import Clock


class Polled:
    """Proposals, or read rounds: how many requests wait in each poll."""

    def __init__(self, demands: list[int]) -> None:
        self.demands = demands
        self.polls = 0

    @property
    def waiting(self) -> range:
        self.polls += 1
        return range(self.demands.pop(0))


class Story:
    """Clients that ask again, poll after poll: some write, and some read."""

    def __init__(self, *demands: int) -> None:
        self.clock = Clock()
        self.writes = Polled([demand // 2 for demand in demands])
        self.reads = Polled([demand - demand // 2 for demand in demands])
        self.over = 0
        proposals: Any = self.writes
        rounds: Any = self.reads
        turns: Any = self
        self.coalescer = Coalescer(0, proposals, rounds, self.clock, turns)

    @property
    def polls(self) -> int:
        assert self.writes.polls == self.reads.polls
        return self.writes.polls

    def wake(self, group: int) -> None:
        self.over += 1

    def run(self) -> None:
        self.coalescer.begin()
        assert self.coalescer.under_way
        self.clock.advance()
        assert not self.coalescer.under_way


def test_coalescing_ends_after_a_few_polls_that_bring_no_more() -> None:
    story = Story(3, 5, *[5] * EMPTY_POLLS_MAX, 9)
    story.run()

    assert (story.polls, story.over) == (2 + EMPTY_POLLS_MAX, 1)


def test_a_poll_that_brings_more_lets_the_next_ones_be_empty_again() -> None:
    empty = EMPTY_POLLS_MAX - 1
    story = Story(3, *[3] * empty, 5, *[5] * EMPTY_POLLS_MAX)
    story.run()

    assert (story.polls, story.over) == (1 + empty + 1 + EMPTY_POLLS_MAX, 1)


def test_coalescing_ends_soon_without_requests() -> None:
    story = Story(*[0] * EMPTY_POLLS_MAX)
    story.run()

    assert (story.polls, story.over) == (EMPTY_POLLS_MAX, 1)


def test_an_endless_stream_of_clients_does_not_hold_it_up() -> None:
    story = Story(*range(1, 100))
    story.run()

    assert (story.polls, story.over) == (POLLS_MAX, 1)


def test_a_second_begin_changes_nothing() -> None:
    story = Story(3, 5, *[5] * EMPTY_POLLS_MAX)
    story.coalescer.begin()
    story.run()

    assert (story.polls, story.over) == (2 + EMPTY_POLLS_MAX, 1)


def test_each_run_begins_anew() -> None:
    story = Story(7, *[7] * EMPTY_POLLS_MAX, 1, 2, *[2] * EMPTY_POLLS_MAX)
    story.run()
    story.run()

    assert (story.polls, story.over) == (1 + EMPTY_POLLS_MAX + 2 + EMPTY_POLLS_MAX, 2)
