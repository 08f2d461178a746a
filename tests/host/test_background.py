"""Work in the background: in turn, and never two turns at a time."""

from collections.abc import Iterator

import pytest

from kraft.host.background import LONG, PAUSE_SECONDS, Background
from tests.host.fakes import Clock


class Work:
    """What was done, in its order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.background = Background(self.clock)
        self.done: list[str] = []

    def add(self, name: str, steps: int = 3, failing: int = -1) -> None:
        """Add `steps` steps; the one with the number `failing` raises an error."""
        self.background.add(self._steps(name, steps, failing))

    def add_chain(self, length: int) -> None:
        """Add work that adds the same again, but shorter."""
        self.background.add(self._chain(length))

    def add_long(self, name: str) -> None:
        """Add work whose second step of three is long."""
        self.background.add(self._long(name))

    def _long(self, name: str) -> Iterator[object]:
        for step in range(3):
            self.done.append(f"{name}{step}")
            yield LONG if step == 0 else None

    def _steps(self, name: str, steps: int, failing: int) -> Iterator[None]:
        for step in range(steps):
            if step == failing:
                raise ZeroDivisionError
            self.done.append(f"{name}{step}")
            yield

    def _chain(self, length: int) -> Iterator[None]:
        self.done.append(str(length))
        if length:
            self.add_chain(length - 1)
        yield


@pytest.fixture
def work() -> Work:
    return Work()


def test_the_steps_of_all_work_take_turns(work: Work) -> None:
    work.add("a")
    work.add("b")
    assert work.done == []
    work.clock.advance(1)
    assert work.done == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_turn_begins_with_a_long_step(work: Work) -> None:
    """It may take longer than a turn, so nothing comes before it."""
    work.add("a")
    work.add_long("b")
    work.clock.advance(PAUSE_SECONDS)
    assert work.done == ["a0", "b0"]
    work.clock.advance(PAUSE_SECONDS)
    assert work.done == ["a0", "b0", "b1", "a1", "b2", "a2"]


def test_work_may_add_work(work: Work) -> None:
    """Also the only work, whose turn is then the only one that is planned."""
    work.add_chain(300)
    work.clock.advance(1)
    assert work.done == [str(length) for length in range(300, -1, -1)]
    work.add("more")
    work.clock.advance(PAUSE_SECONDS)
    assert work.done[-3:] == ["more0", "more1", "more2"]


def test_an_error_costs_the_work_that_it_comes_from(work: Work) -> None:
    work.add("a", failing=1)
    work.add("b")
    with pytest.raises(ZeroDivisionError):
        work.clock.advance(1)
    work.clock.advance(1)
    assert work.done == ["a0", "b0", "b1", "b2"]
