"""Histories of several nodes as one."""

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import SECONDS_KEPT, History
from kraft.web.charts import SETTLE_SECONDS, averages, charts, summed
from tests.web.reports import report, silent, view


def node(name: str, newest: int, *columns: tuple[int, ...]):
    return report(name, facts=Facts(history=History(newest, {"read": columns, "write": ()})))


def test_nodes_are_added_up_second_by_second():
    """Whenever each began, and however far each has told."""
    others = node("K2", 1000, (10,)), node("K3", 1001, (), (5,))
    shown = charts(view(node("K1", 1002, (1,), (2,), (3,)), *others))

    assert shown.newest == 1002 - SETTLE_SECONDS
    assert len(shown.columns["read"]) == SECONDS_KEPT
    assert shown.columns["read"][-2:] == (0, 11)
    assert shown.columns["read_p50"][-2:] == (None, 0.25)


def test_a_node_that_fell_silent_counts_with_what_it_told():
    gone = silent("K2", last=node("K2", 1000, (10,)))
    assert charts(view(node("K1", 1002, (1,), (2,), (3,)), gone)).columns["read"][-1] == 11


def test_columns_outside_the_picture_are_left_out():
    old, coming = History(500, {"read": ((7,),)}), History(1003, {"read": ((1,), (9,), (9,))})
    total = summed([old, coming], "read", 1001)
    assert (len(total), total[-1], sum(map(sum, total))) == (SECONDS_KEPT, (1,), 1)


def test_a_change_has_only_the_seconds_that_passed():
    shown = charts(view(node("K1", 1004, (1,), (2,), (3,), (4,), (5,))))
    assert shown.since(1000).columns["read"] == (2, 3)
    assert shown.since(1002).columns["read"] == ()
    assert shown.since(1003).columns["read"] == ()
    assert len(shown.since(0).columns["read"]) == SECONDS_KEPT


def test_averages_are_over_the_whole_cluster():
    told = averages(view(node("K1", 1002, (40,), (9,), (9,)), node("K2", 1000, (60,))))
    ten, minute, _ = told["read"]
    assert (ten.per_second, minute.per_second, told["write"][0].p99_ms) == (10.0, 1.7, None)
