"""One chart as SVG, drawn by the node: it needs no script, and fits any width.

Everything across is a part of the width (`x="37.5%"`). The lines are in a drawing of their own, which is
stretched to the width. Heights are pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kraft.web.charts.axis import Axis, figure, ticks
from kraft.web.charts.marks import Mark
from kraft.web.charts.series import Numbers, Series
from kraft.web.html import Html, element
from kraft.web.words import utc

HEIGHT = 160  # as in charts.css
FLOOR = 138  # the time axis; its words are below
ROOF = 22  # the highest value; the shapes of marks are above
SLIVER = 0.01  # of the width: an area so narrow says nothing
WIDE = 0.25  # of the width, from which on a gap has words
# Shapes of marks, 10 pixels wide around x = 0: a triangle, a circle, and a square on its corner.
SHAPES = {
    "election": "M-6 11h12L0 1z",
    "restart": "M-5 6a5 5 0 0 0 10 0a5 5 0 0 0-10 0z",
    "snapshot": "M-6 6L0 0L6 6L0 12z",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: `names` are the columns of `series` that are its lines. `idle` is what it says without any."""

    series: Series
    names: Sequence[str]
    axis: Axis
    marks: Sequence[Mark]
    idle: str

    def svg(self, labelled_by: str) -> Html:
        """The drawing. The element `labelled_by` says the same in words."""
        inner = (
            *self._gaps(), *self._values(), *self._times(), *map(self._mark, self.marks), self._lines(),
            *self._newest(), *self._labels(), *self._words(),
        )  # fmt: skip
        return element("svg", *inner, role="img", aria_labelledby=labelled_by, height=str(HEIGHT))

    def _share(self, at: float) -> float:
        """The part of the width at a Unix time."""
        width = self.series.newest - self.series.start
        return min(max((at - self.series.start) / width, 0.0), 1.0)

    def _y(self, number: float) -> int:
        return round(FLOOR - self.axis.share(number) * (FLOOR - ROOF))

    def _gaps(self) -> Iterator[Html]:
        """Areas in which no node, or not every node, remembers anything."""
        known = [begin for begin in self.series.begins.values() if begin is not None]
        numbers = self.series.columns[self.names[0].partition("_")[0]]
        first = next((place for place, number in enumerate(numbers) if number is not None), len(numbers))
        unknown = first / (len(numbers) - 1)
        if first:
            yield _area("unknown", 0.0, unknown)
        partly = self._share(max(known, default=0))
        if partly > unknown + SLIVER:
            yield _area("partly", unknown, partly)
        if unknown > WIDE:
            yield _said("no figures", min(unknown, 1.0) / 2, FLOOR - 5)  # below the values of the axis

    def _values(self) -> Iterator[Html]:
        for value in self.axis.lines:
            y = str(self._y(value))
            yield element("line", class_="grid", x2="100%", y1=y, y2=y)
        yield element("line", class_="floor", x2="100%", y1=str(FLOOR), y2=str(FLOOR))

    def _labels(self) -> Iterator[Html]:
        """The values of the lines, drawn above marks and curves."""
        for value in self.axis.lines:
            yield element("text", f"{figure(value)}{self.axis.unit}", x="4", y=str(self._y(value) - 3))

    def _times(self) -> Iterator[Html]:
        for share, at in ticks(self.series.start, self.series.newest, self.series.range.name):
            x = _percent(share)
            yield element("line", class_="floor", x1=x, x2=x, y1=str(FLOOR), y2=str(FLOOR + 4))
            yield element(
                "text", utc(at)[:5], x=x, y=str(HEIGHT - 5), text_anchor="middle", data_minute=str(at)
            )

    def _mark(self, mark: Mark) -> Html:
        return element(
            "svg",
            element("title", "\n".join(mark.lines)),
            element("line", y1="12", y2=str(FLOOR)),
            element("path", d=SHAPES[mark.kind]),
            element("rect", x="-8", width="16", height=str(FLOOR)),  # what the pointer has to hit
            class_=f"mark {mark.kind}", x=_percent(self._share(mark.at)), data_at=f"{mark.at:.3f}",
        )  # fmt: skip

    def _lines(self) -> Html:
        lines = [
            element("path", class_=f"line line{number}", d=self._path(name), data_column=name)
            for number, name in enumerate(self.names)
        ]
        view_box = f"0 0 {self.series.range.count - 1} {FLOOR}"
        return element("svg", *lines, class_="lines", viewBox=view_box, preserveAspectRatio="none",
                       height=str(FLOOR))  # fmt: skip

    def _path(self, name: str) -> str:
        return path([None if number is None else self._y(number) for number in self.series.columns[name]])

    def _newest(self) -> Iterator[Html]:
        """A dot at the end of each line: the chart is live, also while nothing happens."""
        for number, name in enumerate(self.names):
            newest = self.series.columns[name][-1]
            if newest is not None:
                y = str(self._y(newest))
                yield element("circle", class_=f"newest line{number}", cx="100%", cy=y, r="3")

    def _words(self) -> Iterator[Html]:
        if is_idle(self.series.columns[name] for name in self.names):
            yield _said(self.idle, 0.5, (ROOF + FLOOR) // 2 - 8)


def is_idle(columns: Iterable[Numbers]) -> bool:
    """Whether there was something to see, and nothing happened."""
    return not any(number for column in columns for number in column)


def path(heights: Sequence[int | None]) -> str:
    """The `d` of a line through these heights, one for each unit of x, with gaps where there is none.

    Steps are relative, and a straight part is one step, so that a quiet line is short.
    """
    drawn = ""
    here: tuple[int, int] | None = None  # where the line has come to
    for x, y in enumerate(heights):
        if y is None:
            here = None
            continue
        following = heights[x + 1] if x + 1 < len(heights) else None
        if here is None:
            drawn += f"M{x} {y}" + ("h.1" if following is None else "l")  # a dot, or the start of a line
            here = x, y
        elif not heights[x - 1] == y == following:
            drawn += f"{x - here[0]} {y - here[1]} "
            here = x, y
    return drawn.replace(" -", "-").replace(" M", "M").strip()


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _area(kind: str, start: float, end: float) -> Html:
    return element("rect", class_=kind, x=_percent(start), width=_percent(end - start), height=str(FLOOR))


def _said(words: str, share: float, y: int) -> Html:
    return element("text", words, x=_percent(share), y=str(y), text_anchor="middle", class_="said")
