"""Where a subcommand shows its output: a terminal with colours and motion, or plain text."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from kraft.cli.output.blocks import Block
from kraft.cli.output.plain import PlainDisplay

DUMB = ("", "dumb", "unknown")  # values of TERM of terminals that cannot move the cursor


class Display(Protocol):
    """The output of a subcommand. Nothing here changes what is said, only how it looks."""

    def show(self, *blocks: Block) -> None:
        """Print blocks."""

    def screen(self) -> AbstractContextManager[Callable[[Iterable[Block]], None]]:
        """A view that is replaced by the next one as a whole; the last one stays."""

    def live(self) -> AbstractContextManager[Callable[[Block], None]]:
        """The state of work under way, which changes in place. It is gone at the end."""

    def busy(self) -> AbstractContextManager[Callable[[str], None]]:
        """What goes on, in a few words, for a person who waits; a pipe is not told. It is gone at the end."""

    def work(self, label: str, unit: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """How far work has come, if it takes a while: the function is given what is done, and the total."""


def display() -> Display:
    """The display for standard output."""
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in DUMB:
        from kraft.cli.output.rich_display import RichDisplay  # its library takes a while to import

        return RichDisplay(sys.stdout)
    return PlainDisplay()
