"""Decides whether the history of one key is linearizable (Herlihy and Wing 1990).

The search is that of Wing and Gong with memoization. An operation that never returned may take effect at any
later moment, or never. The model may allow several outcomes of one operation: a key with an expiry may be
present or gone, and once gone it stays gone until it is written again. The model does not say when it goes,
because the log's time has no fixed relation to real time.

Three properties make the search fast. Ended operations are taken nearly in the order of their calls, so the
set of done operations is a prefix and a few bits after it. A read that fits is taken at once, because it
changes nothing. An operation that never ended is tried only where it would change something.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kraft.kv.replies import CommandFailure

INFINITY = float("inf")
READ = "get"  # the only operation that changes nothing
FLUSH = "flush"  # removes this key and all others
SET_IF_UNCHANGED = "set if unchanged"  # of (the value seen, the new one): OK, or None without effect
SWAP = "swap"  # of (the value expected, the new one): 1, or 0 without effect
POINTS_MAX = 1_000_000  # limit of a search, about 15 s; correct histories need a few points per operation


@dataclass(frozen=True, slots=True)
class Operation:
    """One client operation on one key. `result` is undefined when `returned` is infinite.

    `number` is its position among the writes of its key, from 1 on, if it is known, and `stamp` that of its
    entry in the log. `seen` is how many writes of the key there had been when a conditional one looked at it.
    `script` says whether a script did it, or undid it: `tests.simulation.scripts`. Of one that never
    returned, `in_vain` says whether it did nothing because what it had read had changed, if that is known.
    """

    name: str
    argument: Any
    called: float
    returned: float
    result: Any = None
    number: int = 0
    stamp: int = 0
    seen: int = 0
    script: str = ""
    in_vain: bool | None = None

    @property
    def unknown(self) -> bool:
        return self.returned == INFINITY


class Undecided(AssertionError):
    """The search reached its limit. Correct histories are decided long before."""


class Held(NamedTuple):
    """A key that is present; with `expiring` it may be gone at any later operation."""

    value: bytes
    expiring: bool = False


Outcome = tuple[Any, Any]
Model = Callable[[Any, Operation], list[Outcome]]
"""(state, operation) -> every possible (state after, result)."""


def string_key(state: Held | None, operation: Operation) -> list[Outcome]:
    """One key under GET, SET (plain, PX, PXAT, NX), DEL, GETDEL, APPEND, SETRANGE, INCR, as the machine, and
    under a transaction that watches the key and sets it.
    """
    return [outcome for before in _possible(state) for outcome in _string_key(before, operation)]


def _possible(state: Held | None) -> list[Held | None]:
    """What the key may be by now."""
    return [state, None] if state is not None and state.expiring else [state]


def _string_key(state: Held | None, operation: Operation) -> list[Outcome]:
    name, argument = operation.name, operation.argument
    if name == "set until":
        written, time_ms = argument
        passed = operation.stamp >= time_ms  # when it was logged: then the key is removed
        return [(None if passed else Held(written, expiring=True), "OK"), (state, CommandFailure.PREMATURE)]
    if name == SET_IF_UNCHANGED:
        seen, written = argument
        present = state.value if state is not None else None
        # It may be aborted without need where the key is missing, and where it was written and is as before.
        return [(state, None), *([(Held(written), "OK")] if present == seen else [])]
    return [_certain(state, operation)]


def _certain(state: Held | None, operation: Operation) -> Outcome:
    """The outcome of an operation that has only one."""
    name, argument = operation.name, operation.argument
    value = state.value if state is not None else None
    if name == READ:
        return state, value
    if name == "set":
        return Held(argument), "OK"
    if name == FLUSH:
        return None, "OK"
    if name == "set for a while":
        return Held(argument, expiring=True), "OK"
    if name == "set if missing":
        return (Held(argument), "OK") if state is None else (state, None)
    if name == SWAP:
        expected, written = argument
        return (Held(written), 1) if value == expected else (state, 0)
    if name == "delete":
        return None, int(state is not None)
    if name == "take":
        return None, value
    expiring = state is not None and state.expiring
    if name == "append":
        longer = (value or b"") + argument
        return Held(longer, expiring), len(longer)
    if name == "overwrite":
        offset, piece = argument
        before = (value or b"").ljust(offset, b"\0")
        changed = before[:offset] + piece + before[offset + len(piece) :]
        return Held(changed, expiring), len(changed)
    number = int(value or b"0") + argument
    return Held(b"%d" % number, expiring), number


class Numbered(NamedTuple):
    """A key after its first `writes` writes, of which number `changed` was the last with an effect."""

    writes: int
    changed: int
    held: Held | None


def numbered_key(state: Numbered, operation: Operation) -> list[Outcome]:
    """The model of `string_key` when the order of the writes is known, so that only the reads must be placed.

    The state starts as `NOTHING_WRITTEN`. This model is stricter than `string_key` and cheaper to search: a
    write between the look at a key and the transaction that watches it aborts that, and nothing else does
    while the key exists.
    """
    writes, changed, held = state
    if operation.name != READ:
        if operation.number != writes + 1:
            return []
        writes += 1
    found: list[Outcome] = []
    for before in _possible(held):
        for after, result in _string_key(before, operation):
            if operation.name == SET_IF_UNCHANGED and not _may_be(state, before, operation, result):
                continue
            # Perhaps what was there before.
            written = (result == "OK" and after is not None) or (operation.name == SWAP and result == 1)
            effect = written or after != before or operation.name == "overwrite"
            last = writes if effect and operation.name != READ else changed
            found.append((Numbered(writes, last, after), result))
    return found


def _may_be(state: Numbered, before: Held | None, operation: Operation, result: Any) -> bool:
    """Whether a transaction that watches the key may end so. With no key it may always abort."""
    present = before.value if before is not None else None
    unchanged = state.changed <= operation.seen and present == operation.argument[0]
    return unchanged if result == "OK" else before is None or not unchanged


NOTHING_WRITTEN = Numbered(0, 0, None)


class _Point(NamedTuple):
    """A state of the search: the first `low` ended operations are done, those after them whose bits are in
    `window`, and the unended ones whose bits are in `used`.
    """

    low: int
    window: int
    used: int
    state: Any


class _Seen:
    """Visited points. A point with fewer unended operations in use covers an otherwise equal one."""

    def __init__(self) -> None:
        self._used: dict[tuple[int, int, Any], list[int]] = {}

    def add(self, point: _Point) -> bool:
        """Add a point; return whether it is new."""
        known = self._used.setdefault((point.low, point.window, point.state), [])
        if any(used & point.used == used for used in known):
            return False
        known[:] = [used for used in known if used & point.used != point.used]
        known.append(point.used)
        return True


def linearizable(history: Sequence[Operation], model: Model = string_key, initial: Any = None) -> bool:
    """Return whether some order explains every result and respects real time. Raises `Undecided`."""
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
        # Added only here, so that the best points are remembered first.
        if seen.add(point):
            stack += _successors(point, ended, unended, model)
    return False


def _successors(
    point: _Point, ended: Sequence[Operation], unended: Sequence[Operation], model: Model
) -> list[_Point]:
    """The next points, the most promising last: ended operations before unended ones, in order of calls."""
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
    """The operations that may come next (called before any open one returned), and that time limit."""
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
