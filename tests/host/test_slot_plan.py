"""Which slots move where when groups are split or merged, or the slots are spread anew."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kraft.host.moves.slot_plan import PlanStep, count, merge_steps, owned, rebalance_steps, split_steps
from kraft.kv.slot_map import MapRange, static_ranges
from kraft.kv.slots import SLOTS


def mapped(*bounds):
    """The map of (first slot, group) pairs; each range ends before the next."""
    firsts = [*[first for first, _ in bounds], SLOTS]
    return tuple(
        MapRange(first, end - 1, group) for (first, group), end in zip(bounds, firsts[1:], strict=True)
    )


def owners_of(ranges):
    return [each.group for each in ranges for _ in range(each.first, each.last + 1)]


def done(ranges, steps):
    """The owner of each slot after all steps; each step takes slots of its source only."""
    owners = owners_of(ranges)
    for step in steps:
        assert set(owners[step.first : step.last + 1]) == {step.source}
        assert step.receiver != step.source
        owners[step.first : step.last + 1] = [step.receiver] * (step.last - step.first + 1)
    return owners


@st.composite
def maps(draw):
    firsts = draw(st.lists(st.integers(1, SLOTS - 1), unique=True, max_size=30).map(sorted))
    return mapped(*[(first, draw(st.integers(0, 6))) for first in [0, *firsts]])


def test_a_group_is_divided_and_keeps_the_first_part():
    ranges = static_ranges(2)
    assert split_steps(ranges, 1, [2]) == [PlanStep(12288, 16383, 1, 2)]
    assert split_steps(ranges, 0, [3, 2, 4]) == [
        PlanStep(2048, 4095, 0, 3),
        PlanStep(4096, 6143, 0, 2),
        PlanStep(6144, 8191, 0, 4),
    ]


def test_a_part_of_several_ranges_is_several_moves():
    ranges = mapped((0, 0), (10, 1), (20, 0), (30, 1))
    assert split_steps(ranges, 0, [2, 3]) == [
        PlanStep(6, 9, 0, 2),
        PlanStep(20, 22, 0, 2),
        PlanStep(23, 29, 0, 3),
    ]


def test_ranges_that_touch_are_one():
    ranges = (MapRange(0, 9, 0), MapRange(10, 19, 0, 5), MapRange(20, 29, 1), MapRange(30, SLOTS - 1, 0))
    assert owned(ranges, 0) == [(0, 19), (30, SLOTS - 1)]
    assert merge_steps(ranges, 0, 1) == [PlanStep(0, 19, 0, 1), PlanStep(30, SLOTS - 1, 0, 1)]


def test_slots_that_are_even_stay():
    for groups in (1, 2, 3, 7, 128):
        assert rebalance_steps(static_ranges(groups)) == []


def test_slots_are_spread_anew_by_few_moves():
    """What a merge has brought together, among the groups that have slots: one without any gets none."""
    ranges = mapped((0, 0), (4096, 1), (8192, 0))  # group 2 is empty
    assert rebalance_steps(ranges) == [PlanStep(8192, 12287, 0, 1)]
    assert rebalance_steps(mapped((0, 0), (16383, 1))) == [PlanStep(8192, 16382, 0, 1)]
    assert rebalance_steps(mapped((0, 1), (1, 0))) == [PlanStep(1, 8191, 0, 1)], "beside what it has"


@given(maps(), st.integers(0, 6), st.integers(1, 8))
def test_any_split_is_even(ranges, group, parts):
    receivers = list(range(10, 10 + parts))
    before = count(owned(ranges, group))
    after = Counter(done(ranges, split_steps(ranges, group, receivers)))
    shares = [after[each] for each in (group, *receivers)]
    assert sum(shares) == before
    assert max(shares) - min(shares) <= 1


@given(maps())
def test_any_map_is_even_after_few_moves(ranges):
    steps = rebalance_steps(ranges)
    after = Counter(done(ranges, steps))
    groups = {each.group for each in ranges}
    assert set(after) == groups
    assert max(after.values()) - min(after.values()) <= 1
    assert len(steps) <= len(groups) + len(ranges)


@given(maps(), st.integers(0, 6))
def test_nothing_is_left_of_a_group_that_is_merged(ranges, group):
    after = done(ranges, merge_steps(ranges, group, 9))
    assert group not in after
    assert after.count(9) == owners_of(ranges).count(group)
