"""Histories of several nodes as one."""

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import RANGES, SECONDS_KEPT, History
from kraft.web.charts.series import SETTLE_SECONDS, averages, series, summed
from tests.web.reports import report, silent, view

MINUTES, HOUR, DAY = RANGES


def node(name: str, newest: int, *columns: tuple[int, ...], longer: tuple[History, ...] = ()):
    history = History(newest, {"read": columns, "write": ()})
    return report(name, facts=Facts(wall_seconds=newest + 1.0, history=history, longer=longer))


def test_nodes_are_added_up_second_by_second():
    """Whenever each began, and however far each has told."""
    others = node("K2", 1000, (10,)), node("K3", 1001, (), (5,))
    shown = series(view(node("K1", 1002, (1,), (2,), (3,)), *others))

    assert shown.newest == 1002 - SETTLE_SECONDS
    assert len(shown.columns["read"]) == SECONDS_KEPT
    assert shown.columns["read"][-2:] == (None, 11)
    assert shown.columns["read_p50"][-2:] == (None, 0.25)


def test_a_node_that_fell_silent_counts_with_what_it_told():
    gone = silent("K2", last=node("K2", 1000, (10,)))
    assert series(view(node("K1", 1002, (1,), (2,), (3,)), gone)).columns["read"][-1] == 11


def test_columns_outside_the_picture_are_left_out():
    old, coming = History(500, {"read": ((7,),)}), History(1003, {"read": ((1,), (9,), (9,))})
    total = summed([old, coming], "read", 1001)
    assert (len(total), total[-1], sum(map(sum, total))) == (SECONDS_KEPT, (1,), 1)


def test_a_change_has_the_last_column_again_and_those_that_came():
    """The last one may not have been complete."""
    shown = series(view(node("K1", 1004, (1,), (2,), (3,), (4,), (5,))))
    assert shown.since(1000)["read"] == (1, 2, 3)
    assert shown.since(1002)["read"] == (3,)
    assert shown.since(1003)["read"] == ()
    assert len(shown.since(0)["read"]) == SECONDS_KEPT


def test_averages_are_over_the_whole_cluster():
    told = averages(view(node("K1", 1002, (40,), (9,), (9,)), node("K2", 1000, (60,))))
    ten, minute, _ = told["read"]
    assert (ten.per_second, minute.per_second, told["write"][0].p99_ms) == (10.0, 1.7, None)


def test_a_longer_range_is_per_second_of_what_is_known():
    """The first and the last column may hold less than their full length."""
    hour = History(3000, {"read": ((30,), (150,), (8,)), "write": ()}, 15, since=2980, until=3004)
    shown = series(view(node("K1", 3003, (1,), longer=(hour,))), HOUR)

    assert (shown.newest, len(shown.columns["read"])) == (3000, HOUR.count)
    assert shown.columns["read"][-4:] == (None, 30 / 5, 150 / 15, 8 / 4)
    assert shown.columns["write"][-4:] == (None, 0, 0, 0)
    assert shown.start == 3000 - 239 * 15


def test_nodes_with_and_without_the_longer_range_are_told_apart():
    """An earlier version tells the last minutes only; a node that has not answered yet tells nothing."""
    hour = History(3000, {"read": ((15,),)}, 15, since=3000, until=3015)
    shown = series(view(node("K1", 3016, (1,), longer=(hour,)), node("K2", 3016, (9,)), silent("K3")), HOUR)

    assert shown.begins == {"K1": 3000, "K2": None, "K3": None}
    assert shown.columns["read"][-1] == 1


def test_what_a_node_forgot_when_it_was_restarted_is_known_by_the_others():
    old = History(1000, {"read": ((5,),) * 300}, 1, 701, 1001)
    new = History(1002, {"read": ((1,),) * 3}, 1, 1000, 1003)
    shown = series(view(
        report("K1", facts=Facts(history=new)), report("K2", facts=Facts(history=old)),
    ))  # fmt: skip
    assert shown.begins == {"K1": 1000, "K2": 701}
    assert shown.columns["read"][-2:] == (5, 6)


@pytest.mark.parametrize("range_", RANGES, ids=lambda range_: range_.name)
def test_a_node_that_has_just_started_has_no_numbers(range_):
    empty = tuple(History(0, {"read": ()}, each.step) for each in RANGES)
    facts = Facts(wall_seconds=1_700_000_000.5, history=empty[0], longer=empty[1:])
    shown = series(view(report("K1", facts=facts)), range_)
    assert shown.columns["read"] == (None,) * range_.count
    assert shown.begins == {"K1": None}
    assert 0 <= 1_700_000_000 - shown.newest <= range_.step + SETTLE_SECONDS
