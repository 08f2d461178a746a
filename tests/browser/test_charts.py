"""The charts of the status page in a real Chromium: values, marks, ranges, gaps and times."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from kraft.cli.children import serves
from tests.browser.conftest import Window
from tests.browser.test_page import all_from_here
from tests.cluster.harness import wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow

DRAWN = "() => document.querySelector('#throughput .cursor') && document.querySelector('[data-latest=write]')"
CHARTS = ("throughput", "reads", "writes")
INDIA = timedelta(hours=5, minutes=30)


def wait_for_news(window: Window) -> None:
    """Until the next update has been shown."""
    window.page.evaluate(
        "() => { window.heard = false; document.addEventListener('news', () => { window.heard = true; }); }"
    )
    window.wait("() => window.heard")


def looked_at(window: Window, server) -> Window:
    """The page of that node, with numbers in its charts."""
    window.look_at(server)
    window.wait(DRAWN)
    wait_for_news(window)
    return window


def said(window: Window, chart: str) -> str:
    """The line above a chart."""
    return window.text(f"#{chart}-reading")


def test_values_are_under_the_pointer_in_all_charts(shared_cluster, open_window):
    """Of the same time; without the pointer they are the newest again."""
    window = open_window()
    with Load(list(shared_cluster), 2):
        looked_at(window, shared_cluster.leader())
        window.wait("() => parseFloat(document.querySelector('[data-latest=write_p99]').textContent) > 0")
        window.page.locator("#throughput").scroll_into_view_if_needed()
        box = window.page.locator("#throughput").bounding_box()
        window.page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 60)
        # The newest column is empty until the figures of all nodes for it are in.
        measured = r"^\d\d:\d\d:\d\d reads [\d.]+\s*writes [1-9]"
        wait_until(lambda: re.search(measured, said(window, "throughput")), "writes under the pointer")

        # The page may take new figures between two of these questions.
        wait_until(lambda: len({said(window, chart)[:8] for chart in CHARTS}) == 1, "one time in all charts")
        percentiles = r"p50 [\d.]+\s*p99 [\d.]+"
        wait_until(lambda: re.search(percentiles, said(window, "writes")), "latencies under the pointer")
        wait_for_news(window)
        assert window.page.locator(".cursor:visible").count() == len(CHARTS)

        window.page.mouse.move(0, 0)
        assert window.page.locator(".cursor:visible").count() == 0
        assert all(said(window, chart).startswith("now") for chart in CHARTS)
    assert window.complaints == []


def test_a_finger_leaves_the_cursor_where_it_was(shared_cluster, open_window):
    """And a tap elsewhere takes it away."""
    window = open_window(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    looked_at(window, shared_cluster.leader())
    window.page.locator("#reads").tap(position={"x": 100, "y": 60})
    told = said(window, "reads")
    assert re.match(r"\d\d:\d\d:\d\d", told)
    wait_for_news(window)
    assert said(window, "reads") == told
    window.page.locator("h1").tap()
    assert said(window, "reads").startswith("now")


def value(window: Window, name: str) -> str:
    """An attribute of the slider of throughput."""
    return window.page.get_attribute("#throughput", f"aria-{name}") or ""


def test_the_keyboard_moves_through_the_columns(shared_cluster, open_window):
    """As through the values of a slider, which screen readers read; updates do not move it."""
    window = looked_at(open_window(), shared_cluster.leader())
    window.page.focus("#throughput")
    newest = int(value(window, "valuenow"))
    for _ in range(3):
        window.page.keyboard.press("ArrowLeft")
    at = int(value(window, "valuenow"))
    assert 0 <= newest - 3 - at <= 0
    told = value(window, "valuetext")
    assert re.fullmatch(r"\d\d:\d\d:\d\d, reads \S+, writes \S+(, .*)?", told)
    assert value(window, "labelledby") == "throughput-name"

    wait_for_news(window)
    assert (int(value(window, "valuenow")), value(window, "valuetext")) == (at, told)
    window.page.keyboard.press("PageUp")
    assert value(window, "valuenow") == value(window, "valuemax")
    window.page.keyboard.press("Home")
    assert value(window, "valuenow") == value(window, "valuemin")
    window.page.keyboard.press("Escape")
    assert window.page.locator(".cursor:visible").count() == 0
    assert window.complaints == []


def test_an_idle_cluster_has_lines_and_marks_in_the_time_of_the_reader(make_cluster, open_window):
    """Marks say what and when; the cursor at one says it too."""
    cluster = make_cluster()
    for server in cluster:  # not `cluster.start`, which tries a write
        server.start()
    wait_until(lambda: all(serves(server.http_port) for server in cluster), "all nodes serve")
    leader = cluster.leader()
    window = looked_at(open_window(timezone_id="Asia/Kolkata"), cluster.followers()[0])

    window.wait("() => document.querySelector('.mark.election')")
    assert "idle: no commands in this range" in window.text("#throughput-plot")
    line = "document.querySelector('[data-column=read]').getAttribute('d')"
    window.wait(f"() => /^M\\d+ 138l\\d+ 0$/.test({line})")  # from the second column on
    assert "No figures before" in window.text("#coverage")
    assert window.page.locator("#throughput .unknown").count() == 1

    events = {each["text"]: each["at"] for each in leader.status()["events"] if each["mark"] == "election"}
    [(text, at)] = events.items()
    when = (datetime.fromtimestamp(at, UTC) + INDIA).strftime("%H:%M:%S")
    titles = window.page.locator("#throughput .mark title").all_text_contents()
    assert any(f"{when} UTC+05:30: {leader.id} {text}" in title for title in titles)
    assert window.text("#charts ~ .keys .zone") == "UTC+05:30"
    minutes = window.page.locator("#throughput [data-minute]").evaluate_all(
        "ticks => ticks.map((tick) => [tick.dataset.minute, tick.textContent])"
    )
    assert all((datetime.fromtimestamp(int(a), UTC) + INDIA).strftime("%H:%M") == b for a, b in minutes)

    window.page.focus("#throughput")
    window.page.keyboard.press("End")
    for _ in range(int(value(window, "valuenow")) - int(at) + 3):  # a second may pass meanwhile
        if f"{leader.id} {text}" in value(window, "valuetext"):
            break
        window.page.keyboard.press("ArrowLeft")
    assert f"{leader.id} {text}" in value(window, "valuetext")
    assert window.page.locator("#throughput .cursor span").is_visible()
    assert window.complaints == []


def test_a_restart_is_marked_and_its_gap_is_explained(make_cluster, open_window):
    """Nobody takes what a node has forgotten for a time without load."""
    cluster = make_cluster()
    cluster.start()
    leader, restarted = cluster.leader(), cluster.followers()[0]
    window = looked_at(open_window(), leader)
    window.wait("() => document.querySelector('.headline').textContent.includes('3 nodes answer')")
    known = "document.querySelector('[data-column=read]').getAttribute('d').match(/l(\\d+)/)"
    window.wait(f"() => Number({known}?.[1]) > 9")

    restarted.terminate()
    restarted.start()
    restarted.wait_serving()
    words = f"The figures of {restarted.id} begin at"
    window.wait("words => document.getElementById('coverage').textContent.includes(words)", words)
    window.wait("() => document.querySelector('#writes .partly')")
    titles = "[...document.querySelectorAll('#reads .mark.restart title')].map((title) => title.textContent)"
    window.wait(f"words => {titles}.some((title) => title.includes(words))", f"{restarted.id} started")


def test_a_range_is_chosen_without_a_new_page_and_stays(shared_cluster, open_window):
    """The address names it, so that it can be kept and passed on."""
    window = looked_at(open_window(), shared_cluster.leader())
    window.page.evaluate("window.kept = true")
    window.page.click("#ranges a:text('24 hours')")
    window.wait("() => document.getElementById('writes-words').textContent.includes('over 24 hours')")
    assert window.page.url.endswith("/?range=24h#ranges")
    assert window.page.get_attribute("#ranges [aria-current]", "href") == "?range=24h#ranges"
    assert said(window, "throughput").startswith("last 5 min")
    window.page.focus("#throughput")
    assert re.match(r"\d\d:\d[05] to \d\d:\d[05], reads ", value(window, "valuetext"))
    wait_for_news(window)
    assert "over 24 hours" in window.text("#reads-words")
    assert window.page.evaluate("window.kept")

    window.page.reload()
    assert "over 24 hours" in window.text("#reads-words")
    assert window.complaints == []
    assert all_from_here(window)


def test_ranges_and_charts_need_no_script(shared_cluster, open_window):
    """They are links and drawings of the node, with times in UTC."""
    window = open_window(java_script_enabled=False, timezone_id="Asia/Kolkata")
    window.look_at(shared_cluster.followers()[0])
    window.page.click("#ranges a:text('1 hour')")
    assert window.page.url.endswith("/?range=1h#ranges")
    assert "over 1 hour" in window.page.text_content("#reads-words")
    for chart in CHARTS:
        assert window.page.locator(f"#{chart} svg[role=img]").is_visible()
    assert window.page.get_attribute("[data-column=write]", "d").startswith("M")
    assert window.page.text_content("#charts ~ .keys .zone") == "UTC"
    assert window.page.goto(window.page.url.replace("1h", "2h")).status == 400
