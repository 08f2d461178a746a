"""Reads commands from a terminal: with prompt_toolkit if it is installed, else with readline, else plainly.

prompt_toolkit (extra `kraft[shell]`) adds hints, suggestions from the history and multi-line editing.
"""

import importlib
from typing import Any, Protocol

from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.history import HistoryFile
from kraft.cli.shell.lines import CONTINUATION, is_open


class Prompt(Protocol):
    """A source of typed commands."""

    def read(self, label: str) -> str:
        """What was typed at the prompt `label`, with the lines that close its quotes.

        Raises EOFError for Ctrl-D and KeyboardInterrupt for Ctrl-C.
        """

    def remember(self, entry: str) -> None:
        """Add a command to the history."""


def best_prompt(catalog: CommandCatalog, history: HistoryFile) -> Prompt:
    """The best that is installed."""
    for make in (_toolkit, _readline):
        try:
            return make(catalog, history)
        except ImportError:
            continue
    return PlainPrompt(history)


def _toolkit(catalog: CommandCatalog, history: HistoryFile) -> Prompt:
    from kraft.cli.shell.toolkit import ToolkitPrompt

    return ToolkitPrompt(catalog, history)


def _readline(catalog: CommandCatalog, history: HistoryFile) -> Prompt:
    return ReadlinePrompt(importlib.import_module("readline"), catalog, history)


class PlainPrompt:
    """`input` without anything."""

    def __init__(self, history: HistoryFile) -> None:
        self._history = history

    def read(self, label: str) -> str:
        typed = input(label)
        while is_open(typed):
            typed += "\n" + input(CONTINUATION)
        return typed

    def remember(self, entry: str) -> None:
        self._history.append(entry)


class ReadlinePrompt(PlainPrompt):
    """`input` with readline's editing, the history, and completion with the tabulator key."""

    def __init__(self, readline: Any, catalog: CommandCatalog, history: HistoryFile) -> None:
        super().__init__(history)
        self._readline = readline
        self._catalog = catalog
        self._matches: list[str] = []
        readline.set_auto_history(False)
        readline.clear_history()
        for entry in history.entries:
            readline.add_history(entry)
        readline.set_completer(self._complete)
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")

    def remember(self, entry: str) -> None:
        if self._history.append(entry):
            self._readline.add_history(entry)

    def _complete(self, last: str, number: int) -> str | None:
        """readline's protocol: the completion with this number, None after the last."""
        if number == 0:
            before = self._readline.get_line_buffer()[: self._readline.get_begidx()]
            self._matches = [f"{word} " for word in self._catalog.complete(before.split(), last)]
        return self._matches[number] if number < len(self._matches) else None
