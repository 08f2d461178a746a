"""Pictures of the page to look at: `make screenshots` keeps them, and docs/status-page.md shows two."""

import base64
import time
from pathlib import Path

import pytest

from tests.browser.conftest import Window
from tests.cluster.load import Load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DESK, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 844}
WIDE = {"width": 1680, "height": 1050}  # two columns
LOAD_SECONDS = 150  # for pictures that are kept: charts with something on them
DOCS_BYTES_MAX = 60_000  # of one picture in docs/


def keep(window: Window, folder: Path, name: str) -> None:
    """The whole page as PNG, to look at; its upper part as WebP, which is small enough for docs/."""
    window.page.screenshot(path=folder / f"{name}.png", full_page=True)
    if not name.startswith("status"):
        return
    width, height = window.page.evaluate(
        "[innerWidth, document.querySelector('#charts').getBoundingClientRect().bottom + scrollY + 10]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"format": "webp", "quality": 60, "captureBeyondViewport": True, "clip": clip}
    taken = window.page.context.new_cdp_session(window.page).send("Page.captureScreenshot", options)
    (folder / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


def test_pictures_of_a_good_and_a_bad_day(make_cluster, open_window, pictures, request):
    """A cluster that is empty or well, in light; one that has lost its leader, in dark; at a desk, on a wide
    screen and on a phone."""
    cluster = make_cluster()
    cluster.start()
    watched = cluster.followers()[0]
    windows = {
        name: open_window(color_scheme=scheme, viewport=size)
        for name, scheme, size in (
            ("status-light", "light", DESK),
            ("phone-light", "light", PHONE),
            ("wide-light", "light", WIDE),
            ("status-dark", "dark", DESK),
            ("phone-dark", "dark", PHONE),
            ("wide-dark", "dark", WIDE),
        )
    }
    for window in windows.values():
        window.look_at(watched)
    windows["wide-light"].wait("() => document.querySelector('.suggestions code')")
    keep(windows["wide-light"], pictures, "empty-light")

    with Load(list(cluster), 2):
        if request.config.getoption("--screenshots"):
            time.sleep(LOAD_SECONDS)
        for name, window in windows.items():
            window.wait("() => parseFloat(document.querySelector('[data-latest=write]').textContent) > 10")
            if name.endswith("light"):
                keep(window, pictures, name)
        if cluster.leader() is watched:  # the machine may have been busy
            assert cluster.order("TRANSFER", cluster.followers()[0].id) == "OK"
        cluster.leader().kill()
        for name, window in windows.items():
            window.wait("() => document.querySelector('.headline').textContent.includes('must not lose')")
            if name.endswith("dark"):
                keep(window, pictures, name)

    assert len(list(pictures.glob("*.png"))) >= len(windows)
    for name in ("status-light", "status-dark"):
        assert 0 < (pictures / f"{name}.webp").stat().st_size < DOCS_BYTES_MAX
    assert all(window.complaints == [] for window in windows.values())
