"""Which slots move where when a group is split or merged, or the slots are spread anew.

Plain computation on the map of slots. A step is one range of slots of one group, so it is one move.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kraft.kv.slot_map import MapRange
from kraft.kv.slots import SLOTS

Range = tuple[int, int]
"""The first and the last of some slots."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """The slots from `first` to `last` are to go from the group `source` to the group `receiver`."""

    first: int
    last: int
    source: int
    receiver: int


def owned(ranges: Iterable[MapRange], group: int) -> list[Range]:
    """The ranges that a group has, ascending, those that touch as one."""
    found: list[Range] = []
    for each in ranges:
        if each.group != group:
            continue
        if found and found[-1][1] + 1 == each.first:
            found[-1] = found[-1][0], each.last
        else:
            found.append((each.first, each.last))
    return found


def count(ranges: Iterable[Range]) -> int:
    """The number of slots in ranges."""
    return sum([last - first + 1 for first, last in ranges])


def split_steps(ranges: Sequence[MapRange], group: int, receivers: Sequence[int]) -> list[PlanStep]:
    """Divide the slots of `group` evenly: it keeps the first part, `receivers` get one of the others each."""
    left = owned(ranges, group)
    total, parts = count(left), len(receivers) + 1
    steps = []
    for place, receiver in reversed(list(enumerate(receivers, 1))):
        share = total * (place + 1) // parts - total * place // parts
        taken, left = _from_the_end(left, share)
        steps += [PlanStep(first, last, group, receiver) for first, last in taken]
    return sorted(steps, key=lambda step: step.first)


def merge_steps(ranges: Sequence[MapRange], group: int, receiver: int) -> list[PlanStep]:
    """Give all slots of `group` to `receiver`."""
    return [PlanStep(first, last, group, receiver) for first, last in owned(ranges, group)]


def rebalance_steps(ranges: Sequence[MapRange]) -> list[PlanStep]:
    """Give all groups that have slots the same number of them, plus or minus one, with few moves.

    The group with the most to give gives to the one that lacks the most, so every step but the last of a
    group ends what one of the two has to give or get.
    """
    groups = sorted({each.group for each in ranges})
    has = {group: owned(ranges, group) for group in groups}
    least, more = divmod(SLOTS, len(groups))
    by_size = sorted(groups, key=lambda group: (-count(has[group]), group))
    surplus = {group: count(has[group]) - least - (n < more) for n, group in enumerate(by_size)}
    steps: list[PlanStep] = []
    while any(surplus.values()):
        source = max(groups, key=lambda group: (surplus[group], -group))
        receiver = min(groups, key=lambda group: (surplus[group], group))
        wanted = min(surplus[source], -surplus[receiver])
        first, last = _piece(has[source], wanted, has[receiver])
        has[source] = _without(has[source], first, last)
        has[receiver] = sorted([*has[receiver], (first, last)])
        moved = last - first + 1
        surplus[source] -= moved
        surplus[receiver] += moved
        steps.append(PlanStep(first, last, source, receiver))
    return steps


def _from_the_end(ranges: Sequence[Range], share: int) -> tuple[list[Range], list[Range]]:
    """The last `share` slots of ranges, and the rest, both ascending."""
    left, taken = list(ranges), []
    while share:
        first, last = left.pop()
        cut = max(first, last - share + 1)
        taken.append((cut, last))
        share -= last - cut + 1
        if cut > first:
            left.append((first, cut - 1))
    return taken[::-1], left


def _piece(ranges: Collection[Range], wanted: int, beside: Collection[Range]) -> Range:
    """At most `wanted` slots of the largest range, at the end that touches one of `beside` if one does."""
    first, last = max(ranges, key=lambda each: (each[1] - each[0], -each[0]))
    size = min(wanted, last - first + 1)
    if any(end + 1 == first for _, end in beside):
        return first, first + size - 1
    return last - size + 1, last


def _without(ranges: Collection[Range], first: int, last: int) -> list[Range]:
    """Ranges without the slots from `first` to `last`, which are at one end of one of them."""
    found = []
    for begin, end in ranges:
        if begin <= first and last <= end:
            found += [(a, b) for a, b in ((begin, first - 1), (last + 1, end)) if a <= b]
        else:
            found.append((begin, end))
    return found
