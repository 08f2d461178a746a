"""A body for many who ask: never older than a request, and never more than a part of the reactor's time."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from kraft.web.limits import PAUSE_SECONDS_MAX, WORK_SHARE
from kraft.web.shared_body import SharedBody


class Source:
    """Bodies that say when they were begun, each of `slices` slices of `cost` virtual seconds."""

    def __init__(self, cost: float = 0.002, slices: int = 1) -> None:
        self.clock = Clock()
        self.cost = cost
        self.slices = slices
        self.begun: list[float] = []
        self.worked = 0.0
        self.body = SharedBody(self.pieces, self.clock)

    def get(self) -> Deferred[bytes]:
        """The body, for a request that has just arrived."""
        return self.body.get(self.clock.seconds())

    def pieces(self) -> Iterator[bytes]:
        self.begun.append(self.clock.seconds())
        yield repr(self.clock.seconds()).encode()
        for _ in range(self.slices):
            self.clock.rightNow += self.cost
            self.worked += self.cost
            yield b""


def given_(waiting: Deferred[bytes]) -> float | None:
    """When the body began that `waiting` was given; None while it waits."""
    got: list[bytes] = []
    if waiting.called:
        waiting.addCallback(got.append)
    return float(got[0]) if got else None


def test_one_who_asks_after_a_while_gets_a_new_body_at_once() -> None:
    source = Source(cost=0.001)
    for seconds in (0.0, 1.0, 1.1):
        source.clock.rightNow = seconds
        assert given_(source.get()) == seconds


def test_one_who_asks_again_at_once_gets_a_newer_body_after_a_pause() -> None:
    """Not the one from before the change that he has just made."""
    source = Source(cost=0.001)
    assert given_(source.get()) == 0.0
    again = source.get()
    assert given_(again) is None

    source.clock.advance(0.001 / WORK_SHARE)

    began = given_(again)
    assert began is not None
    assert began >= 0.001


def test_those_who_ask_while_a_body_is_made_share_the_next() -> None:
    source = Source(slices=3)
    first = source.get()
    assert given_(first) is None
    late = [source.get() for _ in range(100)]
    for _ in range(3):
        source.clock.advance(0)
    assert given_(first) == 0.0
    assert all(given_(each) is None for each in late)

    source.clock.advance(0.006 / WORK_SHARE)
    for _ in range(3):
        source.clock.advance(0)

    assert len({given_(each) for each in late}) == 1
    assert len(source.begun) == 2


def test_those_who_asked_before_it_was_begun_share_a_body_that_is_there() -> None:
    """The requests of a pipeline arrive at once, and are taken one after the other."""
    source = Source(slices=2)
    source.clock.rightNow = 5.0
    source.body.get(4.9)
    joins = source.body.get(5.0)
    source.clock.advance(0)
    later = source.body.get(4.9)
    assert given_(joins) == given_(later) == 5.0
    assert source.begun == [5.0]


def test_a_costly_body_waits_for_a_second_at_most() -> None:
    source = Source(cost=0.5)
    source.get()
    later = source.get()
    source.clock.advance(0)
    source.clock.advance(PAUSE_SECONDS_MAX)
    source.clock.advance(0)
    assert source.begun == [0.0, 0.5 + PAUSE_SECONDS_MAX]
    source.clock.advance(0)
    assert given_(later) == source.begun[1]


def test_one_who_leaves_in_the_pause_ends_it_for_himself_only() -> None:
    source = Source(cost=0.001)
    source.get()
    gone, stays = source.get(), source.get()
    gone.addErrback(lambda failure: failure.trap(CancelledError) and None)
    gone.cancel()
    source.clock.advance(0.01)
    assert given_(stays) is not None

    gone = source.get()
    gone.addErrback(lambda failure: failure.trap(CancelledError) and None)
    gone.cancel()
    assert source.clock.getDelayedCalls() == []


def test_pieces_that_cannot_be_begun_are_a_failure_of_one_body() -> None:
    def broken() -> Iterator[bytes]:
        raise ValueError

    clock = Clock()
    body = SharedBody(broken, clock)
    for _ in range(2):
        failures: list[object] = []
        body.get(clock.seconds()).addErrback(failures.append)
        assert len(failures) == 1


_STEPS = st.lists(
    st.tuples(st.sampled_from(["get", "leave", "wait"]), st.integers(0, 40)), min_size=1, max_size=60
)


@given(_STEPS, st.sampled_from([0.0005, 0.002, 0.01]), st.integers(1, 4))
def test_any_mix_of_clients(steps: list[tuple[str, int]], cost: float, slices: int) -> None:
    """Every body began after the request for it, all who stay get one, and the work keeps to its share."""
    source = Source(cost, slices)
    asked: list[tuple[float, Deferred[bytes]]] = []
    for step, number in steps:
        if step == "get":
            asked.append((source.clock.seconds(), source.get()))
        elif step == "leave" and asked:
            _, gone = asked.pop(number % len(asked))
            gone.addErrback(lambda failure: failure.trap(CancelledError) and None)
            gone.cancel()
        else:
            source.clock.advance(number / 1000)
        assert source.worked <= WORK_SHARE * source.clock.seconds() + slices * cost + 1e-9
    for _ in range(20):
        source.clock.advance(PAUSE_SECONDS_MAX)
    for at, waiting in asked:
        began = given_(waiting)
        assert began is not None
        assert began >= at
    assert source.clock.getDelayedCalls() == []
