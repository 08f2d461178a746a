"""Output for pipes, files and terminals that can do nothing: the words alone.

Other programs read it, so its bytes change only for a reason.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from kraft.cli.output.blocks import EMPTY, Block, Line, Meter, TextTable

NEWS_SECONDS = 1.0  # between two lines about the same work, and before the first one about short work


def plain_text(blocks: Iterable[Block]) -> str:
    """The blocks as lines, the last one without a line end."""
    return "\n".join(text for block in blocks for text in plain_lines(block))


def plain_lines(block: Block) -> Iterator[str]:
    """The lines of one block."""
    match block:
        case TextTable():
            yield from map(printable, _aligned(block))
        case Line():
            yield printable(block.text)
        case Meter():
            yield printable(block.line.text)


def _aligned(table: TextTable) -> Iterator[str]:
    cells = list(table.cells)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def printable(text: str) -> str:
    """`text` on one line: control characters in words of others must not steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class PlainDisplay:
    """The display without a terminal."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock

    def show(self, *blocks: Block) -> None:
        print(plain_text(blocks), file=self._out, flush=True)

    @contextmanager
    def screen(self) -> Iterator[Callable[[Iterable[Block]], None]]:
        """Each view follows the one before, after an empty line."""
        shown = False

        def show(blocks: Iterable[Block]) -> None:
            nonlocal shown
            self.show(*([EMPTY] if shown else []), *blocks)
            shown = True

        yield show

    @contextmanager
    def live(self) -> Iterator[Callable[[Block], None]]:
        """A line for each change, at most one a second."""
        told, told_at = "", 0.0

        def show(block: Block) -> None:
            nonlocal told, told_at
            text, now = plain_text([block]), self._clock()
            if text != told and now >= told_at + NEWS_SECONDS:
                self.show(block)
                told, told_at = text, now

        yield show

    @contextmanager
    def busy(self) -> Iterator[Callable[[str], None]]:
        """Nothing: who reads a pipe later is not waiting."""
        yield lambda _: None

    @contextmanager
    def work(self, label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """On standard error, a line when work turns out to take a while, and one at its end."""
        began = self._clock()
        told = False

        def report(done: int, total: int) -> None:
            nonlocal told
            if not told and self._clock() >= began + NEWS_SECONDS:
                told = True
                print(f"{label}: {done} of {total} {unit} so far", file=sys.stderr, flush=True)

        yield report
        if told:
            print(f"{label}: done in {self._clock() - began:.0f} s", file=sys.stderr, flush=True)
