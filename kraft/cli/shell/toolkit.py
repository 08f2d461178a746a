"""The prompt with prompt_toolkit: completion while typing, hints from COMMAND DOCS, several lines."""

from collections.abc import Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History
from prompt_toolkit.styles import Style

from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.history import HistoryFile
from kraft.cli.shell.lines import CONTINUATION, is_open

STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack", "prompt": "bold"})


class ToolkitPrompt:
    """The lines at the bottom show the syntax of the command that is being typed."""

    def __init__(self, catalog: CommandCatalog, history: HistoryFile) -> None:
        self._catalog = catalog
        self._history = _FileHistory(history)
        self._session: PromptSession[str] = PromptSession(
            history=self._history,
            completer=_CommandCompleter(catalog),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            multiline=Condition(self._is_open),
            prompt_continuation=CONTINUATION,
            bottom_toolbar=self._hint,
            style=STYLE,
            reserve_space_for_menu=0,
        )

    def read(self, label: str) -> str:
        return self._session.prompt([("class:prompt", label)])

    def remember(self, entry: str) -> None:
        self._history.keep(entry)

    def _is_open(self) -> bool:
        """Whether Enter begins another line."""
        return is_open(self._session.default_buffer.text)

    def _hint(self) -> str | None:
        words = self._session.default_buffer.text.split()
        width = self._session.output.get_size().columns
        return "\n".join(self._catalog.hint(words, width)) or None


class _CommandCompleter(Completer):
    def __init__(self, catalog: CommandCatalog) -> None:
        self._catalog = catalog

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
        before = document.current_line_before_cursor
        last = before.rpartition(" ")[2]
        words = before.removesuffix(last).split()
        for word in self._catalog.complete(words, last):
            doc = self._catalog.find([*words, word])
            yield Completion(word, -len(last), display_meta=doc.summary if doc else "")


class _FileHistory(History):
    """prompt_toolkit would keep every text as it was typed; the shell says what to keep."""

    def __init__(self, file: HistoryFile) -> None:
        self._file = file
        super().__init__()

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._file.entries)

    def append_string(self, string: str) -> None:
        """Nothing: `keep` does it."""

    def store_string(self, string: str) -> None:
        """Nothing: the file has it already."""

    def keep(self, entry: str) -> None:
        """Add an entry to the file and to this session."""
        if self._file.append(entry):
            super().append_string(entry)
