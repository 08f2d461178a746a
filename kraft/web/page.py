"""The status page: one document, complete without a script; with one, its parts stay current."""

from kraft.telemetry.recent.history import RANGES, TimeRange
from kraft.web import assets, words
from kraft.web.charts import chart_parts, charts_of, series
from kraft.web.finding import Diagnosis
from kraft.web.findings import diagnose
from kraft.web.glossary import explanations
from kraft.web.html import Html, element, join
from kraft.web.sections import SIGNS, sections
from kraft.web.view import ClusterView

# Only resources of this node, and no inline script or style.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LINKS = (
    ("glossary", "glossary"), ("status", "state as JSON"), ("metrics", "metrics"), ("readyz", "ready?"),
    ("livez", "alive?"),
)  # fmt: skip
_HINTS = {
    "nodes": "As each node reports itself; lag and last contact as the leader sees them.",
    "traffic": "All nodes together: commands per second, and the time that 50 % or 99 % of them stay below.",
    "storage": "File sizes of each node; free is the free space of its file system.",
}


def render_page(view: ClusterView, range_: TimeRange = RANGES[0]) -> str:
    """The whole document, with charts of this range.

    Its addresses are relative, so that a proxy may serve it under a path.
    """
    found = diagnose(view)
    parts = {**sections(view, found), **chart_parts(view, series(view, range_))}
    head = join((
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", title(view, found)),
        Html(f'<link rel="icon" id="icon" type="image/svg+xml" href="{icon(found)}"'
             f' data-silent="{assets.ICONS["silent"].name}">'),
        Html(f'<link rel="stylesheet" href="{assets.STYLE.name}">'),
        Html(f'<link rel="stylesheet" href="{assets.CHARTS_STYLE.name}">'),
        *(element("script", src=script.name, defer="") for script in assets.SCRIPTS),
    ))  # fmt: skip
    main = element(
        "main",
        element("section", parts["verdict"], id="verdict", class_="whole", aria_label="Verdict"),
        element(
            "div",
            _section("Cluster", join((_overview(parts), _region("group-table", parts, "Groups")))),
            _section("Nodes", _scrolled("nodes", parts, "Nodes")),
            _section("Traffic", join((charts_of(parts), _scrolled("traffic", parts, "Traffic")))),
            _section("Load and disk", _scrolled("storage", parts, "Load and disk")),
            class_="facts",
        ),
        element(
            "div",
            _part("suggestions", parts),
            _section("Recent events", _part("events", parts), class_="events"),
            class_="aside",
        ),
    )
    skip = element("a", "to the verdict", href="#verdict", class_="skip")
    body = element("body", skip, _header(view), main, _footer(), explanations())
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def _header(view: ClusterView) -> Html:
    status = view.own.status
    mark = Html(f'<img src="{assets.MARK.name}" alt="" width="32" height="32">')
    name = element("h1", mark, "kraft ", element("span", status.node, class_="node"))
    cluster = element(
        "p", "cluster ", element("code", status.cluster[:12] or "not formed yet"), class_="cluster"
    )
    return element("header", name, cluster, element("p", as_of(view), class_="live", id="live"))


def _footer() -> Html:
    links = (element("a", label, href=path) for path, label in _LINKS)
    return element("footer", element("nav", *links, aria_label="More"))


def title(view: ClusterView, found: Diagnosis) -> str:
    """The title: the sign of the diagnosis, and the node."""
    return f"{SIGNS[found.severity]} {view.own.status.node} · kraft"


def icon(found: Diagnosis) -> str:
    """The name of the picture in the tab, which shows the state by colour and by form."""
    return assets.ICONS[found.severity].name


def as_of(view: ClusterView) -> Html:
    """The time of the report, by the clock of this node."""
    beat = element("i", class_="beat", aria_hidden="true")
    return join((beat, "as of ", words.clock_time(view.own.facts.wall_seconds)))


def _section(heading: str, content: Html, class_: str | None = None) -> Html:
    return element("section", element("h2", heading), content, class_=class_)


def _part(id_: str, parts: dict[str, Html]) -> Html:
    return element("div", parts[id_], id=id_)


def _overview(parts: dict[str, Html]) -> Html:
    return element("div", _part("topology", parts), _part("groups", parts), class_="overview")


def _scrolled(id_: str, parts: dict[str, Html], label: str) -> Html:
    return join((element("p", _HINTS[id_], class_="hint"), _region(id_, parts, label)))


def _region(id_: str, parts: dict[str, Html], label: str) -> Html:
    """A table in a region of its own, which scrolls if it is too wide and can be reached by keyboard."""
    names = {"id": id_, "class_": "scrolled", "aria_label": label}
    return element("div", parts[id_], **names, role="region", tabindex="0")
