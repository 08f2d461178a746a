"""The status page in a real Chromium, with three real nodes behind it."""

import shlex
import subprocess
import time

import pytest

from tests.browser.conftest import NODE_WAITS_MS, Window
from tests.cluster.harness import crowding, wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow

SHOWN_WITHIN_SECONDS = 2.0  # after the election
PHONE = {"width": 390, "height": 844}

# Texts whose colour has too little contrast (WCAG 2, 1.4.3) to the ground behind them, with that contrast.
FAINT_TEXTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    const shape = element.parentElement?.querySelector(":scope > rect"); // a node of the picture
    if (element instanceof SVGElement && shape) return getComputedStyle(shape).fill;
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(colour), light(ground(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) found.push(`${walker.currentNode.data}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""


# What has the focus, if anything: its name, and how it is marked.
FOCUSED = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  if (element === document.body) return null;
  const name = element.getAttribute("href") ?? element.getAttribute("popovertarget") ?? element.id;
  return [name, style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


def all_from_here(window: Window) -> bool:
    """Whether every request went to the one node that is looked at."""
    origin = window.page.evaluate("location.origin")
    return bool(window.requests) and all(url.startswith(origin + "/") for url in window.requests)


def test_a_failover_is_watched_on_the_page_of_another_node(make_cluster, open_window):
    """The new leader is shown at most two seconds after the watched node itself knows it."""
    cluster = make_cluster()
    cluster.start()
    leader, watched = cluster.leader(), cluster.followers()[0]
    window = open_window()
    window.look_at(watched)
    window.wait("leader => document.querySelector('.fact-leader')?.textContent === leader", leader.id)
    window.wait("() => document.querySelector('.headline').textContent.includes('3 nodes answer')")

    leader.kill()
    successor = wait_until(
        lambda: (seen := watched.group().get("leader")) != leader.id and seen, "a new leader"
    )
    known_at = time.monotonic()
    wait_until(lambda: window.text(".fact-leader") == successor, "the page shows the new leader")
    shown_after = time.monotonic() - known_at

    assert shown_after < SHOWN_WITHIN_SECONDS * crowding()
    window.wait("() => document.querySelector('.headline').textContent.includes('must not lose another')")
    assert f"{leader.id}: does not answer: Connection refused" in window.text(".findings")
    assert f"{successor} became leader" in window.text("#events")

    leader.start()
    window.wait("() => document.querySelector('.headline').textContent.includes('3 nodes answer')")
    assert window.complaints == []
    assert all_from_here(window)


def test_charts_move_under_load(shared_cluster, open_window):
    """Lines are drawn anew every second, and the text beside them says the same."""
    window = open_window()
    window.look_at(shared_cluster.leader())
    window.wait("() => document.querySelector('[data-column=write]')")
    before = window.page.get_attribute("[data-column=write]", "d")

    with Load(list(shared_cluster), 2):
        window.wait("() => parseFloat(document.querySelector('[data-latest=write]').textContent) > 10")
        window.wait("() => parseFloat(document.querySelector('[data-latest=write_p99]').textContent) > 0")

    assert window.page.get_attribute("[data-column=write]", "d") != before
    assert "writes" in window.text("#throughput-words")
    assert window.complaints == []
    assert all_from_here(window)


def test_without_a_script_it_is_a_page_of_tables(shared_cluster, open_window):
    """Everything, from all nodes."""
    window = open_window(java_script_enabled=False)
    window.look_at(shared_cluster.followers()[0])

    assert "All well: 3 nodes answer" in window.page.inner_text(".headline")
    roles = window.page.locator("#nodes tbody tr").all_inner_texts()
    assert [row.split()[0] for row in roles] == ["K1", "K2", "K3"]
    assert sum("leader" in row for row in roles) == 1
    assert window.page.locator("#traffic tbody tr").count() > 0
    assert window.page.locator("#charts").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_every_view_can_be_read(shared_cluster, open_window, scheme, size):
    """No text fainter than WCAG allows, and nothing wider than the screen but what scrolls by itself."""
    window = open_window(color_scheme=scheme, **({"viewport": size} if size else {}))
    window.look_at(shared_cluster.leader())
    window.wait("() => document.querySelector('[data-column=write]')")

    assert window.page.evaluate(FAINT_TEXTS) == []
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_reaches_everything_and_stays_there(shared_cluster, open_window):
    """Whatever has the focus is marked, and keeps it while the page is brought up to date."""
    window = open_window(reduced_motion="reduce")
    window.look_at(shared_cluster.leader())
    window.wait("() => document.querySelector('[data-column=write]')")
    reached: list[tuple[str, str, float]] = []
    while True:
        window.page.keyboard.press("Tab")
        focused = window.page.evaluate(FOCUSED)
        if focused is None or len(reached) > 120:
            break
        reached.append(tuple(focused))
    names = {name for name, _, _ in reached}
    charts = {"?range=1h#ranges", "throughput", "reads", "writes"}
    assert {"#verdict", "nodes", "traffic", "storage", "status", "metrics", "about-lag"} | charts <= names
    assert all(style == "solid" and width >= 2 for _, style, width in reached)

    window.page.focus("#nodes a")
    told = window.text("#live")
    window.wait("told => document.getElementById('live').textContent !== told", told)
    assert window.page.evaluate("document.activeElement.matches('#nodes a')")
    assert window.page.evaluate("getComputedStyle(document.querySelector('main')).transitionDuration") == "0s"


def test_a_page_whose_node_is_gone_says_so_and_comes_back(make_cluster, open_window):
    """Nobody takes what was true a while ago for the present."""
    cluster = make_cluster(1)
    cluster.start()
    window = open_window()
    window.look_at(cluster["K1"])
    window.wait("() => document.querySelector('[data-column=write]')")

    cluster["K1"].terminate()  # an open page does not keep it from ending in order
    window.wait("() => document.body.classList.contains('stale')")
    assert "no news for" in window.text("#live")
    assert window.page.evaluate(FAINT_TEXTS) == []
    assert window.page.title().startswith("?")

    cluster["K1"].start()
    window.wait("() => !document.body.classList.contains('stale')")
    window.wait("() => document.querySelector('.headline').textContent.includes('All well')")


SHOWN = "() => document.querySelector(':popover-open')?.textContent ?? ''"


def test_words_are_explained_to_the_mouse_and_to_the_keyboard(shared_cluster, open_window):
    """Beside the word, inside the window; Escape closes it, and so does going away."""
    window = open_window()
    window.look_at(shared_cluster.leader())
    window.wait("() => document.documentElement.classList.contains('scripted')")

    window.page.hover("#nodes [popovertarget=about-lag]")
    assert "entries that the leader has" in window.page.evaluate(SHOWN)
    word, told = (
        window.page.locator(selector).bounding_box()
        for selector in ("#nodes [popovertarget=about-lag]", "#about-lag")
    )
    assert abs(told["y"] - word["y"] - word["height"]) < 2
    assert told["x"] >= 0
    assert told["x"] + told["width"] <= 1100
    assert window.page.evaluate(FAINT_TEXTS) == []
    window.page.mouse.move(1, 1)
    window.wait("() => !document.querySelector(':popover-open')")

    window.page.focus("#nodes [popovertarget=about-lag]")
    window.page.keyboard.press("Shift+Tab")
    window.page.keyboard.press("Tab")
    window.wait("() => document.querySelector(':popover-open')?.id === 'about-lag'")
    window.page.keyboard.press("Escape")
    window.wait("() => !document.querySelector(':popover-open')")
    assert window.complaints == []


@pytest.mark.parametrize("script", [True, False])
def test_words_are_explained_to_the_finger(shared_cluster, open_window, script):
    window = open_window(viewport=PHONE, has_touch=True, is_mobile=True, java_script_enabled=script)
    window.look_at(shared_cluster.leader())
    window.page.tap("#groups [popovertarget=about-term]")
    about = window.page.locator("#about-term")
    about.wait_for(state="visible", timeout=NODE_WAITS_MS)
    assert "grows with every election" in about.inner_text()
    box = about.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    window.page.tap("h1")
    about.wait_for(state="hidden", timeout=NODE_WAITS_MS)


def test_a_command_is_copied_by_keyboard_and_the_tab_shows_the_state(make_cluster, open_window):
    """The command starts the node that is down; then the tab is calm again."""
    cluster = make_cluster()
    cluster.start()
    lost, watched = cluster.followers()
    window = open_window(permissions=["clipboard-read", "clipboard-write"])
    window.look_at(watched)
    window.wait("() => document.getElementById('icon').href.includes('kraft-good')")
    lost.kill()
    window.wait("() => document.getElementById('icon').href.includes('kraft-warn')")
    window.wait("() => document.querySelector('.node.silent') && document.querySelector('.edge.silent')")

    window.page.focus(".copy")
    window.page.keyboard.press("Enter")
    window.wait("() => document.querySelector('.copy').textContent === 'copied'")
    copied = window.page.evaluate("navigator.clipboard.readText()")
    assert shlex.split(copied)[-1] == str(lost.config)
    window.page.evaluate("navigator.clipboard.writeText('')")
    window.page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
    )  # as without https
    window.page.keyboard.press("Enter")
    assert window.page.evaluate("getSelection().toString()") == copied

    started = subprocess.Popen(shlex.split(copied), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        window.wait("() => document.getElementById('icon').href.includes('kraft-good')")
        window.wait("() => !document.querySelector('.edge.silent')")
    finally:
        started.terminate()
        started.wait(30)
    assert window.complaints == []
