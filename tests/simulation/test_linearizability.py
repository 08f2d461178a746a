"""The checker of histories, compared with brute force, tried on planted errors, and fast enough for CI."""

import random
from collections.abc import Iterator, Sequence
from itertools import permutations

import pytest

from tests.simulation import linearizability
from tests.simulation.linearizability import (
    INFINITY,
    NOTHING_WRITTEN,
    READ,
    Held,
    Operation,
    Undecided,
    linearizable,
    numbered_key,
    string_key,
)


def operation(name, argument, called, returned, result=None):
    return Operation(name, argument, called, returned, result)


def brute_force(history: Sequence[Operation]) -> bool:
    """Try every order of all ended operations and any of the others, exactly as the definition says."""
    ended = [o for o in history if not o.unknown]
    others = [o for o in history if o.unknown]
    return any(
        _explains(order)
        for chosen in _subsets(others)
        for order in permutations((*ended, *chosen))
        if all(
            not (later.returned < earlier.called)
            for place, earlier in enumerate(order)
            for later in order[place + 1 :]
        )
    )


def _subsets(items: Sequence[Operation]) -> Iterator[list[Operation]]:
    for bits in range(1 << len(items)):
        yield [item for place, item in enumerate(items) if bits >> place & 1]


def _explains(order: Sequence[Operation]) -> bool:
    states = {None}
    for each in order:
        states = {
            after
            for state in states
            for after, result in string_key(state, each)
            if each.unknown or result == each.result
        }
    return bool(states)


class Dice:
    """Draws small histories with few values and short times: about half of them are linearizable."""

    NAMES = (READ, READ, READ, "set", "set for a while", "set if missing", "delete", "take", "append")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw(self) -> list[Operation]:
        """A correct history of overlapping operations, with perhaps one result forged afterwards."""
        state: Held | None = None
        found = []
        for place in range(self.random.randrange(1, 7)):
            name = self.random.choice(self.NAMES)
            argument = self.random.choice((b"x", b"y")) if name not in (READ, "delete", "take") else None
            takes_effect = place + self.random.random()
            called = takes_effect - self.random.choice((0.0, 0.5, 2.0))
            returned = takes_effect + self.random.choice((0.0, 0.5, 2.0, INFINITY))
            drawn = operation(name, argument, called, returned)
            if returned < INFINITY or self.random.random() < 0.5:
                state, result = self.random.choice(string_key(state, drawn))
                drawn = operation(name, argument, called, returned, result)
            found.append(drawn)
        if self.random.random() < 0.6:
            self._forge(found)
        self.random.shuffle(found)
        return found

    def _forge(self, history: list[Operation]) -> None:
        place = self.random.randrange(len(history))
        old = history[place]
        result = self.random.choice((b"x", b"xy", b"y", None, "OK", 0, 1, 2))
        history[place] = operation(old.name, old.argument, old.called, old.returned, result)


@pytest.mark.parametrize("seed", range(8))
def test_the_search_agrees_with_brute_force(seed):
    dice = Dice(seed)
    verdicts = []
    for _ in range(150):
        history = dice.draw()
        verdict = linearizable(history)
        assert verdict == brute_force(history), history
        verdicts.append(verdict)
    assert 15 < sum(verdicts) < 135, "the histories must be of both kinds"


def test_a_stale_read_is_found():
    history = [
        operation("set", b"1", 0, 1, "OK"),
        operation("set", b"2", 2, 3, "OK"),
        operation(READ, None, 4, 5, b"1"),
    ]
    assert not linearizable(history)


def test_a_lost_write_is_found():
    history = [operation("increment", 2, 0, 1, 2), operation(READ, None, 2, 3, None)]
    assert not linearizable(history)


def test_an_increment_done_twice_is_found():
    history = [
        operation("increment", 2, 0, 1, 2),
        operation("increment", 5, 2, INFINITY),
        operation(READ, None, 8, 9, b"12"),
    ]
    assert not linearizable(history)


def test_an_unended_write_may_take_effect_late_or_never():
    unended = operation("set", b"1", 0, INFINITY)
    late = [operation(READ, None, 5, 6, None), operation(READ, None, 7, 8, b"1")]
    assert linearizable([unended, *late])
    assert linearizable([unended, late[0]])
    assert not linearizable([unended, late[1], operation(READ, None, 9, 10, None)])


def test_an_unended_write_takes_no_effect_before_its_call():
    history = [operation(READ, None, 0, 1, b"1"), operation("set", b"1", 2, INFINITY)]
    assert not linearizable(history)


def test_an_expired_key_never_comes_back():
    written = operation("set for a while", b"1", 0, 1, "OK")
    gone = operation(READ, None, 4, 5, None)
    assert linearizable([written, operation(READ, None, 2, 3, b"1"), gone])
    assert not linearizable([written, gone, operation(READ, None, 6, 7, b"1")])


def test_a_key_without_expiry_does_not_vanish():
    history = [
        operation("set for a while", b"1", 0, 1, "OK"),
        operation("set", b"2", 2, 3, "OK"),
        operation(READ, None, 4, 5, None),
    ]
    assert not linearizable(history)


@pytest.mark.parametrize("second", [1, 2])
def test_writes_with_numbers_keep_to_their_order(second):
    history = [
        Operation("set", b"1", 0, 9, "OK", number=3 - second),
        Operation("set", b"2", 0, 9, "OK", number=second),
        Operation("append", b"3", 0, INFINITY, number=3),
        Operation(READ, None, 10, 11, b"2"),
        Operation(READ, None, 12, 13, b"23"),
    ]
    assert linearizable(history, numbered_key, NOTHING_WRITTEN) == (second == 2)


def long_history(seed: int, length: int, unended: float) -> list[Operation]:
    """A correct history of four clients on one key; each operation overlaps a few others."""
    dice = random.Random(seed)
    state: Held | None = None
    found = []
    for place in range(length):
        name = dice.choice((READ, READ, "set", "append", "delete", "set for a while"))
        argument = b"%d;" % place if name in ("set", "append", "set for a while") else None
        forever = dice.random() < unended
        returned = INFINITY if forever else place + dice.random() * 3
        drawn = operation(name, argument, place - dice.random() * 3, returned)
        if not forever or dice.random() < 0.5:
            state, result = dice.choice(string_key(state, drawn))
            drawn = operation(name, argument, drawn.called, returned, result)
        if len(state.value if state else b"") > 400:
            state = Held(b"")
            found.append(operation("set", b"", place, place + 0.001, "OK"))
        found.append(drawn)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_long_history_is_explained_soon(seed, monkeypatch):
    """Three thousand operations, sixty of them unended, need a few points each, not two to the sixtieth."""
    monkeypatch.setattr(linearizability, "POINTS_MAX", 100_000)
    assert linearizable(long_history(seed, length=3_000, unended=0.02))


@pytest.mark.parametrize("seed", range(4))
def test_an_error_late_in_a_long_history_is_found_soon(seed, monkeypatch):
    monkeypatch.setattr(linearizability, "POINTS_MAX", 100_000)
    history = long_history(seed, length=3_000, unended=0.0)
    place = next(p for p, o in enumerate(history) if p > 2_000 and o.name == READ)
    read = history[place]
    history[place] = operation(READ, None, read.called, read.returned, b"never written")
    assert not linearizable(history)


def test_a_search_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(linearizability, "POINTS_MAX", 1_000)
    unended = [operation("append", b"%d" % place, 0, INFINITY) for place in range(20)]
    with pytest.raises(Undecided):
        linearizable([*unended, operation(READ, None, 5, 6, b"never written")])
