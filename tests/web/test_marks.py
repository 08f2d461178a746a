"""Events in the charts."""

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import RANGES, History
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web.charts.marks import marks
from kraft.web.charts.series import series
from tests.web.reports import report, silent, view

NEWEST = 1_700_000_000


def entry(at: float, mark: str = "election", text: str = "became leader of group 0 in term 7"):
    return JournalEntry(at, "info", "role_changed", text, mark=mark)


def node(name: str, *entries: JournalEntry):
    return report(name, facts=Facts(history=History(NEWEST + 2, {"read": ((),) * 300}), events=entries))


def shown(*nodes, range_=RANGES[0]):
    seen = view(*nodes)
    return marks(seen, series(seen, range_))


def test_a_mark_says_what_and_when():
    [mark] = shown(node("K1", entry(NEWEST - 100, "restart", "started")))
    assert (mark.at, mark.kind) == (NEWEST - 100, "restart")
    assert mark.lines == ("22:11:40 UTC: K1 started",)


def test_events_near_each_other_share_the_mark_of_the_most_important():
    first = node("K1", entry(NEWEST - 98, "restart", "started"), entry(NEWEST - 10, "snapshot", "ended"))
    second = node("K2", entry(NEWEST - 100, "snapshot", "started to receive"), entry(NEWEST - 97))
    both, alone = shown(first, second)
    assert (both.at, both.kind, alone.kind) == (NEWEST - 100, "election", "snapshot")
    assert [line.partition(": ")[2] for line in both.lines] == [
        "K2 started to receive", "K1 started", "K2 became leader of group 0 in term 7",
    ]  # fmt: skip


@pytest.mark.parametrize(("every", "count"), [(1, 20), (10, 15), (15, 20)])
def test_there_are_few_marks_of_few_lines_however_much_happens(every, count):
    """A chart can be read, and costs little to send, while leaders change all the time."""
    found = shown(node("K1", *(entry(NEWEST - 290 + at) for at in range(0, 290, every))))
    assert len(found) <= count
    assert found[0].at == NEWEST - 290
    assert sum(len(mark.lines) for mark in found) <= 5 * count
    if every == 1:
        assert found[0].lines[3:] == ("22:08:33 UTC: K1 became leader of group 0 in term 7", "and 11 more")


@pytest.mark.parametrize(
    ("at", "mark"),
    [(NEWEST - 301, "election"), (NEWEST + 2, "election"), (1e300, "election"), (float("nan"), "election"),
     (NEWEST - 5, ""), (NEWEST - 5, "of another version")],
)  # fmt: skip
def test_what_is_outside_or_unknown_has_no_mark(at, mark):
    assert shown(node("K1", entry(at, mark))) == []


def test_a_longer_range_shows_older_events_also_of_nodes_that_are_gone():
    gone = silent("K2", last=node("K2", entry(NEWEST - 3000)))
    assert shown(node("K1"), gone) == []
    hour = History(NEWEST, {"read": ((),)}, 15)
    own = report("K1", facts=Facts(history=History(NEWEST + 2, {"read": ((),)}), longer=(hour,)))
    assert [mark.at for mark in shown(own, gone, range_=RANGES[1])] == [NEWEST - 3000]
