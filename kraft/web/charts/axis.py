"""The two axes of a chart: values with units, and times of day."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kraft.web import words

LOWEST_MS = 0.1  # lowest value of a logarithmic axis
LINES_MAX = 3  # of a logarithmic axis; of more, every second one is left out
TICK_SECONDS = {"5min": 60, "1h": 600, "24h": 4 * 3600}  # between two ticks: about six, also on a phone
EDGE = 0.04  # of the width, without ticks: their words would not fit


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of values: `share` is the part of the height of a value, `lines` are values with a line."""

    unit: str
    lines: tuple[float, ...]
    share: Callable[[float], float]


def linear(highest: float, unit: str) -> Axis:
    """An axis from 0 to a round number."""
    top = _roof(max(highest, 1.0))
    return Axis(unit, (top / 2, top), lambda value: min(value / top, 1.0))


def logarithmic(highest: float, unit: str) -> Axis:
    """An axis of powers of ten: one slow second does not flatten the rest."""
    tens = max(2, math.ceil(math.log10(max(highest, 1.0) / LOWEST_MS)))
    lines = tuple(LOWEST_MS * 10**place for place in range(tens, 0, -1 if tens <= LINES_MAX else -2))[::-1]
    return Axis(unit, lines, lambda value: math.log10(max(value, LOWEST_MS) / LOWEST_MS) / tens)


def _roof(number: float) -> float:
    """The next of some round numbers, whose halves are round too, times a power of ten."""
    step = 10.0 ** math.floor(math.log10(number))
    return next(factor * step for factor in (1, 2, 3, 4, 6, 8, 10) if factor * step >= number)


def figure(number: float | None) -> str:
    """A number as in the tables; a small one with two digits."""
    if number is not None and 0 < number < 0.1:
        return f"{number:.2g}"
    if number is None or number >= 100 or number == int(number):
        return words.count(number)
    return f"{number:.1f}"


def ticks(start: int, newest: int, name: str) -> list[tuple[float, int]]:
    """(share of the width, Unix second) of each tick of the time axis of a range."""
    step, width = TICK_SECONDS[name], newest - start
    seconds = range(start + -start % step, newest + 1, step)
    return [(share, at) for at in seconds if EDGE <= (share := (at - start) / width) <= 1 - EDGE]
