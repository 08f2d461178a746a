"""What becomes of an error of whoever is given a reply."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.context import GroupContext
from kraft.kv.errors import BrokenInvariant
from kraft.raft.errors import InvariantViolation
from tests.host.fakes import Clock


def shared(clock: Clock, told: list[str]) -> GroupContext:
    nothing: Any = SimpleNamespace()
    return GroupContext(
        clock=clock,
        disk=nothing,
        persistence=nothing,
        slowness=nothing,
        backpressure=nothing,
        observer=nothing,
        peers=nothing,
        turns=nothing,
        fatal=told.append,  # type: ignore[arg-type]
    )


def test_a_mistake_is_logged_and_nobody_stops() -> None:
    clock, told = Clock(), list[str]()
    shared(clock, told).not_taken(RuntimeError("planted"))
    assert not told
    with pytest.raises(RuntimeError, match="planted"):
        clock.advance(0)


@pytest.mark.parametrize("error", [InvariantViolation("planted"), BrokenInvariant("planted")])
def test_a_state_that_cannot_be_ends_the_process(error: Exception) -> None:
    """Whoever takes a reply goes on with the work of its group, such as a coordinator or a mover."""
    told = list[str]()
    shared(Clock(), told).not_taken(error)
    assert "planted" in told[0]
