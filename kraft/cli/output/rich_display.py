"""Output at a terminal, by rich: colours, columns that fit, bars, and views that change in place.

Colours are those of the terminal's own palette, so that they suit a light and a dark one. NO_COLOR leaves
bold and the layout (https://no-color.org). Without UTF-8 bars are of ASCII characters.
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from kraft.cli.output.blocks import EMPTY, Block, Line, Meter, TextTable
from kraft.cli.output.plain import printable

THEME = Theme(
    {
        "plain": "none",
        "strong": "bold",
        "dim": "bright_black",
        "good": "green",
        "warn": "yellow",
        "bad": "bold red",
        "news": "cyan",
        "command": "bold",
        "table.header": "bright_black",
        "bar.back": "bright_black",
        "bar.complete": "cyan",
        "bar.finished": "green",
    }
)
GAP = 2  # between two columns
HANGING_MIN = 24  # columns for text that is indented; a terminal with less shows it from its edge
BAR_MIN, BAR_MAX = 10, 30
WORK_SECONDS = 0.3  # work that takes less shows no bar
REFRESHES = 4  # a second: the size of the terminal may have changed
SIGNS = 12  # a second, of a sign of life
MIB = 1 << 20


@contextmanager
def _stoppable(view: Live) -> Iterator[None]:
    """Ctrl-Z leaves the screen of `view` before the process stops, and `fg` returns to it."""

    def stop(number: int, _: object) -> None:
        view.stop()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # returns when the process is continued
        signal.signal(number, stop)
        view.start(refresh=True)

    before = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


class RichDisplay:
    """The display of a terminal."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(
            file=out, theme=THEME, force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._clock = clock

    def show(self, *blocks: Block) -> None:
        for block in blocks:
            # The terminal itself breaks a line with a command, so that it is copied in one piece.
            self._console.print(_renderable(block), soft_wrap=isinstance(block, Line) and block.command)

    @contextmanager
    def screen(self) -> Iterator[Callable[[Iterable[Block]], None]]:
        """All of the terminal, which shows what was there before at the end, and below that the last view."""
        last: list[Block] = []
        view = Live(console=self._console, screen=True, refresh_per_second=REFRESHES)

        def show(blocks: Iterable[Block]) -> None:
            last[:] = blocks
            view.update(_Cropped(last.copy()), refresh=True)

        try:
            with view, _stoppable(view):
                yield show
        finally:
            self.show(*last)

    @contextmanager
    def live(self) -> Iterator[Callable[[Block], None]]:
        view = Live(console=self._console, transient=True, refresh_per_second=REFRESHES)
        with view:
            yield lambda block: view.update(_renderable(block), refresh=True)

    @contextmanager
    def busy(self) -> Iterator[Callable[[str], None]]:
        sign = "dots" if self._console.encoding.startswith("utf") else "line"
        view = Live(console=self._console, transient=True, refresh_per_second=SIGNS)
        with view:
            yield lambda text: view.update(Spinner(sign, Text(printable(text), "dim"), style="dim"))

    @contextmanager
    def work(self, label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        began = self._clock()
        view = Live(console=self._console, transient=True, refresh_per_second=REFRESHES)

        def report(done: int, total: int) -> None:
            seconds = self._clock() - began
            if seconds >= WORK_SECONDS:
                view.start()
                view.update(_Bar(Meter(EMPTY, label, done, total, seconds, unit)))

        try:
            yield report
        finally:
            view.stop()


def _renderable(block: Block) -> RenderableType:
    match block:
        case TextTable():
            return _Columns(block)
        case Line():
            return _Hanging(block)
        case Meter():
            return _Bar(block)


def _text(line: Line) -> Text:
    return Text.assemble(*((printable(span.text), span.style) for span in line.spans))


class _Hanging:
    """A line whose continuation lines are indented."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        text, hang = _text(self._line), self._line.hang
        if not hang or options.no_wrap or options.max_width - hang < HANGING_MIN:
            yield text
            return
        grid = Table.grid()
        grid.add_column(width=hang, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(text[:hang], text[hang:])
        yield grid


class _Columns:
    """A table with as many columns as there is room for."""

    def __init__(self, table: TextTable) -> None:
        self._table = table

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        kept = self._fitting(options.max_width)
        shown = Table(box=None, padding=(0, GAP // 2), pad_edge=False)
        for place in kept:
            column = self._table.columns[place]
            shown.add_column(column.heading, justify="right" if column.number else "left", overflow="fold")
        for row in self._table.rows:
            shown.add_row(*(Text(printable(row[place].text), row[place].style) for place in kept))
        yield shown
        absent = [each.heading for place, each in enumerate(self._table.columns) if place not in kept]
        if absent:
            yield Text(f"left out, as there is no room for it: {', '.join(absent)}", "dim")

    def _fitting(self, width: int) -> list[int]:
        """The places of the columns to show."""
        widths = [max(map(len, cells)) for cells in zip(*self._table.cells, strict=True)]
        kept = list(range(len(widths)))
        while kept and sum(widths[place] for place in kept) + GAP * (len(kept) - 1) > width:
            spare = max(kept, key=lambda place: self._table.columns[place].spare)
            if not self._table.columns[spare].spare:
                break
            kept.remove(spare)
        return kept


class _Bar:
    """A meter: label, bar, share, amounts, rate and the time that is left; the last ones where they fit."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        meter = self._meter
        label, facts = printable(meter.label), _facts(meter)
        room = options.max_width - len(label) - 1
        while len(facts) > 1 and room - _width(facts) < BAR_MIN:
            facts.pop(max(1, len(facts) - 2))
        bar = ProgressBar(
            total=max(meter.total, 1),
            completed=min(meter.done, meter.total),
            width=max(BAR_MIN, min(BAR_MAX, room - _width(facts))),
        )
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(label, bar, *facts)
        yield grid


def _width(facts: list[str]) -> int:
    return sum(len(fact) + 1 for fact in facts)


def _facts(meter: Meter) -> list[str]:
    """In the order of the bar: how much, of how much, how fast, and how long it will take from here."""
    share = f"{100 * meter.done // max(meter.total, 1):3d} %"
    if not meter.done or not meter.seconds:
        return [share]
    rate = meter.done / meter.seconds
    left = _clock_time(max(0, meter.total - meter.done) / rate)
    if meter.unit != "bytes":
        return [share, f"{meter.done:,} of {meter.total:,} {meter.unit}", f"{rate:,.0f}/s", f"{left} left"]
    amounts = f"{meter.done / MIB:.1f} of {meter.total / MIB:.1f} MiB"
    return [share, amounts, f"{rate / MIB:.1f} MiB/s", f"{left} left"]


def _clock_time(seconds: float) -> str:
    """Such as 0:07, 12:30 or 3:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Cropped:
    """Blocks on a whole screen; where they are too many, the last line says so."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        content = Group(*map(_renderable, self._blocks))
        lines = console.render_lines(content, options.update(height=None), pad=False)
        more = len(lines) - height
        for line in lines if more <= 0 else lines[: height - 1]:
            yield from line
            yield Segment.line()
        if more > 0:
            yield Text(f"{more + 1} more lines; a larger terminal shows them", "dim", no_wrap=True)
