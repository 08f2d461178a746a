"""The drawing of a chart."""

import re
from dataclasses import replace

import pytest

from kraft.telemetry.recent.history import RANGES
from kraft.web import words
from kraft.web.charts.axis import figure, linear, logarithmic, ticks
from kraft.web.charts.marks import Mark
from kraft.web.charts.plot import FLOOR, ROOF, Plot, path
from kraft.web.charts.series import Series

NEWEST = 1_700_000_000  # 22:13:20 UTC
START = NEWEST - 299


def plot(column, **changed):
    """A chart of one line, which ends with `column`; nothing is known of the time before."""
    whole = (None,) * (300 - len(column)) + tuple(column)
    begins: dict[str, int | None] = {"K1": NEWEST - len(column) + 1}
    shown = Series(RANGES[0], NEWEST, {"read": whole, "read_p50": whole}, begins)
    return replace(Plot(shown, ("read",), linear(100, "/s"), (), "idle: nothing"), **changed)


@pytest.mark.parametrize(
    ("heights", "drawn"),
    [
        ([], ""),
        ([None, None], ""),
        ([7], "M0 7h.1"),
        ([0] * 300, "M0 0l299 0"),
        ([138, 100, 138], "M0 138l1-38 1 38"),
        ([5, 5, 5, 3, 3, 9], "M0 5l2 0 1-2 1 0 1 6"),
        ([None, 5, None, 4, 6, None, 1], "M1 5h.1M3 4l1 2M6 1h.1"),
    ],
)
def test_a_line_is_short_and_has_gaps(heights, drawn):
    assert path(heights) == drawn


def test_values_have_lines_with_units():
    chart = plot([0, 73])
    drawn = "".join((*chart._values(), *chart._labels()))
    assert re.findall(r">([^<]+)</text>", drawn) == ["50/s", "100/s"]
    assert f'y1="{ROOF}"' in drawn
    assert f'y1="{(ROOF + FLOOR) // 2}"' in drawn


@pytest.mark.parametrize(
    ("axis", "lines", "shares"),
    [
        (linear(0, "/s"), (0.5, 1), {0: 0, 1: 1, 5: 1}),
        (linear(0.01, "/s"), (0.5, 1), {0.01: 0.01}),
        (linear(1300, "/s"), (1000, 2000), {0: 0, 500: 0.25}),
        (linear(2001, "/s"), (1500, 3000), {3000: 1}),
        (logarithmic(0, " ms"), (1, 10), {0: 0, 0.1: 0, 1: 0.5, 10: 1}),
        (logarithmic(80, " ms"), (1, 10, 100), {100: 1}),
        (logarithmic(8000, " ms"), (1, 100, 10_000), {10_000: 1}),
        (logarithmic(800, " ms"), (10, 1000), {1000: 1}),
    ],
)
def test_axes(axis, lines, shares):
    assert axis.lines == pytest.approx(lines)
    for value, share in shares.items():
        assert axis.share(value) == pytest.approx(share)


@pytest.mark.parametrize(
    ("number", "written"),
    [(None, words.NOTHING), (0, "0"), (0.003, "0.003"), (0.0678, "0.068"), (0.5, "0.5"), (12.0, "12"),
     (12.34, "12.3"), (99.96, "100.0"), (100.4, "100"), (12_345.6, "12\u202f346")],
)  # fmt: skip
def test_figures(number, written):
    assert figure(number) == written


@pytest.mark.parametrize("range_", RANGES, ids=lambda range_: range_.name)
def test_a_time_axis_has_a_few_round_times(range_):
    newest = NEWEST - NEWEST % range_.step
    start = newest - (range_.count - 1) * range_.step
    found = ticks(start, newest, range_.name)
    assert 4 <= len(found) <= 6
    assert all(at % 60 == 0 and start <= at <= newest for _, at in found)
    assert all(share == pytest.approx((at - start) / (newest - start)) for share, at in found)


def test_ticks_are_times_of_day_that_a_script_can_make_local():
    drawn = "".join(plot([1])._times())
    assert re.findall(r'data-minute="(\d+)">([^<]+)<', drawn)[-1] == (str(NEWEST - 20), "22:13")


def test_a_mark_has_a_title_and_a_place():
    mark = Mark(START + 299 / 4, "election", ("22:09:35 UTC: K2 <b>", "22:09:36 UTC: K1 started"))
    drawn = plot([1], marks=(mark,)).svg("words")
    assert "<title>22:09:35 UTC: K2 &lt;b&gt;\n22:09:36 UTC: K1 started</title>" in drawn
    assert re.search(r'<svg class="mark election" x="25.0%" data-at="[\d.]+">', drawn)


def test_an_idle_chart_has_a_line_and_says_so():
    drawn = plot([0] * 300).svg("words")
    assert f'd="M0 {FLOOR}l299 0"' in drawn
    assert "idle: nothing" in drawn
    assert '<circle class="newest line0"' in drawn
    assert "idle" not in plot([0] * 299 + [1]).svg("words")


def test_a_time_that_nobody_remembers_is_an_area_and_no_line_at_zero():
    drawn = plot([3] * 150).svg("words")
    assert '<rect class="unknown" x="0.0%" width="50.2%"' in drawn
    assert "no figures" in drawn
    assert 'd="M150 ' in drawn
    assert "unknown" not in plot([3] * 300).svg("words")


def test_a_time_that_some_nodes_do_not_remember_is_an_area_too():
    whole = plot([3] * 300)
    begins = {"K1": START, "K2": START + 150, "K3": None}
    drawn = replace(whole, series=replace(whole.series, begins=begins)).svg("words")
    assert '<rect class="partly" x="0.0%" width="50.2%"' in drawn
    assert "no figures" not in drawn
