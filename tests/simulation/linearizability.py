"""Is a history of one key linearizable? (Herlihy and Wing 1990; search after Wing and Gong, with memory.)

An operation that never returned may take effect at any later moment, or never. The model may allow several
outcomes of one operation: a key with an expiry may be found there or gone, and once gone it stays gone until
it is written again. When it goes is a matter of the log's time, which has no fixed relation to real time, so
the model does not say.

What makes the search fast: operations that ended are taken almost in the order of their calls, so what is
done is a prefix and a few bits beyond; a read that fits is taken at once, because it changes nothing; and an
operation that never ended is tried only where it would change something.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

INFINITY = float("inf")
READ = "get"  # the one operation that never changes anything
POINTS_MAX = 1_000_000  # of a search, about 15 s; true histories need a few for each operation


@dataclass(frozen=True, slots=True)
class Operation:
    """One client operation on one key. `result` means nothing when `returned` is infinite.

    `number` is its place among the writes of its key, from 1 on, where that is known.
    """

    name: str
    argument: Any
    called: float
    returned: float
    result: Any = None
    number: int = 0

    @property
    def unknown(self) -> bool:
        return self.returned == INFINITY


class Undecided(AssertionError):
    """The search met its bound. Histories without an error are decided long before."""


class Held(NamedTuple):
    """A key that is there; with `expiring` it may be gone whenever somebody looks."""

    value: bytes
    expiring: bool = False


Outcome = tuple[Any, Any]
Model = Callable[[Any, Operation], list[Outcome]]
"""(state, operation) -> every possible (state after, result)."""


def string_key(state: Held | None, operation: Operation) -> list[Outcome]:
    """One key under GET, SET (plain, PX, NX), DEL, GETDEL, APPEND and INCR, as the machine defines them."""
    outcomes = [_string_key(state, operation)]
    if state is not None and state.expiring:
        outcomes.append(_string_key(None, operation))
    return outcomes


def _string_key(state: Held | None, operation: Operation) -> Outcome:
    name, argument = operation.name, operation.argument
    value = state.value if state is not None else None
    if name == READ:
        return state, value
    if name == "set":
        return Held(argument), "OK"
    if name == "set for a while":
        return Held(argument, expiring=True), "OK"
    if name == "set if missing":
        return (Held(argument), "OK") if state is None else (state, None)
    if name == "delete":
        return None, int(state is not None)
    if name == "take":
        return None, value
    expiring = state is not None and state.expiring
    if name == "append":
        longer = (value or b"") + argument
        return Held(longer, expiring), len(longer)
    number = int(value or b"0") + argument
    return Held(b"%d" % number, expiring), number


def numbered_key(state: tuple[int, Held | None], operation: Operation) -> list[Outcome]:
    """The same, when the order of the writes is known: what is left to find is where the reads belong.

    The state starts as `NOTHING_WRITTEN`. This asks more than `string_key`, and costs less.
    """
    count, held = state
    if operation.name != READ:
        if operation.number != count + 1:
            return []
        count += 1
    return [((count, after), result) for after, result in string_key(held, operation)]


NOTHING_WRITTEN: tuple[int, Held | None] = (0, None)


class _Point(NamedTuple):
    """How far a search has come: `low` ended operations, those of the bits of `window` behind them, and the
    unended ones of the bits of `used` are done.
    """

    low: int
    window: int
    used: int
    state: Any


class _Seen:
    """Points that need no second look: who used fewer unended operations for the same can only do more."""

    def __init__(self) -> None:
        self._used: dict[tuple[int, int, Any], list[int]] = {}

    def add(self, point: _Point) -> bool:
        """Whether the point is new."""
        known = self._used.setdefault((point.low, point.window, point.state), [])
        if any(used & point.used == used for used in known):
            return False
        known[:] = [used for used in known if used & point.used != point.used]
        known.append(point.used)
        return True


def linearizable(history: Sequence[Operation], model: Model = string_key, initial: Any = None) -> bool:
    """Whether some order explains every result and respects real time. Raises `Undecided`."""
    ended = sorted((o for o in history if not o.unknown), key=lambda o: (o.called, o.returned))
    unended = sorted((o for o in history if o.unknown and o.name != READ), key=lambda o: o.called)
    seen = _Seen()
    stack = [_Point(0, 0, 0, initial)]
    looked = 0
    while stack:
        looked += 1
        if looked > POINTS_MAX:
            raise Undecided(f"{len(ended)} ended and {len(unended)} unended operations")
        point = stack.pop()
        if point.low == len(ended):
            return True
        # Only now: points are looked at in the order of promise, and the memory should meet the best first.
        if seen.add(point):
            stack += _successors(point, ended, unended, model)
    return False


def _successors(
    point: _Point, ended: Sequence[Operation], unended: Sequence[Operation], model: Model
) -> list[_Point]:
    """The most promising last: ended operations before unended ones, the first called first."""
    places, deadline = _open(point, ended)
    state = point.state
    found: list[_Point] = []
    for place in places:
        operation = ended[place]
        for after, result in model(state, operation):
            if result == operation.result:
                if operation.name == READ and after == state:
                    return [_done(point, place, state)]
                found.append(_done(point, place, after))
    found.reverse()
    return [*_unended(point, unended, deadline, model), *found]


def _open(point: _Point, ended: Sequence[Operation]) -> tuple[list[int], float]:
    """Those that may come next, called before every other open one returned; and until when that is."""
    places: list[int] = []
    deadline = INFINITY
    for place in range(point.low, len(ended)):
        if point.window >> (place - point.low) & 1:
            continue
        operation = ended[place]
        if operation.called > deadline:
            break
        places.append(place)
        deadline = min(deadline, operation.returned)
    return places, deadline


def _unended(point: _Point, unended: Sequence[Operation], deadline: float, model: Model) -> Iterator[_Point]:
    for place, operation in enumerate(unended):
        if operation.called > deadline:
            break
        if not point.used >> place & 1:
            for after, _ in model(point.state, operation):
                if after != point.state:
                    yield point._replace(used=point.used | 1 << place, state=after)


def _done(point: _Point, place: int, state: Any) -> _Point:
    low, window = point.low, point.window | 1 << (place - point.low)
    while window & 1:
        low, window = low + 1, window >> 1
    return _Point(low, window, point.used, state)
