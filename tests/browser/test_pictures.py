"""Pictures of the page to look at: `make screenshots` keeps them, and docs/status-page.md shows some."""

import base64
import random
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import RANGES, History, TimeRange
from kraft.telemetry.recent.journal import ELECTION, RESTART, SNAPSHOT, JournalEntry
from kraft.web import assets
from kraft.web.page import render_page
from tests.browser.conftest import Window
from tests.browser.test_page import FAINT_TEXTS
from tests.cluster.load import Load
from tests.web.reports import NODES, placed, report, view

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DESK, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 844}
WIDE = {"width": 1680, "height": 1050}  # two columns
WINDOWS = (
    ("status-light", "light", DESK),
    ("phone-light", "light", PHONE),
    ("wide-light", "light", WIDE),
    ("status-dark", "dark", DESK),
    ("phone-dark", "dark", PHONE),
    ("wide-dark", "dark", WIDE),
)
LOAD_SECONDS = 150  # for pictures that are kept: charts with something on them
DOCS_BYTES_MAX = 80_000  # of one picture in docs/; on a busy machine there is more to draw
KEYS, KEY_BYTES, MOVED_BYTES_PER_SECOND = 2_500, 10_000, 64 << 10  # the moves take about 50 s and 36 s
NOON = 1_700_049_600  # 12:00:00 UTC

# The documents show where a package puts things, not where a test does.
USUAL_PATHS = """() => {
  for (const code of document.querySelectorAll(".next code")) {
    const usual = code.textContent.replace(/\\S*\\/twistd /, "/opt/kraft/bin/twistd ");
    code.textContent = usual.replace(/\\S*\\/(K\\d)\\/kraft.yaml/, "/etc/kraft/$1.yaml");
  }
}"""


def keep(window: Window, folder: Path, name: str, end: str = "#charts") -> None:
    """The whole page as PNG, to look at; it down to the element `end` as WebP, small enough for docs/."""
    window.page.evaluate(USUAL_PATHS)
    window.page.screenshot(path=folder / f"{name}.png", full_page=True)
    if not name.startswith("status"):
        return
    width, height = window.page.evaluate(
        "end => [innerWidth, document.querySelector(end).getBoundingClientRect().bottom + scrollY + 10]", end
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"format": "webp", "quality": 40, "captureBeyondViewport": True, "clip": clip}
    taken = window.page.context.new_cdp_session(window.page).send("Page.captureScreenshot", options)
    (folder / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
    assert 0 < (folder / f"{name}.webp").stat().st_size < DOCS_BYTES_MAX


def test_pictures_of_a_good_and_a_bad_day(make_cluster, open_window, pictures, request):
    """A cluster that is empty or well, in light; one without its leader, in dark, then without a majority;
    at a desk, on a wide screen and on a phone."""
    cluster = make_cluster()
    cluster.start()
    watched = cluster.followers()[0]
    kept = request.config.getoption("--screenshots")
    windows = {
        name: open_window(color_scheme=scheme, viewport=size)
        for name, scheme, size in WINDOWS
        if kept or name in ("wide-light", "status-dark")
    }
    for window in windows.values():
        window.look_at(watched)
    windows["wide-light"].wait("() => document.querySelector('.suggestions code')")
    keep(windows["wide-light"], pictures, "empty-light")

    with Load(list(cluster), 2):
        if kept:
            time.sleep(LOAD_SECONDS)
        for name, window in windows.items():
            window.wait("() => parseFloat(document.querySelector('[data-latest=write]').textContent) > 10")
            if name.endswith("light"):
                window.wait("() => document.querySelector('.headline').textContent.includes('All well')")
                keep(window, pictures, name)
        if cluster.leader() is watched:  # the machine may have been busy
            assert cluster.order("TRANSFER", cluster.followers()[0].id) == "OK"
        cluster.leader().kill()
        for name, window in windows.items():
            window.wait("() => document.querySelector('.headline').textContent.includes('must not lose')")
            if name.endswith("dark"):
                keep(window, pictures, name)
    other = next(node for node in cluster if node is not watched and node.running)
    other.kill()
    for name, window in windows.items():
        window.wait("() => document.querySelector('.headline').textContent.includes('is not serving')")
        if not name.startswith("status"):
            keep(window, pictures, f"lost-{name}")

    assert all(window.complaints == [] for window in windows.values())


def test_pictures_of_groups_whose_slots_move(make_cluster, open_window, pictures):
    """Three groups of which two give slots away slowly; then without a node that leads one of them."""
    cluster = make_cluster(cluster={"groups": 3}, snapshot={"bytes_per_second": MOVED_BYTES_PER_SECOND})
    cluster.start()
    watched, *others = cluster
    with watched.client() as client:
        for number in range(KEYS):
            assert client.call("SET", f"key:{number}", b"x" * KEY_BYTES) == "OK"
    windows = {
        name: open_window(color_scheme=scheme, viewport=size)
        for name, scheme, size in (
            ("status-groups", "light", DESK),
            ("groups-phone-dark", "dark", PHONE),
            ("groups-wide-dark", "dark", WIDE),
        )
    }
    for window in windows.values():
        window.look_at(watched)
    with Load(list(cluster), 2):
        for first, last, receiver in ((0, 2047, 2), (5462, 7000, 0)):
            watched.order("MOVE", "SLOTS", first, last, "TO", receiver)
        for name, window in windows.items():
            window.wait("() => /moves slots 5462-7000/.test(document.body.textContent)")
            window.wait("() => parseFloat(document.querySelector('[data-latest=write]').textContent) > 10")
            keep(window, pictures, name)
        others[0].kill()
        for name, window in windows.items():
            window.wait("() => document.querySelector('.headline').textContent.includes('must not lose')")
            if not name.startswith("status"):
                keep(window, pictures, f"fault-{name}")
    assert all(window.complaints == [] for window in windows.values())


def _columns(range_: TimeRange, dice: random.Random) -> History:
    """A range that ends at noon, with more load by day and two quiet hours; the node began within it."""
    known = range_.count * 5 // 6
    loads = [int(range_.step * (20 + 80 * place / known) * dice.uniform(0.7, 1.3)) for place in range(known)]
    loads[known * 3 // 10 : known * 4 // 10] = [0] * (known * 4 // 10 - known * 3 // 10)
    reads, writes = (tuple(_observed(load, dice.uniform(*middle)) for load in loads)
                     for middle in ((0.0, 0.9), (1.6, 2.8)))  # fmt: skip
    newest = NOON - NOON % range_.step
    since = newest - (known - 1) * range_.step
    classes = {"read": reads, "write": writes, "sync": writes}
    return History(newest, classes, range_.step, since=since, until=newest + range_.step)


def _observed(load: int, middle: float) -> tuple[int, ...]:
    """So many observations by bucket, most of them around the bucket `middle`."""
    return tuple(int(load * 0.7 * 0.25 ** abs(bucket - middle)) for bucket in range(8))


def _events(range_: TimeRange) -> tuple[JournalEntry, ...]:
    """Of one node, the newest first."""
    told = (
        (0.85, "snapshot_sent", "sent a snapshot to K2: 120 MiB", SNAPSHOT),
        (0.7, "node_started", "started", RESTART),
        (0.55, "election_won", "became leader in term 8", ELECTION),
    )
    return tuple(
        JournalEntry(NOON - (1 - share) * range_.seconds, "info", name, text, term=8, mark=mark)
        for share, name, text, mark in told
    )


def shown_alone(window: Window, page: str) -> None:
    """A page without a server, with its styles and the mark in it."""
    styles = assets.STYLE.body.decode() + assets.CHARTS_STYLE.body.decode()
    page = page.replace("</head>", f"<style>{styles}</style></head>")
    page = page.replace(assets.MARK.name, f"data:image/svg+xml,{quote(assets.MARK.body.decode())}")
    window.page.set_content(page)


@pytest.mark.parametrize(
    ("name", "down", "scheme", "size"),
    [
        ("placed-wide-dark", (), "dark", WIDE),
        ("placed-phone-light", ("K3",), "light", PHONE),
        ("placed-desk-light", ("K4", "K5", "K6"), "light", DESK),
    ],
)
def test_pictures_of_groups_on_some_of_the_nodes(open_window, pictures, name, down, scheme, size):
    """One gets a replica; without a voter of three groups; without all nodes of a group."""
    incoming = {"learners": ("K6",), "joining": ("K6",), "replaced": {"K6": "K3"}}
    window = open_window(color_scheme=scheme, viewport=size, java_script_enabled=False)
    shown_alone(window, render_page(placed(*down, g2=incoming)))
    keep(window, pictures, name)
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert window.page.evaluate(FAINT_TEXTS) == []
    boxes = "[...document.querySelectorAll('.topology .node')].filter(node => "
    wider = "node.querySelector('.line').getBBox().width + 38 > node.querySelector('rect').getBBox().width)"
    assert window.page.evaluate(f"{boxes}{wider}.length") == 0


@pytest.mark.parametrize(
    ("name", "range_", "scheme", "size"),
    [
        ("status-day", RANGES[2], "light", DESK),
        ("hour-dark", RANGES[1], "dark", DESK),
        ("day-phone-dark", RANGES[2], "dark", PHONE),
        ("hour-phone-light", RANGES[1], "light", PHONE),
    ],
)
def test_pictures_of_long_ranges(open_window, pictures, name, range_, scheme, size):
    """No test lasts a day: the page of nodes that never were."""
    dice = random.Random(1)
    facts = Facts(
        wall_seconds=NOON + 2.0, history=_columns(RANGES[0], dice), longer=(_columns(range_, dice),),
        events=_events(range_),
    )  # fmt: skip
    others = replace(facts, events=())
    shown = view(
        *(report(id_, facts=facts if id_ == "K1" else others, uptime_seconds=72_000.0) for id_ in NODES)
    )
    window = open_window(color_scheme=scheme, viewport=size, java_script_enabled=False)
    shown_alone(window, render_page(shown, range_))
    assert window.page.locator("#throughput path[data-column]").count() == 2
    keep(window, pictures, name)
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert window.page.evaluate(FAINT_TEXTS) == []
