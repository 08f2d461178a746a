"""Gathering: from poll to poll as long as each brings more, and never for longer."""

from kraft.host.requests.coalescing import POLLS_MAX, Coalescer
from tests.host.fakes import Clock


class Story:
    """Clients who ask again, poll after poll."""

    def __init__(self, *demands: int) -> None:
        self.clock = Clock()
        self.demands = list(demands)
        self.polls = 0
        self.over = 0
        self.gathering = Coalescer(self.clock, self.demand, self.ended)

    def demand(self) -> int:
        self.polls += 1
        return self.demands.pop(0)

    def ended(self) -> None:
        self.over += 1

    def run(self) -> None:
        self.gathering.begin()
        assert self.gathering.under_way
        self.clock.advance()
        assert not self.gathering.under_way


def test_it_ends_with_the_poll_that_brings_nothing_more() -> None:
    story = Story(3, 5, 5, 9)
    story.run()

    assert (story.polls, story.over) == (3, 1)


def test_it_ends_at_once_when_nobody_asks() -> None:
    story = Story(0)
    story.run()

    assert (story.polls, story.over) == (1, 1)


def test_clients_without_end_do_not_hold_it_up() -> None:
    story = Story(*range(1, 100))
    story.run()

    assert (story.polls, story.over) == (POLLS_MAX, 1)


def test_begun_again_while_it_is_under_way_it_goes_on_as_it_was() -> None:
    story = Story(3, 5, 5)
    story.gathering.begin()
    story.run()

    assert (story.polls, story.over) == (3, 1)


def test_each_begins_anew() -> None:
    story = Story(7, 7, 1, 2, 2)
    story.run()
    story.run()

    assert (story.polls, story.over) == (5, 2)
