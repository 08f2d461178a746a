"""The charts of the page as HTML: what stands still, and the parts that are sent again as time goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kraft.telemetry.recent.history import RANGES
from kraft.web.charts.axis import Axis, figure, linear, logarithmic
from kraft.web.charts.marks import KINDS, Mark, marks
from kraft.web.charts.plot import SHAPES, Plot, is_idle
from kraft.web.charts.series import Series
from kraft.web.html import Html, element, join, text
from kraft.web.view import ClusterView
from kraft.web.words import utc

SAME_START_SECONDS = 5  # between the starts of the nodes of a cluster
_KIND_WORDS = {"election": "new leader", "restart": "start or stop", "snapshot": "snapshot transfer"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart: its heading, its axis, its lines (column, words), and what it says when idle."""

    id: str
    heading: str
    per: str
    axis: Callable[[float, str], Axis]
    unit: str
    lines: tuple[tuple[str, str], ...]
    idle: str


FIGURES = (
    Figure("throughput", "Throughput", "commands per second", linear, "/s",
           (("read", "reads"), ("write", "writes")), "idle: no commands in this range"),
    Figure("reads", "Read latency", "milliseconds", logarithmic, " ms",
           (("read_p50", "p50"), ("read_p99", "p99")), "idle: no reads in this range"),
    Figure("writes", "Write latency", "milliseconds", logarithmic, " ms",
           (("write_p50", "p50"), ("write_p99", "p99")), "idle: no writes in this range"),
)  # fmt: skip


def chart_parts(view: ClusterView, shown: Series) -> dict[str, Html]:
    """The parts that change, by the id of the element that holds each."""
    found = marks(view, shown)
    parts = {"ranges": _ranges(shown), "coverage": _coverage(shown)}
    for each in FIGURES:
        parts |= _parts(each, shown, found)
    return parts


def charts_of(parts: Mapping[str, Html]) -> Html:
    """All charts, with these parts."""
    figures = [
        element(
            "figure",
            element("figcaption", element("b", each.heading), f" {each.per}", id=f"{each.id}-name"),
            element("p", parts[f"{each.id}-reading"], id=f"{each.id}-reading", class_="reading"),
            # The script makes this a slider of times, and puts a cursor over the drawing.
            element("div", element("div", parts[f"{each.id}-plot"], id=f"{each.id}-plot"), class_="plot",
                    id=each.id, aria_labelledby=f"{each.id}-name"),
            element("p", parts[f"{each.id}-words"], id=f"{each.id}-words", class_="unseen"),
        )
        for each in FIGURES
    ]  # fmt: skip
    return join((
        element("nav", parts["ranges"], id="ranges", class_="ranges", aria_label="Time range of the charts"),
        element("p", parts["coverage"], id="coverage", class_="hint"),
        element("div", *figures, class_="charts", id="charts"),
        element("p", *map(_key, KINDS), "Times are ", element("span", "UTC", class_="zone"), ".",
                class_="hint keys"),
    ))  # fmt: skip


def _ranges(shown: Series) -> Html:
    return join(
        element("a", each.words, href=f"?range={each.name}#ranges",
                aria_current="true" if each is shown.range else None)
        for each in RANGES
    )  # fmt: skip


def _coverage(shown: Series) -> Html:
    """Which figures are missing: a node remembers nothing from before its start."""
    begins = {node: begin for node, begin in shown.begins.items() if begin is not None}
    if not begins:
        return text("No node has figures yet.")
    earliest, step = min(begins.values()), shown.range.step
    lines = []
    if earliest > shown.start + step:
        lines.append(f"No figures before {utc(earliest)}: nodes keep them in memory.")
    for node in shown.begins:
        begin = begins.get(node)
        if begin is None:
            lines.append(f"The figures of {node} are not known.")
        elif begin > max(earliest, shown.start) + step + SAME_START_SECONDS:
            lines.append(f"The figures of {node} begin at {utc(begin)}.")
    return text(" ".join(lines))


def _parts(each: Figure, shown: Series, found: Sequence[Mark]) -> dict[str, Html]:
    names = [name for name, _ in each.lines]
    highest = max((number for name in names for number in shown.columns[name] if number), default=0)
    plot = Plot(shown, names, each.axis(highest, each.unit), found, each.idle)
    return {
        f"{each.id}-reading": _reading(each, shown),
        f"{each.id}-plot": plot.svg(f"{each.id}-words"),
        f"{each.id}-words": _words(each, shown, found),
    }


def _reading(each: Figure, shown: Series) -> Html:
    """The newest values; the script shows those at the cursor."""
    values = [
        element("span", element("i", class_=f"key line{number}", aria_hidden="true"), f"{label} ",
                element("b", figure(shown.columns[name][-1]), data_latest=name), class_="legend")
        for number, (name, label) in enumerate(each.lines)
    ]  # fmt: skip
    when = element("span", _newest_words(shown), class_="when")
    return Html(" ".join((when, *values)))


def _newest_words(shown: Series) -> str:
    """What the newest column is about."""
    step = shown.range.step
    return "now" if step == 1 else f"last {step} s" if step < 60 else f"last {step // 60} min"


def _words(each: Figure, shown: Series, found: Sequence[Mark]) -> Html:
    """What the drawing shows, for those who do not see it."""
    columns = {label: shown.columns[name] for name, label in each.lines}
    values = [
        f"{label} {_newest_words(shown)} {figure(column[-1])},"
        f" at most {figure(max((number for number in column if number is not None), default=None))}"
        for label, column in columns.items()
    ]
    said = each.idle if is_idle(columns.values()) else "; ".join(values)
    events = "".join(f" {line}." for mark in found for line in mark.lines) if each is FIGURES[0] else ""
    return text(f"{each.heading} over {shown.range.words}, in {each.per}: {said}.{events}")


def _key(kind: str) -> Html:
    """The shape of a mark, and what it stands for."""
    shape = element("svg", element("path", d=SHAPES[kind]), class_=f"mark {kind}", viewBox="-7 -1 14 14",
                    aria_hidden="true")  # fmt: skip
    return element("span", shape, f" {_KIND_WORDS[kind]}", class_="legend")
