"""Is a history of one key linearizable? (Herlihy and Wing 1990; search after Wing and Gong, with memory.)

An operation that never returned may take effect at any later moment, or never.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Operation:
    """One client operation on one key. `result` means nothing when `returned` is infinite."""

    name: str
    argument: Any
    called: float
    returned: float
    result: Any = None

    @property
    def unknown(self) -> bool:
        return self.returned == INFINITY


Model = Callable[[Any, Operation], tuple[Any, Any]]
"""(state, operation) -> (state after, result)."""


def string_key(state: bytes | None, operation: Operation) -> tuple[bytes | None, Any]:
    """GET, SET, DEL, APPEND and INCR of one key, as the state machine defines them."""
    if operation.name == "get":
        return state, state
    if operation.name == "set":
        return operation.argument, "OK"
    if operation.name == "delete":
        return None, int(state is not None)
    if operation.name == "append":
        after = (state or b"") + operation.argument
        return after, len(after)
    value = int(state or b"0") + operation.argument
    return b"%d" % value, value


def linearizable(history: Sequence[Operation], model: Model = string_key, initial: Any = None) -> bool:
    """Whether some order explains every result and respects real time."""
    operations = sorted(history, key=lambda o: (o.called, o.returned))
    required = 0
    for place, operation in enumerate(operations):
        if not operation.unknown:
            required |= 1 << place
    seen: set[tuple[int, Any]] = set()
    stack = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        for place in _candidates(operations, done):
            operation = operations[place]
            after, result = model(state, operation)
            if operation.unknown or result == operation.result:
                stack.append((done | 1 << place, after))
    return False


def _candidates(operations: Sequence[Operation], done: int) -> list[int]:
    """Operations that may come next: called before every other open one returned."""
    found: list[int] = []
    earliest = INFINITY
    for place, operation in enumerate(operations):
        if done >> place & 1:
            continue
        if operation.called > earliest:
            break
        found.append(place)
        earliest = min(earliest, operation.returned)
    return found
