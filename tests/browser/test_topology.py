"""The picture of clusters of every size in a real Chromium: readable, and no word outside its node."""

from dataclasses import replace

import pytest

from kraft.node.status import TransferStatus
from kraft.web import assets
from kraft.web.topology import topology
from tests.browser.test_page import FAINT_TEXTS
from tests.web.reports import member, replica, report, silent, view

pytestmark = pytest.mark.slow

# Words that stick out of their node.
WORDS_OUTSIDE = """() => [...document.querySelectorAll(".node")].flatMap((node) => {
  const box = node.querySelector("rect").getBBox();
  return [...node.querySelectorAll("text")].filter((text) => {
    const words = text.getBBox();
    return words.x < box.x || words.x + words.width > box.x + box.width;
  }).map((text) => text.textContent);
})"""


def cluster(count):
    """Nodes of all kinds: K1 leads; from three on the last one is down, from five on others lag and join."""
    ids = [f"K{number}" for number in range(1, count + 1)]
    down = {ids[-1]} if count >= 3 else set()
    learners = ("K4",) if count >= 5 else ()
    lags = {"K2": 1_234_567} if count >= 5 else {}
    group = {
        "voters": tuple(id_ for id_ in ids if id_ not in learners), "learners": learners,
        "replicas": tuple(replica(id_, lag_entries=lags.get(id_, 0)) for id_ in ids[1:]),
    }  # fmt: skip
    members = tuple(member(id_, connected=id_ not in down) for id_ in ids)
    moving = TransferStatus("K1", "receive", 100, 1 << 20, 4 << 20, 2.0)
    told = [report(id_, members=members, group=group) for id_ in ids if id_ not in down]
    if learners:
        own = replace(told[3].status.groups[0], transfers=(moving,))
        told[3] = replace(told[3], status=replace(told[3].status, groups=(own,)))
    return view(*told, *map(silent, down))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 9])
def test_the_picture_can_be_read(open_window, pictures, count, scheme):
    window = open_window(color_scheme=scheme, viewport={"width": 520, "height": 560})
    style = assets.STYLE.body.decode()
    drawn = f'<section><div id="topology">{topology(cluster(count))}</div></section>'
    window.page.set_content(f"<!doctype html><style>{style}</style><body>{drawn}")

    assert window.page.evaluate(WORDS_OUTSIDE) == []
    assert window.page.evaluate(FAINT_TEXTS) == []
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.page.screenshot(path=pictures / f"topology-{count}-{scheme}.png")
