"""Decides whether transactions on lists are strictly serializable: explained by one order in real time.

Every transaction appends elements that no other one has, and reads whole lists. So a list shows the order of
its writers, and each read shows between which of them it took place (Elle: Kingsbury and Alvaro, VLDB 2020).
From that follow dependencies: writer to next writer, writer to reader, reader to next writer; and in real
time, from what ended to what began later. The transactions are serializable if and only if there is no cycle
(Adya 1999, ch. 4), every read is a beginning of its list, and no transaction is there in part.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

DONE, UNKNOWN, NOT_DONE = "done", "unknown", "not done"
APPEND, READ = "append", "read"
INFINITY = float("inf")

Operation = tuple[str, str, Any]
"""(APPEND, key, element) or (READ, key, the elements found)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One transaction that a client sent; times in seconds. An unknown or refused one has no reads."""

    name: str
    fate: str
    called: float
    returned: float
    operations: Sequence[Operation]


class NotSerializable(AssertionError):
    """No order explains the transactions."""


def check(attempts: Iterable[Attempt], lists: Mapping[str, Sequence[str]]) -> int:
    """Raise NotSerializable unless the attempts explain `lists`, the elements of each key at the end.

    Returns how many transactions took effect.
    """
    attempts = list(attempts)
    owners = {op[2]: a for a in attempts for op in a.operations if op[0] == APPEND}
    places: dict[str, int] = {}
    for key, elements in lists.items():
        for place, element in enumerate(elements):
            _demand(element in owners, f"{element} in {key} was never appended")
            _demand(element not in places, f"{element} is there twice")
            places[element] = place
    effective = [a for a in attempts if _took_effect(a, places)]
    graph = _Graph()
    for elements in lists.values():
        for one, next_ in pairwise(elements):
            graph.edge(owners[one].name, owners[next_].name)
    for attempt in effective:
        _place_reads(attempt, lists, owners, places, graph)
    graph.real_time(effective)
    cycle = graph.cycle()
    _demand(not cycle, f"a cycle among {sorted(cycle)[:10]}")
    return len(effective)


def _took_effect(attempt: Attempt, places: Mapping[str, int]) -> bool:
    appended = [op[2] for op in attempt.operations if op[0] == APPEND]
    found = [element for element in appended if element in places]
    _demand(len(found) in (0, len(appended)), f"{attempt.name} is there in part: {found} of {appended}")
    _demand(attempt.fate != NOT_DONE or not found, f"{attempt.name} was not done and is there")
    _demand(attempt.fate != DONE or len(found) == len(appended), f"{attempt.name} was done and is lost")
    return attempt.fate == DONE or bool(found)


def _place_reads(
    attempt: Attempt,
    lists: Mapping[str, Sequence[str]],
    owners: Mapping[str, Attempt],
    places: Mapping[str, int],
    graph: "_Graph",
) -> None:
    own: dict[str, list[str]] = {}
    for kind, key, value in attempt.operations:
        mine = own.setdefault(key, [])
        if kind == APPEND:
            if mine:
                _demand(
                    places[value] == places[mine[-1]] + 1, f"another one came between those of {attempt.name}"
                )
            mine.append(value)
            continue
        elements = list(lists.get(key, ()))
        length = len(value)
        _demand(list(value) == elements[:length], f"{attempt.name} read {value} of {key}, not a beginning")
        _demand(not mine or list(value)[-len(mine) :] == mine, f"{attempt.name} does not see its own {mine}")
        before = length - len(mine)
        if before:
            graph.edge(owners[elements[before - 1]].name, attempt.name)
        if length < len(elements):
            graph.edge(attempt.name, owners[elements[length]].name)


class _Graph:
    def __init__(self) -> None:
        self._after: dict[str, set[str]] = {}

    def edge(self, one: str, other: str) -> None:
        if one != other:
            self._after.setdefault(one, set()).add(other)
            self._after.setdefault(other, set())

    def real_time(self, attempts: Sequence[Attempt]) -> None:
        """What ended before another one began comes before it: by way of moments, so that edges are few."""
        ended = sorted((a for a in attempts if a.returned < INFINITY), key=lambda a: a.returned)
        for number, attempt in enumerate(ended):
            self.edge(attempt.name, f"moment {number}")
            self.edge(f"moment {number}", f"moment {number + 1}")
        place = 0
        for attempt in sorted(attempts, key=lambda a: a.called):
            while place < len(ended) and ended[place].returned < attempt.called:
                place += 1
            if place:
                self.edge(f"moment {place - 1}", attempt.name)

    def cycle(self) -> set[str]:
        """Transactions that are part of a cycle, or come after one; empty if there is none."""
        before = dict.fromkeys(self._after, 0)
        for others in self._after.values():
            for other in others:
                before[other] += 1
        free = [name for name, count in before.items() if not count]
        while free:
            for other in self._after[free.pop()]:
                before[other] -= 1
                if not before[other]:
                    free.append(other)
        return {name for name, count in before.items() if count and not name.startswith("moment ")}


def _demand(holds: bool, text: str) -> None:
    if not holds:
        raise NotSerializable(text)
